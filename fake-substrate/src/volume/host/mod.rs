//! One host: the books of `store`, and the hands that keep what they say true.
//!
//! Locks are taken in this order: `maintenance` (one flush, rehome or collection at a time), the
//! books, the journal. Guests' reads share the books, everything else has them alone, and never
//! while it waits for object storage: a fork waits for the writes that are under way and for
//! nothing else.

mod collect;
mod compact;
mod error;
mod fetch;
mod io;
mod power;
mod rehome;
mod room;
mod trouble;
mod write_behind;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trouble_tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::volume::VolumeName;
use crate::volume::backing::{Arena, Journal, Objects};
use crate::volume::store::codec::{self, Damaged};
use crate::volume::store::decide::{Children, NewVolume};
use crate::volume::store::flush::MOST_AT_STAKE;
use crate::volume::store::record::Record;
use crate::volume::store::refused::Refused;
use crate::volume::store::root::root_key;
use crate::volume::store::{Handle, Store};

pub use collect::Collected;
pub use compact::Compacted;
pub use error::HostError;
pub use power::PowerCut;
pub use trouble::Held;
pub use write_behind::{FlushPoint, Ticked};

const JOURNAL: [u8; 4] = *b"BYJ1";
/// A journal longer than this is written anew at the next tick.
const LONG_JOURNAL: u64 = 64 << 20;

/// A fork that shall be.
#[derive(Debug, Clone)]
pub struct NewFork {
    /// Of whom.
    pub parent: VolumeName,
    /// Its name.
    pub child: VolumeName,
    /// Never written to object storage.
    pub ephemeral: bool,
    /// When it may be destroyed by itself.
    pub expires_ms: Option<u64>,
}

/// A host and its volumes.
pub struct Host {
    name: String,
    maintenance: Mutex<()>,
    books: RwLock<Store>,
    journal: Mutex<Box<dyn Journal>>,
    /// How long the journal was when it was last written anew.
    checkpointed: Mutex<u64>,
    fetches: fetch::Fetches,
    arena: Box<dyn Arena>,
    objects: Arc<dyn Objects>,
    room: room::Room,
    troubles: trouble::Troubles,
    most_at_stake: u64,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl Host {
    /// Takes up what the journal tells. `nonce` is a random number: it sets this host's objects
    /// apart from all others'.
    pub fn open(
        arena: Box<dyn Arena>,
        mut journal: Box<dyn Journal>,
        objects: Arc<dyn Objects>,
        nonce: u32,
    ) -> Result<Self, HostError> {
        let bytes = journal
            .read()
            .map_err(HostError::local("read", "journal"))?;
        let (batches, end) = frames(&bytes)?;
        if end < bytes.len() as u64 {
            tracing::warn!(
                bytes = bytes.len() as u64 - end,
                "the journal ends in the middle of a change, which a killed process leaves; the change did not happen"
            );
            journal
                .truncate(end)
                .map_err(HostError::local("truncate", "journal"))?;
        }
        let mut books = Store::replay(batches)?;
        let mut nonce = nonce;
        while books.nonces().contains(&nonce) {
            nonce = nonce.wrapping_add(1);
        }
        books.apply(vec![Record::Started { nonce }])?;
        let host = Self {
            name: String::new(),
            maintenance: Mutex::new(()),
            books: RwLock::new(books),
            journal: Mutex::new(journal),
            checkpointed: Mutex::new(0),
            fetches: fetch::Fetches::default(),
            arena,
            objects,
            room: room::Room::default(),
            troubles: trouble::Troubles::default(),
            most_at_stake: MOST_AT_STAKE,
        };
        host.checkpoint()?;
        Ok(host)
    }

    /// With a name, by which people know what it wrote.
    #[must_use]
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    fn books(&self) -> RwLockReadGuard<'_, Store> {
        // A panic in the middle of a change is a bug; what the journal says stays true all the same.
        self.books.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn books_mut(&self) -> RwLockWriteGuard<'_, Store> {
        self.books.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        locked(&self.maintenance)
    }

    /// Writes a change down, then makes it.
    fn change(&self, books: &mut Store, batch: Vec<Record>) -> Result<(), HostError> {
        let ends_waiting = !matches!(batch[..], [Record::Sync { .. }]);
        let frame = seal(&batch)?;
        let appended = locked(&self.journal).append(&frame);
        appended.map_err(HostError::local("write", "journal"))?;
        let applied = books.apply(batch);
        // Anything but a guest's own FLUSH may have ended an attachment or made room.
        if ends_waiting {
            self.room.look_again();
        }
        Ok(applied?)
    }

    /// Writes the journal anew, as short as it can be.
    fn checkpoint(&self) -> Result<(), HostError> {
        let books = self.books_mut();
        let bytes = seal(&books.checkpoint())?;
        let mut journal = locked(&self.journal);
        journal
            .replace(&bytes)
            .map_err(HostError::local("replace", "journal"))?;
        *locked(&self.checkpointed) = journal.length();
        Ok(())
    }

