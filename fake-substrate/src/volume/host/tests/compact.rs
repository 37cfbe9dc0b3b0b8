//! Packs that are mostly dead are rewritten.

use super::{MIB, Machine, name};
use crate::volume::backing::Objects as _;
use crate::volume::backing::memory::{Fault, MemoryObjects};
use crate::volume::host::NewFork;
use crate::volume::store::compact::Policy;
use crate::volume::store::decide::Children;
use crate::volume::store::map::BLOCK;

const BLOCKS: u64 = 256;

fn bytes(objects: &MemoryObjects) -> u64 {
    let all = objects.list("").unwrap();
    all.iter().map(|object| object.bytes).sum()
}

/// 64 blocks each time that are not side by side: every pack keeps a little that is live.
fn overwrite(machine: &Machine, volume: &str, rounds: u64) {
    let handle = machine.host.attach(&name(volume)).unwrap();
    for round in 0..rounds {
        for at in 0..64 {
            let block = (at * (2 * round + 1) + round * round) % BLOCKS;
            let content = [u8::try_from(round % 255 + 1).unwrap(); BLOCK];
            let written = machine.host.write(&handle, block * 4096, &content, false);
            written.unwrap();
        }
        machine.host.flush(&handle).unwrap();
        machine.host.flush_point(&name(volume), round).unwrap();
    }
    machine.host.detach(&name(volume)).unwrap();
}

/// Collections until there is nothing left to do, with the flushes between them.
fn settle(machine: &Machine, volume: &str) -> usize {
    let mut moved = 0;
    loop {
        let collected = machine.host.collect().unwrap();
        moved += collected.compacted.blocks;
        let flushed = machine.host.flush_point(&name(volume), 0).unwrap();
        if flushed.is_none() && collected.objects == 0 {
            return moved;
        }
    }
}

fn detached(machine: &Machine, volume: &str, bytes: u64) {
    machine.create(volume, bytes);
    machine.host.detach(&name(volume)).unwrap();
}

fn lose_and_rehome(machine: &Machine, volume: &str) {
    machine.host.lose(&name(volume)).unwrap();
    machine.host.rehome(&name(volume)).unwrap();
}

fn contents(machine: &Machine, volume: &str) -> Vec<u8> {
    let handle = machine.host.attach(&name(volume)).unwrap();
    let blocks = (0..BLOCKS).map(|block| machine.block(&handle, block).unwrap());
    let contents = blocks.collect();
    machine.host.detach(&name(volume)).unwrap();
    contents
}

/// A few blocks are written each time and one of all others in turn, so each pack keeps the one. Packs hold
/// at most twice what is live; what the last flushes wrote and the last round moved comes on top, and tables.
#[test]
fn object_storage_holds_three_times_what_is_live_at_most_however_often_it_was_overwritten() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    let handle = machine.create("db", MIB);
    for round in 0..600 {
        let content = [u8::try_from(round % 255 + 1).unwrap(); 16 * BLOCK];
        let write = |block: u64, content: &[u8]| {
            let written = machine.host.write(&handle, block * 4096, content, false);
            written.unwrap();
        };
        write(0, &content);
        write(16 + round % (BLOCKS - 16), &content[..BLOCK]);
        machine.host.flush(&handle).unwrap();
        machine.host.flush_point(&name("db"), round).unwrap();
        if round % 5 == 4 {
            machine.host.collect().unwrap();
            let there = bytes(&objects);
            assert!(there < 3 * MIB, "{there} bytes for {MIB} that are live");
        }
    }
    machine.host.detach(&name("db")).unwrap();
    let here = contents(&machine, "db");
    lose_and_rehome(&machine, "db");
    assert_eq!(contents(&machine, "db"), here);
}

/// A rehomed volume has its blocks in object storage alone, and a fork shares them without a root.
#[test]
fn what_is_not_on_the_host_is_rewritten_as_well_and_forks_stay_whole() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    detached(&machine, "db", MIB);
    overwrite(&machine, "db", 10);
    let before = contents(&machine, "db");
    lose_and_rehome(&machine, "db");
    let preview = NewFork {
        parent: name("db"),
        child: name("preview"),
        ephemeral: true,
        expires_ms: None,
    };
    machine.host.fork(&preview, 0).unwrap();
    assert!(settle(&machine, "db") > 0, "nothing was rewritten");
    let used = machine.host.with_books(|books| books.slots.figures().0);
    assert_eq!(used, 0, "blocks came here for it");
    assert_eq!(contents(&machine, "preview"), before);
    machine.host.destroy(&name("db"), Children::Keep).unwrap();
    machine.host.collect().unwrap();
    assert_eq!(contents(&machine, "preview"), before);
    assert!(bytes(&objects) < 2 * MIB);
}

/// What is written once lies in packs with what is written again and again.
#[test]
fn a_leaf_that_nobody_writes_leaves_its_packs_too() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    let handle = machine.create("db", 4 * MIB);
    for round in 0..8 {
        machine
            .host
            .write(&handle, 0, &[2; 16 * BLOCK], false)
            .unwrap();
        let cold = (600 + round) * 4096;
        machine
            .host
            .write(&handle, cold, &[1; BLOCK], false)
            .unwrap();
        machine.host.flush(&handle).unwrap();
        machine.host.flush_point(&name("db"), round).unwrap();
    }
    assert_eq!(settle(&machine, "db"), 7, "the last pack is all live");
    let packs = objects.list("packs/").unwrap();
    assert_eq!(packs.len(), 2, "{packs:?}");
    machine.host.detach(&name("db")).unwrap();
    lose_and_rehome(&machine, "db");
    let handle = machine.host.attach(&name("db")).unwrap();
    assert_eq!(machine.block(&handle, 600).unwrap(), 1);
}

#[test]
fn a_round_that_object_storage_cuts_short_leaves_garbage_and_nothing_else() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    detached(&machine, "db", MIB);
    for fault in [Fault::Refuse, Fault::LoseReply] {
        overwrite(&machine, "db", 10);
        let before = contents(&machine, "db");
        let garbage_alone = Policy {
            live_percent: 0,
            ..Policy::PLATFORM
        };
        machine.host.collect_and_compact(garbage_alone).unwrap();
        objects.break_next("packs/", fault);
        machine.host.collect().unwrap_err();
        objects.mend();
        machine.host.flush_point(&name("db"), 0).unwrap();
        lose_and_rehome(&machine, "db");
        assert_eq!(contents(&machine, "db"), before);
    }
    let before = contents(&machine, "db");
    let Machine { arena, journal, .. } = machine;
    let machine = Machine::on(arena, journal, &objects, 2);
    assert!(settle(&machine, "db") > 0);
    assert_eq!(contents(&machine, "db"), before);
    machine.host.destroy(&name("db"), Children::Forbid).unwrap();
    machine.host.collect().unwrap();
    assert_eq!(objects.keys(), Vec::<String>::new());
}

#[test]
fn nothing_is_rewritten_while_another_host_may_need_it() {
    let objects = MemoryObjects::default();
    let (machine, other) = (Machine::new(&objects, 1), Machine::new(&objects, 2));
    detached(&machine, "db", MIB);
    other.create("theirs", MIB);
    other.host.flush_point(&name("theirs"), 0).unwrap();
    overwrite(&machine, "db", 10);
    let collected = machine.host.collect().unwrap();
    assert!(!collected.alone && collected.compacted.blocks == 0);
    other.host.detach(&name("theirs")).unwrap();
    other
        .host
        .destroy(&name("theirs"), Children::Forbid)
        .unwrap();
    assert!(machine.host.collect().unwrap().compacted.blocks > 0);
}
