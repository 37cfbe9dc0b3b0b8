//! What the host knows of one machine's link. Pure: events in, time as an argument.
//!
//! ```text
//!   never seen ──Ready──► ready ──30 s of silence──► degraded
//!                          ▲ ▲                        │  │
//!                          │ └──────any frame─────────┘  │
//!                          │                             │
//!                          └──Ready── gone ◄──closed─────┴── (or from ready)
//! ```
//!
//! One connection at a time: a second one is turned away while the first lives, as the platform
//! never accepts it (facts 53). One that has been silent for so long that its machine counts as
//! degraded gives way: a machine that crashed may not have said goodbye.

use std::collections::BTreeMap;

use wire::frame::FrameError;
use wire::log::{LINE_LIMIT, LinkError, LogLine, Message};

use crate::admin::{LinkReport, LinkState};

/// Something came that no guest may send. The connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Violation {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Message(#[from] LinkError),
    #[error("the first frame of a connection is {0}, and not ready")]
    NotReadyFirst(&'static str),
    #[error("a guest sent {0}, which only the host sends")]
    HostsOwn(&'static str),
    #[error("a log line of {0} bytes is over the limit of {LINE_LIMIT}")]
    LineTooLong(usize),
}

#[derive(Debug, Default)]
pub(super) struct Record {
    state: LinkState,
    since_unix_ms: Option<u64>,
    living: Option<Living>,
    connections: u64,
    reconnects: u64,
    turned_away: u64,
    frames: BTreeMap<&'static str, u64>,
    violations: u64,
    last_violation: Option<String>,
}

#[derive(Debug)]
struct Living {
    connection: u64,
    said_ready: bool,
    silent: bool,
    service_ready: bool,
}

impl Record {
    /// The number of a new connection, or `None` while another one lives.
    pub(super) fn admit(&mut self) -> Option<u64> {
        if self.living.as_ref().is_some_and(|living| !living.silent) {
            self.turned_away += 1;
            return None;
        }
        self.connections += 1;
        let connection = self.connections;
        self.living = Some(Living {
            connection,
            said_ready: false,
            silent: false,
            service_ready: false,
        });
        Some(connection)
    }

    /// Whether the machine said on a connection that lives that it is there.
    pub(super) fn is_linked(&self) -> bool {
        self.living
            .as_ref()
            .is_some_and(|living| living.said_ready && !living.silent)
    }

    /// Takes a message; answers the log line in it.
    pub(super) fn heard(
        &mut self,
        connection: u64,
        message: Message,
        now: u64,
    ) -> Result<Option<LogLine>, Violation> {
        let Some(living) = self
            .living
            .as_mut()
            .filter(|living| living.connection == connection)
        else {
            return Ok(None);
        };
        let name = name(&message);
        *self.frames.entry(name).or_default() += 1;
        let line = match message {
            Message::Heartbeat | Message::Shutdown => return Err(Violation::HostsOwn(name)),
            Message::Ready { reconnect } => {
                self.reconnects += u64::from(reconnect);
                living.said_ready = true;
                None
            }
            _ if !living.said_ready => return Err(Violation::NotReadyFirst(name)),
            Message::HeartbeatAck => None,
            Message::ServiceReady => {
                living.service_ready = true;
                None
            }
            Message::LogLine(line) if line.line.len() > LINE_LIMIT => {
                return Err(Violation::LineTooLong(line.line.len()));
            }
            Message::LogLine(line) => Some(line),
        };
        living.silent = false;
        self.turn(LinkState::Ready, now);
        Ok(line)
    }

    /// Nothing has come for as long as the platform is patient.
    pub(super) fn silent(&mut self, connection: u64, now: u64) {
        if let Some(living) = self
            .living
            .as_mut()
            .filter(|living| living.connection == connection)
        {
            living.silent = true;
            self.turn(LinkState::Degraded, now);
        }
    }

    /// What came over a connection was no link's.
    pub(super) fn violated(&mut self, why: &Violation) {
        self.violations += 1;
        self.last_violation = Some(why.to_string());
    }

    /// A connection is over. One that was replaced before changes nothing.
    pub(super) fn ended(&mut self, connection: u64, now: u64) {
        if let Some(ended) = self
            .living
            .take_if(|living| living.connection == connection)
            && (ended.said_ready || self.state == LinkState::Degraded)
        {
            self.turn(LinkState::Gone, now);
        }
    }

    pub(super) fn report(&self, last_line: u64) -> LinkReport {
        LinkReport {
            state: self.state,
            since_unix_ms: self.since_unix_ms,
            service_ready: self
                .living
                .as_ref()
                .is_some_and(|living| living.service_ready),
            connections: self.connections,
            reconnects: self.reconnects,
            turned_away: self.turned_away,
            frames: self
                .frames
                .iter()
                .map(|(&name, &count)| (name.to_owned(), count))
                .collect(),
            violations: self.violations,
            last_violation: self.last_violation.clone(),
            last_line,
        }
    }

    fn turn(&mut self, state: LinkState, now: u64) {
        if self.state != state {
            self.state = state;
            self.since_unix_ms = Some(now);
        }
    }
}

/// How a frame is counted.
fn name(message: &Message) -> &'static str {
    match message {
        Message::Ready { .. } => "ready",
        Message::Heartbeat => "heartbeat",
        Message::HeartbeatAck => "heartbeat_ack",
        Message::Shutdown => "shutdown",
        Message::ServiceReady => "service_ready",
        Message::LogLine(_) => "log_line",
    }
}