    fn checkpoint_if_long(&self) -> Result<(), HostError> {
        let before = *locked(&self.checkpointed);
        let length = locked(&self.journal).length();
        if length > LONG_JOURNAL.max(before.saturating_mul(4)) {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Makes a volume of zeroes.
    pub fn create(&self, new: NewVolume, now_ms: u64) -> Result<(), HostError> {
        let _one = self.one_at_a_time();
        self.bury()?;
        self.is_not_in_object_storage(&new.name)?;
        let mut books = self.books_mut();
        let record = books.create(new, now_ms)?;
        self.change(&mut books, vec![record])
    }

    /// Forks a volume: a few pointers and one line of the journal, whatever its size.
    pub fn fork(&self, new: &NewFork, now_ms: u64) -> Result<(), HostError> {
        // Not `one_at_a_time`: a fork does not wait for a flush. A name that is still being buried
        // is refused by the books.
        self.is_not_in_object_storage(&new.child)?;
        let mut books = self.books_mut();
        let record = books.fork(
            &new.parent,
            &new.child,
            new.ephemeral,
            new.expires_ms,
            now_ms,
        )?;
        self.change(&mut books, vec![record])
    }

    /// Gives a volume more room, also while it is attached. Asked for what it has, it does nothing.
    pub fn grow(&self, name: &VolumeName, bytes: u64) -> Result<(), HostError> {
        let mut books = self.books_mut();
        match books.grow(name, bytes)? {
            Some(record) => self.change(&mut books, vec![record]),
            None => Ok(()),
        }
    }

    /// Gives a finished draft its name: a volume with the draft's content appears and the draft ends, in
    /// one frame of the journal.
    pub fn publish(
        &self,
        draft: &VolumeName,
        new: NewVolume,
        now_ms: u64,
    ) -> Result<(), HostError> {
        self.is_not_in_object_storage(&new.name)?;
        let mut books = self.books_mut();
        let NewVolume {
            name,
            bytes: _the_draft_s,
            ephemeral,
            expires_ms,
        } = new;
        let named = books.fork(draft, &name, ephemeral, expires_ms, now_ms)?;
        let ended = books.destroy(draft, Children::Forbid)?;
        self.change(&mut books, vec![named, ended])
    }

    /// A name that another host uses, or that this one used before it lost everything.
    fn is_not_in_object_storage(&self, name: &VolumeName) -> Result<(), HostError> {
        match self.objects.get(&root_key(name))? {
            None => Ok(()),
            Some(_root) => Err(Refused::Exists(name.clone()).into()),
        }
    }

    /// Lets a front in.
    pub fn attach(&self, name: &VolumeName) -> Result<Handle, HostError> {
        Ok(self.books_mut().attach(name)?)
    }

    /// Ends the attachment.
    pub fn detach(&self, name: &VolumeName) -> Result<(), HostError> {
        let detached = self.books_mut().detach(name);
        self.room.look_again();
        Ok(detached?)
    }

    /// This host is gone, as far as the volume is concerned.
    pub fn lose(&self, name: &VolumeName) -> Result<(), HostError> {
        let mut books = self.books_mut();
        let record = books.lose(name)?;
        self.change(&mut books, vec![record])
    }

    /// The end of a volume, and of its root.
    pub fn destroy(&self, name: &VolumeName, children: Children) -> Result<(), HostError> {
        let _one = self.one_at_a_time();
        {
            let mut books = self.books_mut();
            let record = books.destroy(name, children)?;
            self.change(&mut books, vec![record])?;
        }
        self.forget_troubles(name);
        self.bury()
    }

    /// Removes the roots of destroyed volumes, this time or after a crash.
    fn bury(&self) -> Result<(), HostError> {
        let doomed: Vec<_> = self.books().doomed().cloned().collect();
        for volume in doomed {
            self.objects.delete(&root_key(&volume))?;
            self.change(&mut self.books_mut(), vec![Record::Buried { volume }])?;
        }
        Ok(())
    }

    /// Looks at the books.
    pub fn with_books<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.books())
    }
}

fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seal(batch: &Vec<Record>) -> Result<Vec<u8>, HostError> {
    codec::seal(JOURNAL, batch).map_err(|damage| HostError::Journal { at: 0, damage })
}

/// The batches of a journal, and where the last whole one ends. Appending is the only way it grows,
/// so what a killed process leaves is a frame that is too short; anything else is damage.
fn frames(bytes: &[u8]) -> Result<(Vec<Vec<Record>>, u64), HostError> {
    let mut batches = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        match codec::open(JOURNAL, rest) {
            Ok((batch, length)) => {
                batches.push(batch);
                rest = &rest[length..];
            }
            Err(Damaged::Short { .. }) => break,
            Err(damage) => {
                let at = (bytes.len() - rest.len()) as u64;
                return Err(HostError::Journal { at, damage });
            }
        }
    }
    Ok((batches, (bytes.len() - rest.len()) as u64))
}
