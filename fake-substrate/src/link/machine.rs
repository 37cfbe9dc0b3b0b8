//! One machine's link as the tasks of the process share it.

use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use wire::log::Message;

use crate::admin::{LinkReport, LogPage};

use super::lines::Lines;
use super::record::{Record, Violation};

/// Where a machine is, and what the host heard over its link.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    /// `None` once the machine was removed.
    address: watch::Sender<Option<Ipv4Addr>>,
    heard: Mutex<Heard>,
    /// The number of the latest line: whoever waits for more waits here.
    last_line: watch::Sender<u64>,
    /// Changes when a connection takes another one's place.
    living: watch::Sender<u64>,
    /// Counts how often the guest was asked to stop.
    shutdowns: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Heard {
    record: Record,
    lines: Lines,
}

impl Machine {
    pub(super) fn new(name: &str, address: Ipv4Addr) -> Self {
        Self {
            name: name.to_owned(),
            address: watch::Sender::new(Some(address)),
            heard: Mutex::default(),
            last_line: watch::Sender::new(0),
            living: watch::Sender::new(0),
            shutdowns: watch::Sender::new(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it is; nowhere once it was removed.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        *self.address.borrow()
    }

    pub(super) fn move_to(&self, address: Ipv4Addr) {
        self.address
            .send_if_modified(|before| before.replace(address) != Some(address));
    }

    pub(super) fn remove(&self) {
        self.address.send_replace(None);
    }

    pub(super) fn whereabouts(&self) -> watch::Receiver<Option<Ipv4Addr>> {
        self.address.subscribe()
    }

    pub(super) fn living(&self) -> watch::Receiver<u64> {
        self.living.subscribe()
    }

    pub(super) fn shutdowns(&self) -> watch::Receiver<u64> {
        self.shutdowns.subscribe()
    }

    pub(super) fn admit(&self) -> Option<u64> {
        let connection = self.heard().record.admit()?;
        self.living.send_replace(connection);
        Some(connection)
    }

    pub(super) fn take(
        &self,
        connection: u64,
        message: Message,
        now: u64,
    ) -> Result<(), Violation> {
        let mut heard = self.heard();
        let Heard { record, lines } = &mut *heard;
        if let Some(line) = record.heard(connection, message, now)? {
            let last = lines.push(line, connection, now);
            drop(heard);
            self.last_line.send_replace(last);
        }
        Ok(())
    }

    pub(super) fn silent(&self, connection: u64, now: u64) {
        self.heard().record.silent(connection, now);
    }

    pub(super) fn violated(&self, why: &Violation) {
        self.heard().record.violated(why);
    }

    pub(super) fn ended(&self, connection: u64, now: u64) {
        self.heard().record.ended(connection, now);
    }

    /// Asks the guest to stop; `false` when there is no connection to ask over.
    pub(crate) fn ask_to_shut_down(&self) -> bool {
        let linked = self.heard().record.is_linked();
        if linked {
            self.shutdowns.send_modify(|count| *count += 1);
        }
        linked
    }

    pub(crate) fn report(&self) -> LinkReport {
        let heard = self.heard();
        heard.record.report(heard.lines.last())
    }

    /// Lines after that one; with none, the first that comes while it is waited.
    pub(crate) async fn page(&self, after: u64, wait: Duration) -> LogPage {
        let mut last = self.last_line.subscribe();
        let page = self.heard().lines.page(after);
        if page.lines.is_empty() {
            // Nothing came, or somebody stopped waiting: both are an empty page.
            drop(tokio::time::timeout(wait, last.wait_for(|last| *last > after)).await);
            return self.heard().lines.page(after);
        }
        page
    }

    /// Poisoned by a panic elsewhere it still holds whole values.
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
