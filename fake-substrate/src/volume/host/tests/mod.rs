//! What the model does not tell: other hosts, damage, journals that end anywhere, clones whose time
//! has come.

mod compact;
mod fetch;
mod forks;
mod growth;
mod guest;
mod hosts;
mod journal;
mod write_behind;

use std::sync::Arc;

use super::{Host, HostError, NewFork};
use crate::volume::VolumeName;
use crate::volume::backing::memory::{MemoryArena, MemoryJournal, MemoryObjects};
use crate::volume::store::Handle;
use crate::volume::store::decide::NewVolume;
use crate::volume::store::map::BLOCK;

struct Machine {
    arena: MemoryArena,
    journal: MemoryJournal,
    host: Host,
}

impl Machine {
    fn new(objects: &MemoryObjects, nonce: u32) -> Self {
        Self::on(
            MemoryArena::default(),
            MemoryJournal::default(),
            objects,
            nonce,
        )
    }

    fn on(arena: MemoryArena, journal: MemoryJournal, objects: &MemoryObjects, nonce: u32) -> Self {
        let host = Host::open(
            Box::new(arena.clone()),
            Box::new(journal.clone()),
            Arc::new(objects.clone()),
            nonce,
        );
        Self {
            arena,
            journal,
            host: host.unwrap(),
        }
    }

    fn create(&self, volume: &str, bytes: u64) -> Handle {
        let new = NewVolume {
            name: name(volume),
            bytes,
            ephemeral: false,
            expires_ms: None,
        };
        self.host.create(new, 0).unwrap();
        self.host.attach(&name(volume)).unwrap()
    }

    fn fork(&self, parent: &str, child: &str, expires_ms: Option<u64>) {
        let new = NewFork {
            parent: name(parent),
            child: name(child),
            ephemeral: false,
            expires_ms,
        };
        self.host.fork(&new, 0).unwrap();
    }

    fn block(&self, handle: &Handle, number: u64) -> Result<u8, HostError> {
        let mut block = [0; BLOCK];
        self.host.read(handle, number * 4096, &mut block)?;
        assert_eq!(block, [block[0]; BLOCK]);
        Ok(block[0])
    }
}

fn name(volume: &str) -> VolumeName {
    volume.parse().unwrap()
}

const MIB: u64 = 1 << 20;
const WHOLE_MIB: usize = 1 << 20;
