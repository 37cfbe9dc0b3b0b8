//! Disks in trouble: requests that fail, that are held, and for how long.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::{Host, HostError};
use crate::volume::VolumeName;
use crate::volume::backing::memory::{MemoryArena, MemoryJournal, MemoryObjects};
use crate::volume::store::Handle;
use crate::volume::store::cut::Tear;
use crate::volume::store::decide::{Children, NewVolume};
use crate::volume::trouble::{Requests, Trouble, Verdict};

const FAIL_WRITES: Trouble = Trouble::new(Requests::Writes, Verdict::Fail);
/// So long that only its end ends it.
const FOR_AGES: Verdict = Verdict::Delay { ms: u64::MAX };
const HOLD_READS: Trouble = Trouble::new(Requests::Reads, FOR_AGES);

fn name(volume: &str) -> VolumeName {
    volume.parse().unwrap()
}

fn create(host: &Host, volume: &str) -> Handle {
    let new = NewVolume {
        name: name(volume),
        bytes: 1 << 20,
        ephemeral: true,
        expires_ms: None,
    };
    host.create(new, 0).unwrap();
    host.attach(&name(volume)).unwrap()
}

fn host() -> (Arc<Host>, Handle) {
    let host = Host::open(
        Box::new(MemoryArena::default()),
        Box::new(MemoryJournal::default()),
        Arc::new(MemoryObjects::default()),
        1,
    )
    .unwrap();
    let db = create(&host, "db");
    (Arc::new(host), db)
}

/// A front that asks and waits, on a thread of its own; back when it is held.
fn held(host: &Arc<Host>, handle: &Handle, on: Requests) -> JoinHandle<Result<(), HostError>> {
    let waits = |host: &Host| -> u32 {
        let troubles = host.troubles(&handle.volume);
        troubles.iter().map(|struck| struck.held).sum()
    };
    let before = waits(host);
    let waiting = std::thread::spawn({
        let (host, handle) = (Arc::clone(host), handle.clone());
        move || {
            let held = host.strike(&handle, on)?;
            host.hold(&handle, held)
        }
    });
    while waits(host) == before && !waiting.is_finished() {
        std::thread::yield_now();
    }
    assert!(!waiting.is_finished(), "it does not wait");
    waiting
}

#[test]
fn what_fails_is_eio_and_nothing_else_of_the_disk_or_of_another_fails() {
    let (host, db) = host();
    let other = create(&host, "other");
    host.set_troubles(&name("db"), &[FAIL_WRITES]).unwrap();
    let refused = host.strike(&db, Requests::Writes).unwrap_err();
    assert_eq!(refused.errno(), nix::errno::Errno::EIO);
    assert!(refused.to_string().starts_with("writes of volume db fail"));
    for (handle, on) in [
        (&db, Requests::Reads),
        (&db, Requests::Flushes),
        (&other, Requests::Writes),
    ] {
        assert_eq!(host.strike(handle, on).unwrap(), None);
    }
    host.set_troubles(&name("db"), &[]).unwrap();
    assert_eq!(host.strike(&db, Requests::Writes).unwrap(), None);
    assert!(host.set_troubles(&name("nobody"), &[FAIL_WRITES]).is_err());
}

#[test]
fn the_next_so_many_fail_and_a_trouble_that_is_told_again_goes_on_counting() {
    let (host, db) = host();
    let twice = FAIL_WRITES.times(2);
    host.set_troubles(&name("db"), &[twice]).unwrap();
    host.strike(&db, Requests::Writes).unwrap_err();
    host.set_troubles(&name("db"), &[twice, HOLD_READS])
        .unwrap();
    host.strike(&db, Requests::Writes).unwrap_err();
    assert_eq!(host.strike(&db, Requests::Writes).unwrap(), None);
    assert_eq!(host.troubles(&name("db"))[0].struck, 2);
    // Ended and begun again, it begins anew.
    host.set_troubles(&name("db"), &[]).unwrap();
    host.set_troubles(&name("db"), &[twice]).unwrap();
    host.strike(&db, Requests::Writes).unwrap_err();
}

#[test]
fn what_is_held_holds_up_nobody_and_is_served_when_the_trouble_ends() {
    let (host, db) = host();
    let other = create(&host, "other");
    host.set_troubles(&name("db"), &[HOLD_READS.times(1)])
        .unwrap();
    let waiting = held(&host, &db, Requests::Reads);
    host.write(&db, 0, &[1; 4096], true).unwrap();
    for (handle, on) in [
        (&db, Requests::Writes),
        (&other, Requests::Reads),
        // Used up; what it holds is held on.
        (&db, Requests::Reads),
    ] {
        assert_eq!(host.strike(handle, on).unwrap(), None);
    }
    host.set_troubles(&name("db"), &[HOLD_READS.times(1), FAIL_WRITES])
        .unwrap();
    assert_eq!(host.troubles(&name("db"))[0].held, 1);
    host.set_troubles(&name("db"), &[FAIL_WRITES]).unwrap();
    waiting.join().unwrap().unwrap();
}

#[test]
fn a_delay_ends_by_itself() {
    let (host, db) = host();
    let late = Trouble::new(Requests::Flushes, Verdict::Delay { ms: 1 });
    host.set_troubles(&name("db"), &[late]).unwrap();
    let held = host.strike(&db, Requests::Flushes).unwrap();
    assert!(held.is_some());
    host.hold(&db, held).unwrap();
    let seen = host.troubles(&name("db"))[0];
    assert_eq!((seen.struck, seen.held), (1, 0));
}

#[test]
fn what_is_held_fails_when_its_disk_dies() {
    for end in [
        |host: &Host| {
            host.power_cut(&name("db"), 1, Tear::Block).unwrap();
        },
        |host: &Host| host.lose(&name("db")).unwrap(),
        |host: &Host| host.detach(&name("db")).unwrap(),
    ] {
        let (host, db) = host();
        host.set_troubles(&name("db"), &[HOLD_READS]).unwrap();
        let waiting = held(&host, &db, Requests::Reads);
        end(&host);
        let ended = waiting.join().unwrap().unwrap_err();
        assert_eq!(ended.errno(), nix::errno::Errno::EIO);
    }
}

#[test]
fn a_volume_takes_its_trouble_along_when_it_goes() {
    let (host, _db) = host();
    host.set_troubles(&name("db"), &[FAIL_WRITES]).unwrap();
    host.detach(&name("db")).unwrap();
    host.destroy(&name("db"), Children::Forbid).unwrap();
    let again = create(&host, "db");
    assert_eq!(host.strike(&again, Requests::Writes).unwrap(), None);
}
