//! What a guest may do, and what it leaves in the arena.

use super::{MIB, Machine, WHOLE_MIB};
use crate::volume::backing::Arena as _;
use crate::volume::backing::memory::MemoryObjects;
use crate::volume::host::HostError;
use crate::volume::store::map::BLOCK;
use crate::volume::store::refused::Refused;

#[test]
fn what_is_outside_a_volume_is_refused() {
    let machine = Machine::new(&MemoryObjects::default(), 1);
    let handle = machine.create("db", MIB);
    for offset in [MIB - 100, MIB, u64::MAX - 10, 1 << 60] {
        let write = machine.host.write(&handle, offset, &[1; 8192], false);
        assert!(matches!(
            write,
            Err(HostError::Refused(Refused::Range { .. }))
        ));
        let zero = machine.host.zero(&handle, offset, 8192, false);
        assert!(matches!(
            zero,
            Err(HostError::Refused(Refused::Range { .. }))
        ));
        let read = machine.host.read(&handle, offset, &mut [0; 8192]);
        assert!(matches!(
            read,
            Err(HostError::Refused(Refused::Range { .. }))
        ));
    }
}

#[test]
fn a_collection_gives_the_arena_s_space_back_also_what_was_freed_one_by_one() {
    let machine = Machine::new(&MemoryObjects::default(), 1);
    let handle = machine.create("db", MIB);
    for byte in [1, 2] {
        machine
            .host
            .write(&handle, 0, &[byte; WHOLE_MIB], false)
            .unwrap();
        machine.host.flush(&handle).unwrap();
    }
    machine.host.collect().unwrap();
    let mut freed = [0; BLOCK];
    machine.arena.read(0, &mut freed).unwrap();
    assert_eq!(
        freed, [0xdd; BLOCK],
        "the memory's mark for what was discarded"
    );
    assert_eq!(machine.block(&handle, 0).unwrap(), 2);
}

#[test]
fn a_guest_that_never_flushes_does_not_fill_the_cache_for_ever() {
    let machine = Machine::new(&MemoryObjects::default(), 1);
    let handle = machine.create("db", MIB);
    for _round in 0..260 {
        machine
            .host
            .write(&handle, 0, &[6; WHOLE_MIB], false)
            .unwrap();
    }
    let unsynced = machine.host.with_books(|books| {
        let versions = books.disk(&handle).unwrap().unsynced().values();
        versions.map(Vec::len).sum::<usize>()
    });
    assert!(
        unsynced < crate::volume::store::disk::CACHE_BLOCKS,
        "{unsynced}"
    );
}

#[test]
fn zeroes_in_the_middle_of_a_write_move_nothing_that_follows_them() {
    let machine = Machine::new(&MemoryObjects::default(), 1);
    let handle = machine.create("db", MIB);
    let data: Vec<u8> = [1, 0, 2, 3, 0, 0, 4]
        .into_iter()
        .flat_map(|byte| [byte; BLOCK])
        .collect();
    machine.host.write(&handle, 0, &data, false).unwrap();
    let read = |number| machine.block(&handle, number).unwrap();
    assert_eq!([0, 1, 2, 3, 4, 5, 6].map(read), [1, 0, 2, 3, 0, 0, 4]);
}
