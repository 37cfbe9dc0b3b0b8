//! Reads one pipe of one child to its end. It waits for the child alone.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::fx::clock;
use crate::logs::lines::{Line, Lines};
use crate::logs::severity::{self, Dialect, Place, Severity};
use crate::logs::{LastWords, Logs, Message, Source};

/// What a pipe holds by default: one read empties it.
const PIPE: usize = 64 * 1024;

/// Forwards what a child writes, in a task of its own that ends with the pipe. Answers what will have
/// been its last words by then.
pub(crate) fn forward(
    logs: &Logs,
    dialect: Dialect,
    source: Source,
    pipe: impl AsyncRead + Unpin + Send + 'static,
) -> LastWords {
    let last_words = LastWords::default();
    logs.reader_begins();
    let mut forwarder = Forwarder {
        logs: logs.clone(),
        dialect,
        source,
        last_words: last_words.clone(),
        message: None,
    };
    tokio::spawn(async move {
        forwarder.read(pipe).await;
        forwarder.logs.reader_ended();
    });
    last_words
}

struct Forwarder {
    logs: Logs,
    dialect: Dialect,
    source: Source,
    last_words: LastWords,
    message: Option<Message>,
}

impl Forwarder {
    async fn read(&mut self, mut pipe: impl AsyncRead + Unpin) {
        let mut lines = Lines::default();
        let mut buffer = vec![0; PIPE];
        loop {
            match pipe.read(&mut buffer).await {
                Ok(0) => break,
                Ok(read) => lines.push(&buffer[..read], |line| self.take(line)),
                Err(error) => {
                    let source = &self.source.execution_id;
                    tracing::error!("reading what {source} writes: {error}; the rest is lost");
                    break;
                }
            }
        }
        if let Some(line) = lines.finish() {
            self.take(line);
        }
    }

    fn take(&mut self, line: Line) {
        let now = clock::now();
        let place = severity::place(self.dialect, &line.text);
        if let Some(severity) = begins(place) {
            self.last_words.hear(severity, &line.text);
        }
        let line = self.source.line(line);
        let severity = match (place, self.message) {
            (Place::Continues, Some(message)) => return self.logs.go_on(now, message, line),
            (Place::Begins(severity), _) => severity,
            (Place::Unmarked, Some(message)) => message.severity,
            (Place::Continues | Place::Unmarked, None) => Severity::BelowWarning,
        };
        self.message = Some(self.logs.begin(now, severity, line));
    }
}

/// What a child writes, all in one instant, as it is sent to the host through a queue of this size.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) async fn shipped(
    dialect: Dialect,
    text: &[u8],
    capacity: usize,
) -> Vec<wire::log::LogLine> {
    let logs = Logs::of_one_instant_with_capacity(capacity);
    let mut forwarder = Forwarder {
        logs: logs.clone(),
        dialect,
        source: Source {
            stream: wire::log::Stream::Stderr,
            execution_id: "postgres-1".to_owned(),
        },
        last_words: LastWords::default(),
        message: None,
    };
    forwarder.read(text).await;
    logs.state().closing = true;
    std::iter::from_fn(|| logs.next()).collect()
}

/// What a line is worth that does not belong to the one before it.
fn begins(place: Place) -> Option<Severity> {
    match place {
        Place::Begins(severity) => Some(severity),
        // What a loader writes about a library that is missing.
        Place::Unmarked => Some(Severity::BelowWarning),
        Place::Continues => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::outbox;
    use wire::log::Stream;

    fn postgres() -> Source {
        Source {
            stream: Stream::Stderr,
            execution_id: "postgres-1".to_owned(),
        }
    }

    /// What of a text that a child writes, all in one instant, is sent to the host.
    async fn sent(text: String, capacity: usize) -> Vec<String> {
        let logs = Logs::of_one_instant_with_capacity(capacity);
        let mut forwarder = Forwarder {
            logs: logs.clone(),
            dialect: Dialect::Postgres,
            source: postgres(),
            last_words: LastWords::default(),
            message: None,
        };
        forwarder.read(text.as_bytes()).await;
        std::iter::from_fn(|| logs.next())
            .map(|line| line.line)
            .collect()
    }

    const AT: &str = "2026-11-22 09:49:09.977 UTC [41]";

    #[tokio::test]
    async fn a_flood_of_statements_costs_no_error_and_no_part_of_one() {
        let statements = format!("{AT} LOG:  statement: SELECT 1\n").repeat(20_000);
        let error = format!("{AT} ERROR:  no\n{AT} DETAIL:  why\n\tand why\n{AT} STATEMENT:  x\n");
        let seen = sent(format!("{statements}{error}"), outbox::CAPACITY).await;
        let mut expected = vec![format!("{AT} LOG:  statement: SELECT 1"); 1000];
        expected.push("[beyond-pg: dropped 19000 log lines]".to_owned());
        expected.extend(error.lines().map(str::to_owned));
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn further_lines_of_a_refused_message_are_refused_with_it() {
        let burst = format!("{AT} LOG:  x\n").repeat(20_000);
        let seen = sent(format!("{burst}\tpart of the last\n"), outbox::CAPACITY).await;
        assert!(!seen.iter().any(|line| line.starts_with('\t')), "{seen:?}");
    }

    #[tokio::test]
    async fn what_nobody_marked_follows_the_severity_of_what_it_stands_behind() {
        let flood = format!("{AT} LOG:  a\n").repeat(100);
        let seen = sent(format!("{AT} FATAL:  no\nraw words\n{flood}"), 1000).await;
        assert_eq!(
            seen[..2],
            [format!("{AT} FATAL:  no"), "raw words".to_owned()]
        );
        assert!(seen.len() < 10, "the flood found no room: {seen:?}");
    }

    #[tokio::test]
    async fn a_pipe_at_its_end_is_no_longer_waited_for() {
        let logs = Logs::new();
        let words = forward(&logs, Dialect::Postgres, postgres(), &b"last words"[..]);
        let drained = logs.drained();
        let send = async {
            while logs.next().is_none() {
                logs.filled().await;
            }
            logs.sent();
        };
        tokio::join!(drained, send);
        assert_eq!(words.said().as_deref(), Some("last words"));
    }
}
