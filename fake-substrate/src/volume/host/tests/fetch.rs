//! Blocks that a rehomed volume fetches when they are read.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::{MIB, Machine, name};
use crate::until::{Budget, Look, until};
use crate::volume::backing::memory::MemoryObjects;
use crate::volume::host::{Host, HostError};
use crate::volume::store::Handle;
use crate::volume::store::map::{BLOCK, Entry, ObjectId};

const THREADS: Budget = Budget {
    name: "threads of a test",
    limit: Duration::from_secs(30),
    every: Duration::from_millis(1),
};

struct Rehomed {
    objects: MemoryObjects,
    host: Arc<Host>,
    handle: Handle,
}

/// Blocks 0 and 1 in one pack, block 2 in another; none of them here.
fn rehomed() -> Rehomed {
    let objects = MemoryObjects::default();
    let first = Machine::new(&objects, 1);
    let handle = first.create("db", MIB);
    for (offset, bytes) in [(0, &[1; 2 * BLOCK][..]), (2 * 4096, &[2; BLOCK])] {
        first.host.write(&handle, offset, bytes, false).unwrap();
        first.host.flush_point(&name("db"), 0).unwrap();
    }
    let Machine { host, .. } = Machine::new(&objects, 2);
    host.rehome(&name("db")).unwrap();
    let handle = host.attach(&name("db")).unwrap();
    objects.shut();
    Rehomed {
        objects,
        host: Arc::new(host),
        handle,
    }
}

impl Rehomed {
    fn read(&self, number: u64) -> JoinHandle<Result<u8, HostError>> {
        let (host, handle) = (Arc::clone(&self.host), self.handle.clone());
        std::thread::spawn(move || {
            let mut block = [0; BLOCK];
            host.read(&handle, number * 4096, &mut block)?;
            Ok(block[0])
        })
    }

    fn pack_of(&self, block: u32) -> ObjectId {
        self.host.with_books(
            |books| match books.disk(&self.handle).unwrap().current().get(block) {
                Entry::Packed(pack, _index) => pack,
                entry => panic!("{entry:?}"),
            },
        )
    }

    async fn all_wait(&self, requests: usize, readers_of_first: usize) {
        let pack = self.pack_of(0);
        let look = || {
            let waiting = (
                self.objects.waited_for().len(),
                self.host.fetches.readers(pack, 0),
            );
            match waiting == (requests, readers_of_first) {
                true => Look::Found(()),
                false => Look::NotYet(format!("{waiting:?} wait")),
            }
        };
        let waited = until::<_, ()>(THREADS, async || look()).await;
        if let Err(ended) = waited {
            self.objects.open();
            panic!("{ended:?}");
        }
    }
}

#[tokio::test]
async fn different_packs_are_fetched_at_the_same_time() {
    let rehomed = rehomed();
    let readers = [0, 2].map(|block| rehomed.read(block));
    rehomed.all_wait(2, 1).await;
    rehomed.objects.open();
    assert_eq!(
        readers.map(|reader| reader.join().unwrap().unwrap()),
        [1, 2]
    );
}

#[tokio::test]
async fn one_pack_is_fetched_once_for_all_who_wait_for_it() {
    let rehomed = rehomed();
    let before = rehomed.objects.gets();
    let readers = [0, 1, 1, 0].map(|block| rehomed.read(block));
    rehomed.all_wait(1, 4).await;
    rehomed.objects.open();
    assert_eq!(
        readers.map(|reader| reader.join().unwrap().unwrap()),
        [1; 4]
    );
    assert_eq!(rehomed.objects.gets() - before, 1);
}

#[tokio::test]
async fn a_fetch_that_fails_fails_for_all_who_wait_and_is_tried_again_by_the_next_reader() {
    let rehomed = rehomed();
    let key = crate::volume::store::root::pack_key(rehomed.pack_of(0));
    rehomed.objects.flip(&key, 40);
    let readers = [0, 1].map(|block| rehomed.read(block));
    rehomed.all_wait(1, 2).await;
    rehomed.objects.open();
    for reader in readers {
        let error = reader.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
        assert_eq!(error.errno(), nix::errno::Errno::EIO);
    }
    rehomed.objects.flip(&key, 40);
    assert_eq!(rehomed.read(1).join().unwrap().unwrap(), 1);
}
