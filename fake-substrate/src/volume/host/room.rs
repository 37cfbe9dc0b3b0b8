//! Writes wait when too much of a volume is not in object storage: otherwise the write-behind window would
//! be as long as object storage is slow.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::{Host, HostError, locked};
use crate::volume::VolumeName;
use crate::volume::store::Handle;

/// Who waits, and for what to change.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Counts what may have made room, or have ended an attachment.
    changes: u64,
    writes: BTreeMap<VolumeName, usize>,
}

impl Room {
    /// Something may have changed for whoever waits.
    pub(super) fn look_again(&self) {
        locked(&self.waiting).changes += 1;
        self.changed.notify_all();
    }

    /// How many changes there were, for [`Self::wait_for_a_change`].
    pub(super) fn changes(&self) -> u64 {
        locked(&self.waiting).changes
    }

    /// Waits until there are more than were seen, or the time is up.
    pub(super) fn wait_for_a_change(&self, seen: u64, at_most: Option<Duration>) {
        let waiting = locked(&self.waiting);
        let unchanged = |waiting: &mut Waiting| waiting.changes == seen;
        // A poisoned lock is as good as another: what it guards is two numbers.
        match at_most {
            None => drop(self.changed.wait_while(waiting, unchanged)),
            Some(time) => drop(self.changed.wait_timeout_while(waiting, time, unchanged)),
        }
    }
}

impl Host {
    /// With another bound than the platform's, in blocks.
    #[must_use]
    pub fn bounded(self, most_at_stake: u64) -> Self {
        Self {
            most_at_stake,
            ..self
        }
    }

    /// Whether a write would be taken at once. One that would not waits in [`Host::write`], and whoever
    /// serves others as well lets it do so on a thread of its own.
    pub fn has_room(&self, handle: &Handle) -> Result<bool, HostError> {
        Ok(self.books().at_stake(handle)? < self.most_at_stake)
    }

    /// Whether writes of a volume wait for object storage at this moment.
    pub fn holds_back(&self, volume: &VolumeName) -> bool {
        locked(&self.room.waiting).writes.contains_key(volume)
    }

    /// Waits until there is room, or the attachment has ended.
    pub(super) fn wait_for_room(&self, handle: &Handle) -> Result<(), HostError> {
        if self.has_room(handle)? {
            return Ok(());
        }
        self.begins_to_wait(&handle.volume);
        let waited = self.wait(handle);
        self.has_waited(&handle.volume);
        waited
    }

    fn wait(&self, handle: &Handle) -> Result<(), HostError> {
        loop {
            let seen = self.room.changes();
            if self.has_room(handle)? {
                return Ok(());
            }
            self.room.wait_for_a_change(seen, None);
        }
    }

    fn begins_to_wait(&self, volume: &VolumeName) {
        let mut waiting = locked(&self.room.waiting);
        let writes = waiting.writes.entry(volume.clone()).or_default();
        *writes += 1;
        if *writes == 1 {
            tracing::warn!(
                %volume, blocks = self.most_at_stake,
                "so much of it is not in object storage that writes wait from now on"
            );
        }
    }

    fn has_waited(&self, volume: &VolumeName) {
        let mut waiting = locked(&self.room.waiting);
        let Some(writes) = waiting.writes.get_mut(volume) else {
            return;
        };
        *writes -= 1;
        if *writes == 0 {
            waiting.writes.remove(volume);
            tracing::info!(%volume, "writes do not wait any more");
        }
    }
}
