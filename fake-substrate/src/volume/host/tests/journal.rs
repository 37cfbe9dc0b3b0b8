//! Journals that are damaged or end anywhere.

use std::sync::Arc;

use proptest::prelude::{any, prop, proptest};

use super::{MIB, Machine, name};
use crate::volume::VolumeName;
use crate::volume::backing::memory::{MemoryJournal, MemoryObjects};
use crate::volume::host::{Host, HostError};
use crate::volume::store::decide::Children;
use crate::volume::store::map::BLOCK;

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