#[cfg(test)]
mod tests {
    use wire::log::Stream;

    use super::*;

    const READY: Message = Message::Ready { reconnect: false };

    fn state(record: &Record) -> (LinkState, Option<u64>) {
        let report = record.report(0);
        (report.state, report.since_unix_ms)
    }

    fn hear(record: &mut Record, connection: u64, message: Message, now: u64) {
        record
            .heard(connection, message, now)
            .expect("a guest may say so");
    }

    fn connected() -> Record {
        let mut record = Record::default();
        assert_eq!(record.admit(), Some(1));
        hear(&mut record, 1, READY, 10);
        record
    }

    #[test]
    fn a_machine_is_ready_degraded_ready_again_and_gone() {
        let mut record = Record::default();
        assert_eq!(state(&record), (LinkState::NeverSeen, None));
        assert_eq!(record.admit(), Some(1));
        assert_eq!(
            state(&record),
            (LinkState::NeverSeen, None),
            "it has said nothing yet"
        );
        hear(&mut record, 1, READY, 10);
        hear(&mut record, 1, Message::HeartbeatAck, 20);
        assert_eq!(
            state(&record),
            (LinkState::Ready, Some(10)),
            "since its first word"
        );
        record.silent(1, 50);
        assert_eq!(state(&record), (LinkState::Degraded, Some(50)));
        hear(&mut record, 1, Message::HeartbeatAck, 60);
        assert_eq!(state(&record), (LinkState::Ready, Some(60)));
        record.ended(1, 70);
        assert_eq!(state(&record), (LinkState::Gone, Some(70)));
    }

    #[test]
    fn a_second_connection_is_turned_away_while_the_first_lives() {
        let mut record = connected();
        assert_eq!(record.admit(), None);
        assert_eq!(record.report(0).turned_away, 1);
        record.ended(1, 20);
        assert_eq!(record.admit(), Some(2));
    }

    #[test]
    fn a_silent_connection_gives_way_and_its_end_is_no_news() {
        let mut record = connected();
        record.silent(1, 40);
        assert_eq!(record.admit(), Some(2));
        assert!(!record.is_linked(), "the second has said nothing yet");
        hear(&mut record, 2, Message::Ready { reconnect: true }, 50);
        record.ended(1, 60);
        let late = record
            .heard(1, Message::ServiceReady, 60)
            .expect("nobody's");
        assert_eq!(late, None);
        let report = record.report(0);
        assert_eq!(
            (report.state, report.since_unix_ms),
            (LinkState::Ready, Some(50))
        );
        assert_eq!((report.connections, report.reconnects), (2, 1));
        assert!(!report.service_ready);
    }

    #[test]
    fn a_database_that_was_ready_says_so_again_on_each_connection() {
        let mut record = connected();
        hear(&mut record, 1, Message::ServiceReady, 20);
        assert!(record.report(0).service_ready);
        record.ended(1, 30);
        assert!(!record.report(0).service_ready);
        assert_eq!(record.admit(), Some(2));
        hear(&mut record, 2, READY, 40);
        assert!(!record.report(0).service_ready);
    }

    #[test]
    fn a_guest_that_breaks_the_order_is_told_why() {
        let line = |length| {
            Message::LogLine(LogLine {
                stream: Stream::Stderr,
                line: "x".repeat(length),
                truncated: true,
                execution_id: String::new(),
            })
        };
        let mut record = Record::default();
        assert_eq!(record.admit(), Some(1));
        let why = |record: &mut Record, message| {
            record
                .heard(1, message, 10)
                .expect_err("not allowed")
                .to_string()
        };
        assert_eq!(
            why(&mut record, Message::HeartbeatAck),
            "the first frame of a connection is heartbeat_ack, and not ready"
        );
        assert_eq!(
            why(&mut record, Message::Shutdown),
            "a guest sent shutdown, which only the host sends"
        );
        hear(&mut record, 1, READY, 10);
        hear(&mut record, 1, line(LINE_LIMIT), 10);
        assert_eq!(
            why(&mut record, line(LINE_LIMIT + 1)),
            "a log line of 262145 bytes is over the limit of 262144"
        );
    }

    #[test]
    fn a_connection_that_never_said_ready_is_no_machine() {
        let mut record = Record::default();
        assert_eq!(record.admit(), Some(1));
        record.ended(1, 20);
        assert_eq!(state(&record), (LinkState::NeverSeen, None));
    }
}
