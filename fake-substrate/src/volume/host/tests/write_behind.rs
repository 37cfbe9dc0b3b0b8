//! When flush points move by themselves, and what writes wait for.

use std::sync::Arc;

use super::{MIB, Machine, name};
use crate::volume::backing::memory::{Fault, MemoryObjects};
use crate::volume::host::Host;
use crate::volume::store::cut::Tear;
use crate::volume::store::decide::NewVolume;
use crate::volume::store::flush::Policy;
use crate::volume::store::map::BLOCK;

/// Object storage refuses everything for a minute, and the write-behind looks ten times a second.
#[test]
fn a_flush_that_fails_is_tried_again_after_1_2_4_8_16_and_30_s_and_by_hand_at_once() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    let handle = machine.create("db", MIB);
    machine.host.flush_point(&name("db"), 0).unwrap();
    machine.host.write(&handle, 0, &[1; BLOCK], false).unwrap();
    let mut tries = Vec::new();
    for now_ms in (10_000..80_000).step_by(100) {
        objects.break_next("packs/", Fault::Refuse);
        if !machine
            .host
            .tick(Policy::PLATFORM, now_ms)
            .failed
            .is_empty()
        {
            tries.push(now_ms);
        }
        objects.mend();
    }
    // Each wait begins when somebody looks after the failure.
    let expected = [15_000, 16_100, 18_200, 22_300, 30_400, 46_500, 76_600];
    assert_eq!(tries, expected);

    machine.host.flush_point(&name("db"), 80_000).unwrap();
    machine.host.write(&handle, 0, &[2; BLOCK], false).unwrap();
    let flushed = |now_ms| machine.host.tick(Policy::PLATFORM, now_ms).flushed;
    assert!(flushed(80_100).is_empty());
    assert_eq!(flushed(85_100), [name("db")], "the trouble has ended");
}

#[test]
fn a_write_waits_when_too_much_is_at_stake_and_goes_on_when_object_storage_does() {
    let objects = MemoryObjects::default();
    let Machine { host, .. } = Machine::new(&objects, 1);
    let host = Arc::new(host.bounded(4));
    let new = |volume: &str, ephemeral| NewVolume {
        name: name(volume),
        bytes: MIB,
        ephemeral,
        expires_ms: None,
    };
    host.create(new("db", false), 0).unwrap();
    host.flush_point(&name("db"), 0).unwrap(); // a new volume is dirty
    host.create(new("scratch", true), 0).unwrap();
    let db = host.attach(&name("db")).unwrap();
    let write = |number: u8| host.write(&db, u64::from(number) * 4096, &[number; BLOCK], false);
    (0..4).for_each(|number| write(number).unwrap());
    assert!(!host.has_room(&db).unwrap());
    host.flush(&db).unwrap(); // a guest's FLUSH is about this host alone

    let waiting = std::thread::spawn({
        let (host, db) = (Arc::clone(&host), db.clone());
        move || host.write(&db, 4 * 4096, &[4; BLOCK], false)
    });
    while !host.holds_back(&name("db")) {
        std::thread::yield_now();
    }
    objects.break_next("roots/", Fault::Refuse);
    host.flush_point(&name("db"), 1).unwrap_err();
    assert!(host.holds_back(&name("db")), "nothing got through");
    let scratch = host.attach(&name("scratch")).unwrap();
    (0..9).for_each(|number| {
        host.write(&scratch, number * 4096, &[1; BLOCK], false)
            .unwrap();
    });

    host.flush_point(&name("db"), 2).unwrap().unwrap();
    waiting.join().unwrap().unwrap();
    assert!(!host.holds_back(&name("db")) && host.has_room(&db).unwrap());
}

#[test]
fn a_write_that_waits_fails_when_its_disk_dies() {
    for end in [
        |host: &Host| {
            host.power_cut(&name("db"), 1, Tear::Block).unwrap();
        },
        |host: &Host| host.lose(&name("db")).unwrap(),
        |host: &Host| host.detach(&name("db")).unwrap(),
    ] {
        let machine = Machine::new(&MemoryObjects::default(), 1);
        let db = machine.create("db", MIB);
        let host = Arc::new(machine.host.bounded(1));
        let waiting = std::thread::spawn({
            let host = Arc::clone(&host);
            move || host.write(&db, 0, &[4; BLOCK], false)
        });
        while !host.holds_back(&name("db")) {
            std::thread::yield_now();
        }
        end(&host);
        let ended = waiting.join().unwrap().unwrap_err();
        assert_eq!(ended.errno(), nix::errno::Errno::EIO);
        assert!(!host.holds_back(&name("db")));
    }
}

#[test]
fn what_is_on_its_way_is_at_stake_until_the_flush_is_through() {
    let machine = Machine::new(&MemoryObjects::default(), 1);
    let db = machine.create("db", MIB);
    let host = machine.host.bounded(2);
    host.write(&db, 0, &[1; BLOCK], false).unwrap();
    assert!(!host.has_room(&db).unwrap());
    let job = host.begin_flush(&name("db"), 1).unwrap().unwrap();
    assert!(!host.has_room(&db).unwrap(), "nothing is through yet");
    host.books_mut().abandon_flush(&job);
    assert!(!host.has_room(&db).unwrap(), "nothing came of it");
    host.flush_point(&name("db"), 2).unwrap().unwrap();
    assert!(host.has_room(&db).unwrap());
}

#[test]
fn zeroes_that_were_let_in_do_not_wait_between_their_two_ends() {
    let machine = Machine::new(&MemoryObjects::default(), 1);
    let db = machine.create("db", MIB);
    machine.host.flush_point(&name("db"), 0).unwrap();
    let host = Arc::new(machine.host.bounded(4));
    host.write(&db, 0, &[1; 3 * BLOCK], false).unwrap();
    assert!(host.has_room(&db).unwrap());
    let zeroing = std::thread::spawn({
        let (host, db) = (Arc::clone(&host), db.clone());
        // A part of the first block, the second one, a part of the third.
        move || host.zero(&db, 512, 8192, false)
    });
    while !zeroing.is_finished() {
        assert!(!host.holds_back(&name("db")), "it waits in the middle");
        std::thread::yield_now();
    }
    zeroing.join().unwrap().unwrap();
    assert!(!host.has_room(&db).unwrap());
}
