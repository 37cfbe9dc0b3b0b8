//! Disks in trouble on purpose. A front asks before it hands a request over; the books know nothing of it,
//! and neither does the next process of this host.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::{Host, HostError, locked};
use crate::serve::clock::Clock;
use crate::volume::VolumeName;
use crate::volume::store::Handle;
use crate::volume::trouble::{Requests, Struck, Trouble, Verdict};

/// What is the matter with which volume.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<Standing>);

#[derive(Debug, Default)]
struct Standing {
    last: u64,
    of: BTreeMap<VolumeName, Vec<Numbered>>,
}

/// One that is used up stays, or those that it made wait would be let go.
#[derive(Debug)]
struct Numbered {
    number: u64,
    trouble: Trouble,
    struck: u64,
    held: u32,
}

impl Numbered {
    fn meets(&self, on: Requests) -> bool {
        let left = |times: std::num::NonZeroU32| self.struck < u64::from(times.get());
        self.trouble.on == on && self.trouble.times.is_none_or(left)
    }
}

/// A request that is served later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    by: u64,
    ms: u64,
}

impl Host {
    /// What is the matter with a volume from now on, in place of what was. One that was there goes on
    /// counting; requests that wait for one that goes are served at once.
    pub fn set_troubles(&self, volume: &VolumeName, troubles: &[Trouble]) -> Result<(), HostError> {
        self.with_books(|books| books.volume(volume).map(drop))?;
        let mut standing = locked(&self.troubles.0);
        let mut before = standing.of.remove(volume).unwrap_or_default();
        let had = !before.is_empty();
        let mut now = Vec::with_capacity(troubles.len());
        for trouble in troubles {
            let same = before.iter().position(|old| old.trouble == *trouble);
            now.push(match same {
                Some(old) => before.swap_remove(old),
                None => {
                    standing.last += 1;
                    Numbered {
                        number: standing.last,
                        trouble: *trouble,
                        struck: 0,
                        held: 0,
                    }
                }
            });
        }
        if had || !now.is_empty() {
            let told: Vec<_> = troubles.iter().map(ToString::to_string).collect();
            tracing::info!(%volume, troubles = told.join(", "), "its trouble is another one now");
        }
        if !now.is_empty() {
            standing.of.insert(volume.clone(), now);
        }
        drop(standing);
        self.room.look_again();
        Ok(())
    }

    /// What is the matter with a volume, and how often that was met.
    pub fn troubles(&self, volume: &VolumeName) -> Vec<Struck> {
        let standing = locked(&self.troubles.0);
        let troubles = standing.of.get(volume).into_iter().flatten();
        let struck = |one: &Numbered| Struck {
            trouble: one.trouble,
            struck: one.struck,
            held: one.held,
        };
        troubles.map(struck).collect()
    }

    /// What becomes of a request of that kind: of several troubles the oldest decides. One that is held
    /// waits in [`Host::hold`], and whoever serves others as well lets it do so on a thread of its own.
    pub fn strike(&self, handle: &Handle, on: Requests) -> Result<Option<Held>, HostError> {
        let mut standing = locked(&self.troubles.0);
        let troubles = standing.of.get_mut(&handle.volume).into_iter().flatten();
        let Some(one) = troubles.into_iter().find(|one| one.meets(on)) else {
            return Ok(None);
        };
        one.struck += 1;
        match one.trouble.verdict {
            Verdict::Fail => Err(HostError::InTrouble {
                volume: handle.volume.clone(),
                on,
            }),
            Verdict::Delay { ms } => {
                one.held += 1;
                Ok(Some(Held { by: one.number, ms }))
            }
        }
    }

    /// Waits until it is time, the trouble is over, or the attachment has ended.
    pub fn hold(&self, handle: &Handle, held: Option<Held>) -> Result<(), HostError> {
        let Some(held) = held else {
            return Ok(());
        };
        let waited = self.wait_out(handle, held);
        let mut standing = locked(&self.troubles.0);
        let troubles = standing.of.get_mut(&handle.volume).into_iter().flatten();
        for one in troubles.filter(|one| one.number == held.by) {
            one.held -= 1;
        }
        waited
    }

    fn wait_out(&self, handle: &Handle, Held { by, ms }: Held) -> Result<(), HostError> {
        let since = Clock::start();
        loop {
            let seen = self.room.changes();
            self.books().disk(handle)?;
            let left = ms.saturating_sub(since.elapsed_ms());
            if left == 0 || !self.stands(&handle.volume, by) {
                return Ok(());
            }
            let left = Duration::from_millis(left);
            self.room.wait_for_a_change(seen, Some(left));
        }
    }

    fn stands(&self, volume: &VolumeName, number: u64) -> bool {
        let standing = locked(&self.troubles.0);
        let mut troubles = standing.of.get(volume).into_iter().flatten();
        troubles.any(|one| one.number == number)
    }

    /// A volume that is no more has no trouble; another of its name begins without.
    pub(super) fn forget_troubles(&self, volume: &VolumeName) {
        locked(&self.troubles.0).of.remove(volume);
    }
}
