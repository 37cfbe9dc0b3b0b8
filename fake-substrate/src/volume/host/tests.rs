//! What the model does not tell: other hosts, damage, journals that end anywhere, clones whose time
//! has come.

mod compact;
mod fetch;
mod growth;
mod write_behind;

use std::sync::Arc;

use proptest::prelude::{any, prop, proptest};

use super::{Host, HostError, NewFork};
use crate::volume::VolumeName;
use crate::volume::backing::Arena as _;
use crate::volume::backing::memory::{Fault, MemoryArena, MemoryJournal, MemoryObjects};
use crate::volume::store::Handle;
use crate::volume::store::cut::Tear;
use crate::volume::store::decide::{Children, NewVolume};
use crate::volume::store::flush::Policy;
use crate::volume::store::map::BLOCK;
use crate::volume::store::refused::Refused;

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
fn a_rehomed_volume_fetches_what_is_read_and_nothing_twice() {
    let objects = MemoryObjects::default();
    let first = Machine::new(&objects, 1);
    let handle = first.create("db", 8 * MIB);
    let data: Vec<u8> = (0..1024)
        .flat_map(|block: u32| [block.to_le_bytes()[0] | 1; BLOCK])
        .collect();
    first.host.write(&handle, 0, &data, false).unwrap();
    first.host.flush_point(&name("db"), 0).unwrap();
    drop(first);

    let second = Machine::new(&objects, 2);
    second.host.rehome(&name("db")).unwrap();
    let handle = second.host.attach(&name("db")).unwrap();
    let before = objects.gets();
    assert_eq!(second.block(&handle, 70).unwrap(), 71);
    assert_eq!(second.block(&handle, 127).unwrap(), 127);
    assert_eq!(objects.gets() - before, 1, "neighbours come along");
    second.fork("db", "copy", None);
    let copy = second.host.attach(&name("copy")).unwrap();
    assert_eq!(second.block(&copy, 71).unwrap(), 71);
    assert_eq!(
        objects.gets() - before,
        2,
        "a look for the name of the fork, no fetch"
    );
    // A part of a block keeps the rest of it, also when that has to be fetched.
    second
        .host
        .write(&handle, 900 * 4096 + 512, &[9; 512], false)
        .unwrap();
    let mut block = [0; BLOCK];
    second.host.read(&handle, 900 * 4096, &mut block).unwrap();
    assert_eq!((block[0], block[512], block[1024]), (133, 9, 133));
}

#[test]
fn a_damaged_pack_is_an_error_for_whoever_reads_it_and_for_nobody_else() {
    let objects = MemoryObjects::default();
    let first = Machine::new(&objects, 1);
    let handle = first.create("db", 8 * MIB);
    first
        .host
        .write(&handle, 0, &[1; 200 * BLOCK], false)
        .unwrap();
    first.host.flush_point(&name("db"), 0).unwrap();
    let pack = objects
        .keys()
        .into_iter()
        .find(|key| key.starts_with("packs/"))
        .unwrap();
    objects.flip(&pack, 5000);

    let second = Machine::new(&objects, 2);
    second.host.rehome(&name("db")).unwrap();
    let handle = second.host.attach(&name("db")).unwrap();
    let error = second.block(&handle, 0).unwrap_err();
    assert!(error.to_string().contains("block 1 of pack"), "{error}");
    assert_eq!(second.block(&handle, 100).unwrap(), 1);
}

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
fn a_journal_with_a_flipped_byte_is_refused_and_kept() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    machine.create("db", MIB);
    machine.create("other", MIB);
    let (arena, journal) = (machine.arena.clone(), machine.journal.clone());
    drop(machine);
    journal.0.lock().unwrap()[20] ^= 1;
    let whole = journal.0.lock().unwrap().clone();
    let opened = Host::open(
        Box::new(arena),
        Box::new(journal.clone()),
        Arc::new(objects),
        1,
    );
    assert!(matches!(opened, Err(HostError::Journal { at: 0, .. })));
    assert_eq!(*journal.0.lock().unwrap(), whole);
}

proptest! {
    /// SIGKILL at any byte of the journal: what was written down before is there, a change that was
    /// not is not there at all.
    #[test]
    fn a_journal_cut_anywhere_is_the_state_before_or_after_a_change(
        at in any::<prop::sample::Index>()
    ) {
        let objects = MemoryObjects::default();
        let machine = Machine::new(&objects, 1);
        let journal = |machine: &Machine| machine.journal.0.lock().unwrap().clone();
        let handle = machine.create("db", MIB);
        let mut states = vec![journal(&machine).len()];
        // What the arena holds when a flush is written down: slots are used again, so a journal goes
        // with the arena of its time.
        let mut arenas = Vec::new();
        for byte in 1..5 {
            machine.host.write(&handle, 0, &[byte; 3 * BLOCK], false).unwrap();
            arenas.push(machine.arena.copy());
            machine.host.flush(&handle).unwrap();
            states.push(journal(&machine).len());
        }
        machine.fork("db", "copy", None);
        machine.host.detach(&name("db")).unwrap();
        machine.host.destroy(&name("db"), Children::Keep).unwrap();
        let whole = journal(&machine);
        let end = states[0] + at.index(whole.len() - states[0] + 1);
        let cut = MemoryJournal(Arc::new(std::sync::Mutex::new(whole[..end].to_vec())));
        let synced = states.iter().filter(|state| **state <= end).count() - 1;
        let arena = arenas.get(synced).unwrap_or(&machine.arena);
        let again = Machine::on(arena.clone(), cut, &objects, 1);
        let volumes: Vec<_> = again.host.with_books(|books| {
            books.volumes().map(|volume| volume.meta.name.clone()).collect()
        });
        let expected = u8::try_from(synced).unwrap();
        for volume in &volumes {
            let handle = again.host.attach(volume).unwrap();
            for block in 0..3 {
                assert_eq!(again.block(&handle, block).unwrap(), expected);
            }
        }
        let names: Vec<_> = volumes.iter().map(VolumeName::as_str).collect();
        assert!(matches!(*names, ["db"] | ["copy", "db"] | ["copy"]), "{names:?}");
    }
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
