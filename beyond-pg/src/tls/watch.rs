//! Looks at the sources of certificates while the machine runs: the same facts, the same choice and
//! the same steps as at boot, and a reload when the servers have something new to read.
//!
//! By content and by polling: `/run/beyond/tls` may be made after the machine has booted, files come
//! by rename or by writing, and our own certificate ages without anybody touching it.

use std::time::{Duration, Instant};

use crate::boot::apply::{ApplyError, Disk, unheard};
use crate::boot::facts::{self, FactsError, Owners};
use crate::boot::plan;
use crate::conf::ConfFile;
use crate::fx::clock;
use crate::layout::Layout;
use crate::rpc::{Concern, Desk};
use crate::supervise::chain;
use crate::tls;
use crate::tls::source::TlsFacts;

/// A rotation shall be picked up within 60 s (I-004), also when one look falls between two of its
/// files.
pub(crate) const POLL: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// The watcher of one machine.
pub(crate) struct Watch<'a> {
    layout: &'a Layout,
    owners: Owners,
    desk: &'a Desk,
    every: Duration,
    next: Instant,
    said: Option<String>,
}

impl<'a> Watch<'a> {
    /// Begins with what the boot saw and did.
    pub(crate) fn new(
        layout: &'a Layout,
        owners: Owners,
        desk: &'a Desk,
        every: Duration,
        seen_at_boot: &TlsFacts,
    ) -> Watch<'a> {
        let mut watch = Watch {
            layout,
            owners,
            desk,
            every,
            next: clock::now() + every,
            said: None,
        };
        watch.say(seen_at_boot.concern(layout));
        watch
    }

    /// Comes back when the servers have a certificate to read. May be dropped and called again: the
    /// next look keeps its time.
    pub(crate) async fn renewed(&mut self) {
        loop {
            clock::until(Some(self.next)).await;
            if self.look().await {
                return;
            }
        }
    }

    /// Looks now; whether the servers have something to read.
    pub(crate) async fn look(&mut self) -> bool {
        self.next = clock::now() + self.every;
        let now = clock::unix_seconds();
        let facts = tls::facts::observe(self.layout, now);
        let mut concern = facts.concern(self.layout);
        let mut changed = false;
        if let Err(error) = self.put_right(&facts, now, &mut changed).await {
            // Tried again at the next look; until then the servers have what they had.
            let failed = format!(
                "the certificate cannot be renewed: {}\nHINT: is the volume full, or read-only?",
                chain(&error)
            );
            concern = Some(match concern {
                Some(words) => format!("{words}\n{failed}"),
                None => failed,
            });
        }
        self.say(concern);
        changed
    }

    async fn put_right(
        &self,
        facts: &TlsFacts,
        now: i64,
        changed: &mut bool,
    ) -> Result<(), WatchError> {
        let conf = facts::look_at(self.layout, self.owners, ConfFile::Tls06)?;
        let disk = Disk {
            layout: self.layout,
            owners: self.owners,
            now,
            say: &unheard,
            restore: None,
        };
        for step in plan::certificate(self.layout, facts, &conf) {
            tracing::info!("certificate: {step}");
            disk.apply(&step).await?;
            *changed = true;
        }
        Ok(())
    }

    fn say(&mut self, concern: Option<String>) {
        if concern == self.said {
            return;
        }
        match &concern {
            Some(words) => tracing::warn!("{words}"),
            None => tracing::info!("certificate: all is well again"),
        }
        self.desk.concern(Concern::Certificate, concern.clone());
        self.said = concern;
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
