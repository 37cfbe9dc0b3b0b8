//! How volumes come to be and go: forks, clones whose time has come, drafts.

use super::{MIB, Machine, WHOLE_MIB, name};
use crate::volume::backing::memory::MemoryObjects;
use crate::volume::host::Host;
use crate::volume::store::decide::{Children, NewVolume};
use crate::volume::store::flush::Policy;
use crate::volume::store::map::BLOCK;

#[test]
fn a_fork_takes_one_line_of_the_journal_whatever_the_size() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    let handle = machine.create("db", 64 * MIB);
    for at in 0..64 {
        machine
            .host
            .write(&handle, at * MIB, &[7; WHOLE_MIB], false)
            .unwrap();
    }
    machine.host.flush(&handle).unwrap();
    let journal = || machine.journal.0.lock().unwrap().len();
    let before = journal();
    machine.fork("db", "copy", None);
    assert!(journal() - before < 200, "{} bytes", journal() - before);
    let copy = machine.host.attach(&name("copy")).unwrap();
    assert_eq!(machine.block(&copy, 16_383).unwrap(), 7);
    let used = machine.host.with_books(|books| books.slots.figures().0);
    assert_eq!(used, 16_384, "not a block was copied");
}

#[test]
fn a_clone_whose_time_has_come_goes_when_nobody_uses_it_any_more() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    machine.create("db", MIB);
    machine.fork("db", "preview", Some(100));
    machine.fork("preview", "nested", None);
    let expired = |now| machine.host.tick(Policy::PLATFORM, now).expired;
    assert!(expired(99).is_empty());
    assert!(expired(100).is_empty(), "it has a child");
    machine
        .host
        .destroy(&name("nested"), Children::Forbid)
        .unwrap();
    machine.host.attach(&name("preview")).unwrap();
    assert!(expired(101).is_empty(), "it is attached");
    machine.host.detach(&name("preview")).unwrap();
    assert_eq!(expired(102), [name("preview")]);
}

#[test]
fn a_volume_with_children_is_destroyed_only_when_they_are_kept_and_they_lose_nothing() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    let handle = machine.create("db", MIB);
    machine.host.write(&handle, 0, &[5; BLOCK], false).unwrap();
    machine.host.flush_point(&name("db"), 0).unwrap();
    machine.fork("db", "copy", None);
    machine.host.detach(&name("db")).unwrap();
    let refused = machine
        .host
        .destroy(&name("db"), Children::Forbid)
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("volume db has children: copy\nHINT"),
        "{refused}"
    );
    machine.host.destroy(&name("db"), Children::Keep).unwrap();
    machine.host.collect().unwrap();
    let copy = machine.host.attach(&name("copy")).unwrap();
    assert_eq!(machine.block(&copy, 0).unwrap(), 5);
    assert_eq!(
        machine.host.with_books(|books| books.children(&name("db"))),
        []
    );
}

#[test]
fn a_draft_becomes_the_volume_it_was_made_for_in_one_step_or_stays_a_draft() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    let wanted = |volume: &str| NewVolume {
        name: name(volume),
        bytes: MIB,
        ephemeral: false,
        expires_ms: None,
    };
    let draft = machine.create("draft", MIB);
    machine.host.write(&draft, 0, &[5; BLOCK], true).unwrap();
    let attached = machine.host.publish(&name("draft"), wanted("db"), 1);
    assert!(attached.is_err(), "somebody may still write to it");
    machine.host.detach(&name("draft")).unwrap();
    machine.create("taken", MIB);
    let taken = machine.host.publish(&name("draft"), wanted("taken"), 1);
    assert!(taken.is_err());
    let names = |host: &Host| -> Vec<_> {
        host.with_books(|books| books.volumes().map(|v| v.meta.name.to_string()).collect())
    };
    assert_eq!(names(&machine.host), ["draft", "taken"]);

    machine
        .host
        .publish(&name("draft"), wanted("db"), 1)
        .unwrap();
    let Machine { arena, journal, .. } = machine;
    let machine = Machine::on(arena, journal, &objects, 2);
    assert_eq!(names(&machine.host), ["db", "taken"]);
    let parent = machine
        .host
        .with_books(|books| books.volume(&name("db")).unwrap().meta.parent.clone());
    assert_eq!(parent, None);
    let db = machine.host.attach(&name("db")).unwrap();
    assert_eq!(machine.block(&db, 0).unwrap(), 5);
}
