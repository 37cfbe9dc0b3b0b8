//! The hands of the ladder: looks at the volume every few seconds and before each start of Postgres,
//! and does what follows.
//!
//! That transactions are read-only stands in a file on tmpfs, which `postgresql.conf` includes last: a
//! measure against a full volume must need no room on it, must not outlive the machine's boot, and
//! has to win over what the user set for quieter days. It is a default and no more: an operator
//! makes room in a transaction that says `READ WRITE`.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use super::ladder::Ladder;
use super::{Volume, observe, words};
use crate::boot::facts::Owners;
use crate::fx::{clock, fs};
use crate::init;
use crate::layout::Layout;
use crate::rpc::{Concern, Desk};
use crate::supervise::chain;

/// An idle machine wakes up this often for it. What fills a tenth of a volume in less meets ENOSPC
/// before it is seen; the reserve file is for that.
const EVERY: Duration = Duration::from_secs(6);

/// A reserve file that cannot be made is not tried at every look, nor said.
const MAKE_AGAIN: Duration = Duration::from_secs(60);

/// A file system that cannot have more of its disk is not tried at every look, nor said.
const GROW_AGAIN: Duration = Duration::from_secs(600);

const READ_ONLY: &str = "# The volume is nearly full (`health` says how full); goes by itself.\n\
                         default_transaction_read_only = on\n";
const READ_WRITE: &str = "# The volume has room: nothing to set.\n";

/// Who watches the volume of this machine.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    layout: &'a Layout,
    owners: Owners,
    desk: &'a Desk,
    ladder: Ladder,
    /// What `disk.conf` says; `None` before the first look.
    read_only: Option<bool>,
    /// PgBouncer was started while it said something else.
    pooler_outdated: bool,
    next: Instant,
    /// Not before then is a reserve file made that is missing or too small.
    make_reserve_at: Instant,
    /// What could not be done, so that it is said once.
    trouble: Option<String>,
    /// Not before then is a disk that has grown looked for.
    grow_at: Instant,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(layout: &'a Layout, owners: Owners, desk: &'a Desk) -> Watch<'a> {
        Watch {
            layout,
            owners,
            desk,
            ladder: Ladder::default(),
            read_only: None,
            pooler_outdated: false,
            next: clock::now(),
            make_reserve_at: clock::now(),
            trouble: None,
            grow_at: clock::now(),
        }
    }

    /// Comes back when it is time to look.
    pub(crate) async fn is_due(&self) {
        clock::until(Some(self.next)).await;
    }

    /// Whether PgBouncer does not know of the last change. Asked once after each.
    pub(crate) fn takes_pooler_for_outdated(&mut self) -> bool {
        std::mem::take(&mut self.pooler_outdated)
    }

    /// Looks, acts, and answers whether Postgres has to read its configuration again.
    pub(crate) fn look(&mut self) -> bool {
        self.next = clock::now() + EVERY;
        self.grow();
        let Some(volume) = self.volume() else {
            return false;
        };
        self.follow(&volume)
    }

    /// The same while Postgres does not run: it reads its configuration when it starts, and what
    /// the reserve file gives up now goes to its recovery and to nobody else.
    pub(crate) fn look_before_start(&mut self) {
        self.next = clock::now() + EVERY;
        let Some(mut volume) = self.volume() else {
            return;
        };
        if let Some(left) = volume.reserve_after_a_release() {
            match fs::shrink(&self.layout.reserve(), left) {
                Ok(()) => tracing::warn!(
                    "released the reserve file but for {} MB: Postgres needs room to start on a full volume",
                    left >> 20
                ),
                Err(error) => self.say_once(&error),
            }
            let Some(after) = self.volume() else {
                return;
            };
            volume = after;
        }
        self.follow(&volume);
    }

    /// The platform may give a running machine a larger disk. On a thread of its own, since the disk is
    /// waited for; the looks after it see the new size.
    fn grow(&mut self) {
        let now = clock::now();
        if now < self.grow_at {
            return;
        }
        match init::volume::growth(self.layout) {
            Ok(None) => {}
            Ok(Some(growth)) => {
                self.grow_at = now + GROW_AGAIN;
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = growth.take() {
                        tracing::warn!("the volume stays as large as it is: {}", chain(&error));
                    }
                });
            }
            Err(error) => self.say_once(&error),
        }
    }

    fn volume(&mut self) -> Option<Volume> {
        match observe(self.layout) {
            Ok(volume) => Some(volume),
            Err(error) => {
                self.say_once(&error);
                None
            }
        }
    }

    fn follow(&mut self, volume: &Volume) -> bool {
        let before = self.ladder.stage();
        let stage = self.ladder.look(volume);
        let concern = words::concern(stage, volume);
        match (&concern, stage.cmp(&before)) {
            (Some(words), Ordering::Greater) => tracing::warn!("{words}"),
            (_, Ordering::Less) => tracing::info!("{}", words::relief(stage, volume)),
            _ => {}
        }
        self.desk.concern(Concern::Disk, concern);
        if let Some(bytes) = volume.reserve_to_make() {
            self.make_reserve(bytes);
        }
        self.set_read_only(stage.is_read_only())
    }

    /// Whether that is a change.
    fn set_read_only(&mut self, read_only: bool) -> bool {
        if self.read_only == Some(read_only) {
            self.trouble = None;
            return false;
        }
        let text = if read_only { READ_ONLY } else { READ_WRITE };
        let path = self.layout.disk_conf();
        match fs::write_atomic(&path, text.as_bytes(), 0o644, self.owners.root) {
            Ok(()) => {
                self.pooler_outdated = self.read_only.is_some();
                self.read_only = Some(read_only);
                true
            }
            // The next look tries again.
            Err(error) => {
                self.say_once(&error);
                false
            }
        }
    }

    /// On a thread of its own: flushing waits for a device that Postgres keeps busy, and nobody shall
    /// wait with it. Whether it worked is seen at the next look.
    fn make_reserve(&mut self, bytes: u64) {
        let now = clock::now();
        if now < self.make_reserve_at {
            return;
        }
        self.make_reserve_at = now + MAKE_AGAIN;
        let (path, owner) = (self.layout.reserve(), self.owners.root);
        tokio::task::spawn_blocking(move || match fs::allocate(&path, bytes, 0o600, owner) {
            Ok(()) => tracing::info!("made the reserve file again ({} MB)", bytes >> 20),
            Err(error) => tracing::warn!("no reserve file yet: {}", chain(&error)),
        });
    }

    fn say_once(&mut self, error: &dyn std::error::Error) {
        let words = chain(error);
        if self.trouble.as_ref() != Some(&words) {
            tracing::error!("watching the volume: {words}");
        }
        self.trouble = Some(words);
    }
}
