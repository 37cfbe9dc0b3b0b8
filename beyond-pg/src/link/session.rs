//! What the link does next: events in, actions out. No I/O; time is an argument.
//!
//! ```text
//!            begin
//!              │
//!              ▼        dialled
//!  ┌──────► Dialling ──────────────► Connected ── a heartbeat ─► owes its answer
//!  │           │                         │
//!  │           │ nobody there            │ broken, or silent for 30 s
//!  │           ▼                         │
//!  └──────── Resting ◄───────────────────┘
//!   its time    100 ms, 200 ms … 5 s
//!   is up
//! ```
//!
//! What is owed goes out before any line: Ready first on every connection (facts 54), then answers
//! to heartbeats, and that the database is ready, again on every connection (facts 56). Owing is a
//! flag for each, so that a host that sends and never reads costs no memory.

use std::time::{Duration, Instant};

use wire::log::{DEGRADED_AFTER, Message};

use crate::supervise::backoff::Backoff;

/// Far below [`DEGRADED_AFTER`]: a host that comes back finds the machine in time.
const LONGEST_REST: Duration = Duration::from_secs(5);
/// A connection that lasted this long was a good one. A host that accepts and hangs up at once is
/// not dialled ten times a second for ever.
const GOOD: Duration = Duration::from_secs(5);

/// What happens to the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A dial was answered.
    Dialled,
    /// A dial was not answered, or there is nobody to dial.
    NobodyThere,
    /// The host sent a message.
    Received(Message),
    /// The connection ended, or cannot be trusted any more.
    Broken,
    /// The database began (`true`) or ceased to answer clients.
    Readiness(bool),
    /// [`Session::deadline`] has passed.
    DeadlinePassed,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Dial,
    /// Drop the connection.
    HangUp(Cause),
    /// The host asks this machine to stop.
    StopMachine,
}

/// Why a connection is dropped by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Silent,
    /// The host sent what only a guest sends.
    OutOfPlace,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Silent => write!(
                f,
                "the host sent nothing for {} s",
                DEGRADED_AFTER.as_secs()
            ),
            Cause::OutOfPlace => f.write_str("the host sent a message that only a guest sends"),
        }
    }
}

#[derive(Debug, Clone)]
enum Phase {
    Dialling,
    Resting { until: Instant },
    Connected { since: Instant, heard: Instant },
}

#[derive(Debug, Clone, Default)]
struct Owed {
    ready: bool,
    heartbeat_ack: bool,
    service_ready: bool,
}

/// The state of the link.
#[derive(Debug, Clone)]
pub(super) struct Session {
    phase: Phase,
    owed: Owed,
    connections: u64,
    database_ready: bool,
    backoff: Backoff,
}

impl Session {
    pub(super) fn begin() -> (Session, Vec<Action>) {
        let session = Session {
            phase: Phase::Dialling,
            owed: Owed::default(),
            connections: 0,
            database_ready: false,
            backoff: Backoff::capped(LONGEST_REST, GOOD),
        };
        (session, vec![Action::Dial])
    }

    /// When [`Event::DeadlinePassed`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Dialling => None,
            Phase::Resting { until } => Some(until),
            Phase::Connected { heard, .. } => Some(heard + DEGRADED_AFTER),
        }
    }

    /// The message to send now, before any line. To be asked while connected.
    pub(super) fn take_owed(&mut self) -> Option<Message> {
        if std::mem::take(&mut self.owed.ready) {
            let reconnect = self.connections > 1;
            return Some(Message::Ready { reconnect });
        }
        if std::mem::take(&mut self.owed.heartbeat_ack) {
            return Some(Message::HeartbeatAck);
        }
        std::mem::take(&mut self.owed.service_ready).then_some(Message::ServiceReady)
    }

    pub(super) fn on(&mut self, now: Instant, event: &Event) -> Vec<Action> {
        match event {
            Event::Dialled => self.dialled(now),
            Event::NobodyThere => self.rest(now, now),
            Event::Received(message) => self.received(now, message),
            Event::Broken => self.broken(now),
            Event::Readiness(ready) => {
                self.database_ready = *ready;
                self.owed.service_ready = *ready && self.is_connected();
                Vec::new()
            }
            Event::DeadlinePassed => self.deadline_passed(now),
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected { .. })
    }

    fn dialled(&mut self, now: Instant) -> Vec<Action> {
        self.connections += 1;
        self.phase = Phase::Connected {
            since: now,
            heard: now,
        };
        self.owed = Owed {
            ready: true,
            heartbeat_ack: false,
            service_ready: self.database_ready,
        };
        Vec::new()
    }

    fn received(&mut self, now: Instant, message: &Message) -> Vec<Action> {
        let Phase::Connected { heard, .. } = &mut self.phase else {
            return Vec::new();
        };
        *heard = now;
        match message {
            Message::Heartbeat => {
                self.owed.heartbeat_ack = true;
                Vec::new()
            }
            Message::Shutdown => vec![Action::StopMachine],
            Message::Ready { .. }
            | Message::HeartbeatAck
            | Message::ServiceReady
            | Message::LogLine(_) => self.hang_up(now, Cause::OutOfPlace),
        }
    }

    fn deadline_passed(&mut self, now: Instant) -> Vec<Action> {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        match self.phase {
            Phase::Dialling => Vec::new(),
            Phase::Resting { .. } => {
                self.phase = Phase::Dialling;
                vec![Action::Dial]
            }
            Phase::Connected { .. } => self.hang_up(now, Cause::Silent),
        }
    }

    fn hang_up(&mut self, now: Instant, cause: Cause) -> Vec<Action> {
        self.broken(now);
        vec![Action::HangUp(cause)]
    }

    fn broken(&mut self, now: Instant) -> Vec<Action> {
        let since = match self.phase {
            Phase::Connected { since, .. } => since,
            Phase::Dialling | Phase::Resting { .. } => return Vec::new(),
        };
        self.rest(since, now)
    }

    fn rest(&mut self, since: Instant, now: Instant) -> Vec<Action> {
        let until = self.backoff.restart_at(since, now);
        self.phase = Phase::Resting { until };
        self.owed = Owed::default();
        Vec::new()
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
