//! Volumes that get larger.

use super::{MIB, Machine, name};
use crate::volume::backing::memory::MemoryObjects;
use crate::volume::host::HostError;
use crate::volume::store::flush::Policy;
use crate::volume::store::map::BLOCK;
use crate::volume::store::refused::Refused;

/// The last block of 4 MiB, which no volume of 1 MiB has.
const LAST: u64 = 1023;

fn blocks(machine: &Machine, volume: &str) -> u32 {
    let look = |books: &crate::volume::store::Store| {
        let volume = books.volume(&name(volume)).unwrap();
        let here = books.here(&volume.meta.name).unwrap();
        assert_eq!(here.disk.current().blocks(), volume.meta.blocks);
        assert_eq!(here.disk.synced().blocks(), volume.meta.blocks);
        volume.meta.blocks
    };
    machine.host.with_books(look)
}

#[test]
fn a_volume_keeps_its_new_size_through_restart_fork_and_rehome() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    let had = machine.create("db", MIB);
    machine.host.write(&had, 0, &[1; BLOCK], true).unwrap();
    machine.host.flush_point(&name("db"), 1).unwrap();
    let beyond = machine.host.write(&had, LAST * 4096, &[2; BLOCK], true);
    assert!(matches!(
        beyond,
        Err(HostError::Refused(Refused::Range { .. }))
    ));

    // In the middle of a flush: that one is of the volume as it was.
    let job = machine.host.begin_flush(&name("db"), 2).unwrap();
    assert!(job.is_none());
    machine.host.grow(&name("db"), 4 * MIB).unwrap();
    machine
        .host
        .write(&had, LAST * 4096, &[2; BLOCK], true)
        .unwrap();
    machine.fork("db", "fork", None);

    let Machine { arena, journal, .. } = machine;
    let machine = Machine::on(arena, journal, &objects, 2);
    for volume in ["db", "fork"] {
        assert_eq!(blocks(&machine, volume), 1024, "{volume}");
        let handle = machine.host.attach(&name(volume)).unwrap();
        assert_eq!(machine.block(&handle, 0).unwrap(), 1);
        assert_eq!(machine.block(&handle, LAST).unwrap(), 2);
    }
    machine.host.flush_point(&name("db"), 3).unwrap();
    let elsewhere = Machine::new(&objects, 3);
    elsewhere.host.rehome(&name("db")).unwrap();
    assert_eq!(blocks(&elsewhere, "db"), 1024);
    let handle = elsewhere.host.attach(&name("db")).unwrap();
    assert_eq!(elsewhere.block(&handle, LAST).unwrap(), 2);
}

#[test]
fn a_new_size_goes_to_object_storage_without_a_write() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    machine.create("db", MIB);
    machine.host.flush_point(&name("db"), 1).unwrap();
    let at_once = Policy {
        after_ms: 0,
        ..Policy::PLATFORM
    };
    assert!(machine.host.tick(at_once, 2).flushed.is_empty());
    machine.host.grow(&name("db"), 2 * MIB).unwrap();
    assert_eq!(machine.host.tick(at_once, 3).flushed, [name("db")]);
    let roots = machine.host.roots().unwrap();
    assert_eq!(roots[0].meta.blocks, 512);
}

#[test]
fn a_volume_is_not_made_smaller_and_a_refusal_changes_nothing() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    machine.create("db", 2 * MIB);
    let refused = |bytes| match machine.host.grow(&name("db"), bytes) {
        Err(HostError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(MIB), Refused::Shrinks { .. }));
    assert!(
        refused(MIB)
            .to_string()
            .contains("HINT: a file system needs its end")
    );
    assert_eq!(refused(2 * MIB + 1), Refused::Size(2 * MIB + 1));
    assert_eq!(refused(u64::MAX), Refused::Size(u64::MAX));
    machine.host.grow(&name("db"), 2 * MIB).unwrap();
    assert_eq!(blocks(&machine, "db"), 512);
    machine.host.lose(&name("db")).unwrap();
    assert_eq!(refused(4 * MIB), Refused::Elsewhere(name("db")));
}
