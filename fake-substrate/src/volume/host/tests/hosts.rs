//! Several hosts and one volume.

use super::{MIB, Machine, name};
use crate::volume::backing::memory::{Fault, MemoryObjects};
use crate::volume::host::{HostError, NewFork};
use crate::volume::store::decide::Children;
use crate::volume::store::map::BLOCK;
use crate::volume::store::refused::Refused;

#[test]
fn whoever_had_a_volume_before_it_was_rehomed_is_refused_from_its_next_flush_on() {
    let objects = MemoryObjects::default();
    let (old, new) = (Machine::new(&objects, 1), Machine::new(&objects, 2));
    let had = old.create("db", MIB);
    old.host.write(&had, 0, &[1; BLOCK], true).unwrap();
    old.host.flush_point(&name("db"), 0).unwrap();
    old.host.write(&had, 0, &[2; BLOCK], true).unwrap(); // acknowledged, after the flush point

    new.host.rehome(&name("db")).unwrap();
    let has = new.host.attach(&name("db")).unwrap();
    assert_eq!(new.block(&has, 0).unwrap(), 1);
    new.host.write(&has, 0, &[3; BLOCK], true).unwrap();

    let refused = old.host.flush_point(&name("db"), 1);
    assert!(
        matches!(
            &refused,
            Err(HostError::TakenOver {
                ours: 1,
                found: 2,
                ..
            })
        ),
        "{refused:?}"
    );
    let write = old.host.write(&had, 0, &[4; BLOCK], true).unwrap_err();
    assert_eq!(write.errno(), nix::errno::Errno::EIO);
    assert!(old.block(&had, 0).is_err());
    new.host.flush_point(&name("db"), 1).unwrap().unwrap();

    // The old host may forget its copy; the volume is not its to destroy.
    old.host.detach(&name("db")).unwrap();
    old.host.destroy(&name("db"), Children::Forbid).unwrap();
    assert_eq!(new.host.roots().unwrap().len(), 1);
    assert!(!old.host.collect().unwrap().alone);
    assert_eq!(new.block(&has, 0).unwrap(), 3);
}

#[test]
fn a_flush_whose_answer_got_lost_is_not_taken_for_another_host() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    let handle = machine.create("db", MIB);
    objects.break_next("roots/", Fault::LoseReply);
    machine.host.flush_point(&name("db"), 0).unwrap_err();
    machine.host.write(&handle, 0, &[1; BLOCK], false).unwrap();
    let point = machine.host.flush_point(&name("db"), 1).unwrap().unwrap();
    assert_eq!((point.generation, point.at_ms), (1, 1));
}

#[test]
fn what_a_fork_on_another_host_needs_is_not_collected_though_no_root_tells_of_it() {
    let objects = MemoryObjects::default();
    let (old, new) = (Machine::new(&objects, 1), Machine::new(&objects, 2));
    let had = old.create("db", MIB);
    old.host.write(&had, 0, &[1; BLOCK], true).unwrap();
    old.host.flush_point(&name("db"), 0).unwrap();
    old.host.lose(&name("db")).unwrap();

    new.host.rehome(&name("db")).unwrap();
    let preview = NewFork {
        parent: name("db"),
        child: name("preview"),
        ephemeral: true,
        expires_ms: None,
    };
    new.host.fork(&preview, 1).unwrap();
    new.host.destroy(&name("db"), Children::Keep).unwrap();
    old.host.destroy(&name("db"), Children::Forbid).unwrap();
    assert!(!old.host.collect().unwrap().alone);
    let copy = new.host.attach(&name("preview")).unwrap();
    assert_eq!(new.block(&copy, 0).unwrap(), 1);

    new.host.detach(&name("preview")).unwrap();
    new.host
        .destroy(&name("preview"), Children::Forbid)
        .unwrap();
    new.host.collect().unwrap();
    old.host.collect().unwrap();
    assert_eq!(objects.keys(), Vec::<String>::new());
}

#[test]
fn a_host_that_was_fenced_may_have_the_volume_back() {
    let objects = MemoryObjects::default();
    let (old, new) = (Machine::new(&objects, 1), Machine::new(&objects, 2));
    let had = old.create("db", MIB);
    old.host.write(&had, 0, &[1; BLOCK], true).unwrap();
    old.host.flush_point(&name("db"), 0).unwrap();
    new.host.rehome(&name("db")).unwrap();
    old.host.write(&had, 0, &[2; BLOCK], true).unwrap();
    old.host.flush_point(&name("db"), 1).unwrap_err();

    old.host.rehome(&name("db")).unwrap();
    assert!(old.block(&had, 0).is_err(), "the old disk stays dead");
    let has = old.host.attach(&name("db")).unwrap();
    assert_eq!(old.block(&has, 0).unwrap(), 1);
    let again = old.host.rehome(&name("db"));
    assert!(matches!(again, Err(HostError::Refused(Refused::Here(_)))));
}
