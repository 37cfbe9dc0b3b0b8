//! A fresh PgBouncer in place of one whose memory is out of date.
//!
//! PgBouncer notes what `default_transaction_read_only` is when its first connection to Postgres opens,
//! hands that to every client, and plays it back to each server connection that the client gets: no
//! reload of Postgres reaches a pooled client, whether it came before or comes after. Only an end of
//! both does. Clients are let go between two transactions and find the new one when they come back.

use std::time::{Duration, Instant};

use super::{Action, Machine, Server, Signal};

/// How long transactions may go on; meanwhile nobody new gets in. What lasts longer is rolled back.
const GRACE: Duration = Duration::from_secs(10);

impl Machine {
    /// PgBouncer ends, and is started again as after any end of it.
    pub(super) fn renew_pooler(&mut self, now: Instant) -> Vec<Action> {
        let busy = self.is_stopping() || self.pooler_quits_at.is_some();
        if busy || !self.pooler.process.is_up() {
            return Vec::new();
        }
        self.pooler_quits_at = Some(now + GRACE);
        vec![Action::Signal(Server::Pooler, Signal::Interrupt)]
    }

    /// Its transactions had their time.
    pub(super) fn quit_pooler(&mut self) -> Vec<Action> {
        self.pooler_quits_at = None;
        vec![Action::Signal(Server::Pooler, Signal::Quit)]
    }

    /// Whether that server's end is what it was told.
    pub(crate) fn expects_end_of(&self, server: Server) -> bool {
        self.is_stopping() || (server == Server::Pooler && self.pooler_quits_at.is_some())
    }
}
