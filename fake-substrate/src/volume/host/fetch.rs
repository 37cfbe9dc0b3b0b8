//! Blocks that only object storage has are brought here when somebody needs them: one request for all who
//! wait for the same run of a pack, others at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use super::{Host, HostError, locked};
use crate::volume::store::map::ObjectId;
use crate::volume::store::pack;
use crate::volume::store::root::pack_key;
use crate::volume::store::slots::Remote;

/// Blocks fetched at a time: 256 KiB around the one that is wanted.
const FETCHED: u32 = 64;

/// Something that may need a block which only object storage has.
pub(super) enum Attempt<T> {
    Done(T),
    Fetch(Remote),
}

/// What became of a request, for everybody who waits for it.
type Outcome = OnceLock<Result<(), Arc<HostError>>>;

/// The requests under way: a pack and the first block of the run.
#[derive(Debug, Default)]
pub(super) struct Fetches(Mutex<HashMap<(ObjectId, u32), Arc<Outcome>>>);

impl Fetches {
    /// Those who make or wait for the request of a run.
    #[cfg(test)]
    pub(super) fn readers(&self, pack: ObjectId, first: u32) -> usize {
        let requests = locked(&self.0);
        let request = requests.get(&(pack, first));
        request.map_or(0, |request| Arc::strong_count(request) - 1)
    }
}

impl Host {
    /// Tries until nothing is missing; what is missing is fetched without a lock on the books.
    pub(super) fn attempt<T>(
        &self,
        mut attempt: impl FnMut() -> Result<Attempt<T>, HostError>,
    ) -> Result<T, HostError> {
        let mut missed = None;
        loop {
            let remote = match attempt()? {
                Attempt::Done(done) => return Ok(done),
                Attempt::Fetch(remote) => remote,
            };
            match self.fetch(remote) {
                Ok(()) => {}
                // A compaction may have moved it since the books were asked: then they say so now.
                Err(error) if error.is_missing() && missed != Some(remote) => missed = Some(remote),
                Err(error) => return Err(error),
            }
        }
    }

    /// Brings a block and its neighbours in the pack here, or waits for whoever does.
    fn fetch(&self, (pack, index): Remote) -> Result<(), HostError> {
        let first = index - index % FETCHED;
        let request = Arc::clone(locked(&self.fetches.0).entry((pack, first)).or_default());
        let outcome = request.get_or_init(|| {
            let brought = self.bring((pack, index), first).map_err(Arc::new);
            locked(&self.fetches.0).remove(&(pack, first));
            brought
        });
        outcome.clone().map_err(HostError::Fetch)
    }

    fn bring(&self, (pack, index): Remote, first: u32) -> Result<(), HostError> {
        // The last request may have ended between the look at the books and this one.
        if self.books().slots.fetched((pack, index)).is_some() {
            return Ok(());
        }
        let (from, length) = pack::range(first, FETCHED);
        let bytes = self.objects.get_range(&pack_key(pack), from, length)?;
        let bytes = bytes.ok_or_else(|| HostError::missing_pack(pack))?;
        let contents = pack::decode_run(pack, first, &bytes)?;
        if contents.len() <= (index - first) as usize {
            return Err(HostError::missing_pack(pack));
        }
        let mut books = self.books_mut();
        let slots = books.slots.take(contents.len())?;
        for ((slot, content), index) in slots.into_iter().zip(contents).zip(first..) {
            let written = self.arena.write(slot.offset(), content);
            if let Err(error) = written.map_err(HostError::local("write", "arena")) {
                books.slots.give_back(slot);
                return Err(error);
            }
            books.slots.note_fetch((pack, index), slot);
        }
        Ok(())
    }
}
