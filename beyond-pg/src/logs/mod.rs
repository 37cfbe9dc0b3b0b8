//! Log lines on their way to the host (H-001): read from the children's pipes and from this
//! process's own log, limited, queued. `link` sends them.
//!
//! ```text
//!  Postgres  ─ pipe ─► forward ─┐
//!  PgBouncer ─ pipe ─► forward ─┼─► limiter ─► outbox ─► link
//!  PID 1 ────────────► own ─────┘
//!                       └► stderr, always
//! ```
//!
//! Nobody who writes a line ever waits for the network: a backend that finds its pipe full stands
//! still in the middle of a statement.

pub(crate) mod forward;
mod last_words;
mod limiter;
pub(crate) mod lines;
mod outbox;
mod own;
pub(crate) mod severity;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use wire::log::{LogLine, Stream};

pub(crate) use forward::forward;
pub(crate) use last_words::LastWords;
pub(crate) use severity::Dialect;

use crate::fx::clock;
use crate::logs::limiter::Limiter;
use crate::logs::lines::Line;
use crate::logs::outbox::{MessageId, Outbox};
use crate::logs::severity::Severity;

/// The execution that the lines of PID 1 itself belong to.
const OWN_EXECUTION: &str = "beyond-pg";

/// Where a line comes from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) stream: Stream,
    /// Which run of which child.
    pub(crate) execution_id: String,
}

impl Source {
    fn line(&self, line: Line) -> LogLine {
        LogLine {
            stream: self.stream,
            line: line.text,
            truncated: line.truncated,
            execution_id: self.execution_id.clone(),
        }
    }
}

/// A message of which a first line was offered.
#[derive(Debug, Clone, Copy)]
struct Message {
    severity: Severity,
    /// `None`: the limit refused it, and its further lines with it.
    id: Option<MessageId>,
}

/// The one way to the host for every line of this machine. Clones are the same way.
#[derive(Debug, Clone)]
pub(crate) struct Logs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is a line to send.
    filled: Notify,
    /// A reader ended, or a line was sent.
    emptied: Notify,
}

#[derive(Debug)]
struct State {
    limiter: Limiter,
    outbox: Outbox,
    shipping: bool,
    /// Pipes that may still hold lines.
    readers: usize,
    /// A line was taken and is not yet sent.
    in_flight: bool,
    /// Nothing comes any more but what the readers still hold.
    closing: bool,
}

impl Logs {
    pub(crate) fn new() -> Logs {
        Logs::with_capacity(clock::now(), outbox::CAPACITY)
    }

    fn with_capacity(now: Instant, capacity: usize) -> Logs {
        Logs(Arc::new(Shared {
            state: Mutex::new(State {
                limiter: Limiter::new(now),
                outbox: Outbox::new(capacity),
                shipping: true,
                readers: 0,
                in_flight: false,
                closing: false,
            }),
            filled: Notify::new(),
            emptied: Notify::new(),
        }))
    }

    /// Sends as many lines as the host takes.
    #[cfg(feature = "failpoints")]
    pub(crate) fn lift_limit(&self) {
        self.state().limiter.lift();
    }

    /// Logs whose limiter sees no time pass.
    #[cfg(test)]
    pub(crate) fn at_one_instant() -> Logs {
        Logs::of_one_instant_with_capacity(outbox::CAPACITY)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    fn of_one_instant_with_capacity(capacity: usize) -> Logs {
        Logs::with_capacity(
            clock::now() + std::time::Duration::from_secs(3600),
            capacity,
        )
    }

    /// The settings want no line sent (`BEYOND_LOG_VSOCK=false`).
    pub(crate) fn pass_through(&self) {
        let mut state = self.state();
        state.shipping = false;
        state.outbox = Outbox::new(0);
    }

    /// Whether lines are sent when there is a link.
    pub(crate) fn is_shipping(&self) -> bool {
        self.state().shipping
    }

    /// The next line to send; tell with [`Logs::sent`] when it is on its way.
    pub(crate) fn next(&self) -> Option<LogLine> {
        let mut state = self.state();
        let line = state.outbox.pop().or_else(|| {
            let at_the_end = state.closing && state.readers == 0;
            at_the_end.then(|| state.outbox.last_notice()).flatten()
        });
        state.in_flight = line.is_some();
        line
    }

    /// What [`Logs::next`] gave is in the hands of the kernel.
    pub(crate) fn sent(&self) {
        self.state().in_flight = false;
        self.0.emptied.notify_one();
    }

    /// Comes back when there may be a line to send. For one caller.
    pub(crate) async fn filled(&self) {
        self.0.filled.notified().await;
    }

    /// Comes back when the pipes are at their ends and every line is sent. For one caller.
    pub(crate) async fn drained(&self) {
        self.state().closing = true;
        self.0.filled.notify_one();
        while !self.state().is_drained() {
            self.0.emptied.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was locked lost at most the line at hand.
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn reader_begins(&self) {
        self.state().readers += 1;
    }

    fn reader_ended(&self) {
        self.state().readers -= 1;
        self.0.filled.notify_one();
        self.0.emptied.notify_one();
    }

    fn begin(&self, now: Instant, severity: Severity, line: LogLine) -> Message {
        let mut state = self.state();
        let admitted = state.shipping && state.limiter.begin(now, severity);
        let id = admitted.then(|| state.outbox.begin());
        state.put(severity, id, line);
        drop(state);
        self.0.filled.notify_one();
        Message { severity, id }
    }

    fn go_on(&self, now: Instant, message: Message, line: LogLine) {
        let Message { severity, id } = message;
        let mut state = self.state();
        let admitted = id.filter(|_| state.limiter.go_on(now, severity));
        state.put(severity, admitted, line);
        drop(state);
        self.0.filled.notify_one();
    }
}

impl State {
    fn put(&mut self, severity: Severity, admitted: Option<MessageId>, line: LogLine) {
        match admitted {
            _ if !self.shipping => {}
            Some(id) => {
                if self.outbox.owes_notice() {
                    self.limiter.charge_notice();
                }
                self.outbox.push(severity, id, line);
            }
            None => self.outbox.count_lost(),
        }
    }

    fn is_drained(&self) -> bool {
        self.readers == 0 && self.outbox.is_drained() && !self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn in_a_flood_lines_and_notices_together_keep_to_the_rate() {
        let start = clock::now();
        let logs = Logs::with_capacity(start, outbox::CAPACITY);
        let source = Source {
            stream: Stream::Stderr,
            execution_id: "postgres-1".to_owned(),
        };
        let mut sent = 0;
        for number in 0..50_000 {
            let line = source.line(Line {
                text: "LOG:  x".to_owned(),
                truncated: false,
            });
            let now = start + Duration::from_micros(200 * number);
            logs.begin(now, Severity::BelowWarning, line);
            sent += std::iter::from_fn(|| logs.next()).count();
        }
        assert!((5_900..=6_001).contains(&sent), "{sent} in ten seconds");
    }
}
