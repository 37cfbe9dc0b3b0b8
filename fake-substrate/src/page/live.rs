//! Looks at the substrate once a second, and only while somebody watches; keeps what was seen last.
//!
//! One task looks, renders and publishes. A page that is open holds a receiver of a watch channel: it
//! sees the latest frame, however slowly it reads, and nothing is queued for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::collect::{self, Told};
use super::errands::{Errand, Errands};
use super::feed::Feed;
use super::html::{Fragment, Setting, fragments};
use super::snapshot::Snapshot;
use crate::docker::Docker;
use crate::names::SubstrateName;
use crate::until::pause;

/// The pause between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// What is shown at one moment.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) errands: Vec<Errand>,
    pub(super) fragments: Vec<Fragment>,
    /// The number of the latest log line.
    pub(super) latest_line: u64,
}

/// Everything that the pages of one process share.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) docker: Docker,
    pub(super) substrate: SubstrateName,
    pub(super) setting: Setting,
    pub(super) errands: Errands,
    pub(super) feed: Mutex<Feed>,
    /// `None` while nobody watches: what was seen then is stale.
    frames: watch::Sender<Option<Arc<Frame>>>,
    watched: Notify,
}

impl Live {
    pub(super) fn new(
        docker: Docker,
        substrate: SubstrateName,
        setting: Setting,
        errands: Errands,
    ) -> Self {
        Self {
            docker,
            substrate,
            setting,
            errands,
            feed: Mutex::default(),
            frames: watch::Sender::new(None),
            watched: Notify::new(),
        }
    }

    /// Begins to watch, for as long as the receiver is held.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<Frame>>> {
        let frames = self.frames.subscribe();
        self.watched.notify_one();
        frames
    }

    /// The frame of this moment: what watchers see already, else a look of its own.
    pub(super) async fn now(&self) -> Option<Arc<Frame>> {
        let mut frames = self.watch();
        let frame = frames.wait_for(Option::is_some).await.ok()?;
        frame.clone()
    }

    /// Looks and publishes for as long as it is polled.
    pub(super) async fn run(&self) {
        loop {
            while self.frames.receiver_count() == 0 {
                self.watched.notified().await;
            }
            self.while_watched().await;
            // Somebody who comes right now has left a permit in `watched`.
            self.frames.send_replace(None);
        }
    }

    async fn while_watched(&self) {
        let mut errands = self.errands.subscribe();
        let mut seen: Option<Arc<Snapshot>> = None;
        let mut told = Told::new();
        while self.frames.receiver_count() > 0 {
            let first = seen.is_none();
            let look = async {
                if !first {
                    pause(EVERY).await;
                }
                self.look(&mut told).await
            };
            tokio::pin!(look);
            // What was asked for is shown while the next look is under way.
            let snapshot = loop {
                tokio::select! {
                    snapshot = &mut look => break Arc::new(snapshot),
                    changed = errands.changed() => {
                        if let (Ok(()), Some(seen)) = (changed, &seen) {
                            self.show(seen, errands.borrow_and_update().iter().cloned().collect());
                        }
                    }
                }
            };
            self.show(
                &snapshot,
                errands.borrow_and_update().iter().cloned().collect(),
            );
            seen = Some(snapshot);
        }
    }

    async fn look(&self, told: &mut Told) -> Snapshot {
        let snapshot = collect::snapshot(&self.docker, &self.substrate, told).await;
        collect::lines(&self.docker, &self.substrate, &snapshot, &self.feed).await;
        snapshot
    }

    fn show(&self, snapshot: &Arc<Snapshot>, errands: Vec<Errand>) {
        let frame = Frame {
            snapshot: Arc::clone(snapshot),
            fragments: fragments(&self.setting, snapshot, &errands),
            errands,
            latest_line: collect::held(&self.feed).latest(),
        };
        self.frames.send_if_modified(|shown| {
            let same = |old: &Arc<Frame>| {
                old.fragments == frame.fragments && old.latest_line == frame.latest_line
            };
            let modified = !shown.as_ref().is_some_and(same);
            *shown = Some(Arc::new(frame));
            modified
        });
    }
}
