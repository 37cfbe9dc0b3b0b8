//! Packs that are mostly dead are rewritten.

use super::{MIB, Machine, name};
use crate::volume::backing::Objects as _;
use crate::volume::backing::memory::{Fault, MemoryObjects};
use crate::volume::host::NewFork;
use crate::volume::store::decide::Children;
use crate::volume::store::map::BLOCK;

const BLOCKS: u64 = 256;

fn bytes(objects: &MemoryObjects) -> u64 {
    let all = objects.list("").unwrap();
    all.iter().map(|object| object.bytes).sum()
}

/// What 64 blocks each time leave behind that are not side by side: every pack keeps a little that is live.
fn overwrite(machine: &Machine, volume: &str, rounds: u64) {
    let handle = machine.host.attach(&name(volume)).unwrap();
    for round in 0..rounds {
        for at in 0..64 {
            let block = (at * (2 * round + 1) + round * round) % BLOCKS;
            let content = [u8::try_from(round % 255 + 1).unwrap(); BLOCK];
            machine
                .host
                .write(&handle, block * 4096, &content, false)
                .unwrap();
        }
        machine.host.flush(&handle).unwrap();
        machine.host.flush_point(&name(volume), round).unwrap();
        machine.host.collect().unwrap();
    }
    machine.host.detach(&name(volume)).unwrap();
}

fn contents(machine: &Machine, volume: &str) -> Vec<u8> {
    let handle = machine.host.attach(&name(volume)).unwrap();
    let blocks = (0..BLOCKS).map(|block| machine.block(&handle, block).unwrap());
    let contents = blocks.collect();
    machine.host.detach(&name(volume)).unwrap();
    contents
}

/// Packs hold at most twice what is live; what the last flush wrote and the last round moved comes on top,
/// and tables.
#[test]
fn object_storage_holds_three_times_what_is_live_at_most_however_often_it_was_overwritten() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    machine.create("db", MIB);
    machine.host.detach(&name("db")).unwrap();
    let mut most = 0;
    for _ in 0..40 {
        overwrite(&machine, "db", 10);
        most = most.max(bytes(&objects));
    }
    assert!(most < 3 * MIB, "{most} bytes for {MIB} that are live");
    let here = contents(&machine, "db");
    machine.host.lose(&name("db")).unwrap();
    machine.host.rehome(&name("db")).unwrap();
    assert_eq!(contents(&machine, "db"), here);
}

/// A rehomed volume has its blocks in object storage alone, and forks share them without a root.
#[test]
fn what_is_not_on_the_host_is_rewritten_as_well_and_forks_stay_whole() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    machine.create("db", MIB);
    machine.host.detach(&name("db")).unwrap();
    overwrite(&machine, "db", 10);
    machine.host.lose(&name("db")).unwrap();
    machine.host.rehome(&name("db")).unwrap();
    let preview = NewFork {
        parent: name("db"),
        child: name("preview"),
        ephemeral: true,
        expires_ms: None,
    };
    machine.host.fork(&preview, 0).unwrap();
    let handle = machine.host.attach(&name("preview")).unwrap();
    let kept: Vec<_> = (0..8)
        .map(|at| machine.block(&handle, at * 32).unwrap())
        .collect();
    machine.host.detach(&name("preview")).unwrap();
    let shared: Vec<_> = contents(&machine, "preview");
    overwrite(&machine, "db", 40);
    assert_eq!(contents(&machine, "preview"), shared);
    assert_eq!(shared.iter().step_by(32).copied().collect::<Vec<_>>(), kept);
    machine.host.destroy(&name("db"), Children::Keep).unwrap();
    machine.host.collect().unwrap();
    machine.host.collect().unwrap();
    assert_eq!(contents(&machine, "preview"), shared);
    assert!(bytes(&objects) < 3 * MIB);
}

#[test]
fn a_round_that_object_storage_cuts_short_leaves_garbage_and_nothing_else() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    machine.create("db", MIB);
    machine.host.detach(&name("db")).unwrap();
    let mut before = Vec::new();
    for fault in [Fault::Refuse, Fault::LoseReply]
        .into_iter()
        .cycle()
        .take(20)
    {
        overwrite(&machine, "db", 3);
        before = contents(&machine, "db");
        objects.break_next("packs/", fault);
        machine.host.collect().ok();
        objects.mend();
    }
    let Machine { arena, journal, .. } = machine;
    let machine = Machine::on(arena, journal, &objects, 2);
    assert_eq!(contents(&machine, "db"), before);
    machine.host.destroy(&name("db"), Children::Forbid).unwrap();
    machine.host.collect().unwrap();
    assert_eq!(objects.keys(), Vec::<String>::new());
}

#[test]
fn nothing_is_rewritten_while_another_host_may_need_it() {
    let objects = MemoryObjects::default();
    let (machine, other) = (Machine::new(&objects, 1), Machine::new(&objects, 2));
    machine.create("db", MIB);
    machine.host.detach(&name("db")).unwrap();
    other.create("theirs", MIB);
    other.host.flush_point(&name("theirs"), 0).unwrap();
    overwrite(&machine, "db", 10);
    let collected = machine.host.collect().unwrap();
    assert!(!collected.alone && collected.compacted.blocks == 0);
    assert!(
        bytes(&objects) > 2 * MIB,
        "the other's root keeps all of it"
    );
}
