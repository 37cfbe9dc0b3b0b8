//! PID 1's own log: to its stderr always, which is the console of a machine and `docker logs` of a
//! container, and to the host like the lines of a child.

use std::io;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use wire::log::Stream;

use crate::fx::clock;
use crate::logs::lines::{Line, Lines};
use crate::logs::severity::Severity;
use crate::logs::{Logs, Message, OWN_EXECUTION, Source};

/// Writes one event.
#[derive(Debug)]
pub(crate) struct EventWriter {
    logs: Logs,
    severity: Severity,
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = EventWriter;

    fn make_writer(&'a self) -> EventWriter {
        EventWriter {
            logs: self.clone(),
            severity: Severity::BelowWarning,
        }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> EventWriter {
        let grave = *event.level() <= Level::WARN;
        EventWriter {
            severity: if grave {
                Severity::WarningOrAbove
            } else {
                Severity::BelowWarning
            },
            ..self.make_writer()
        }
    }
}

impl io::Write for EventWriter {
    /// Takes the event whole, as the formatter hands it over: one message of the log.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.send(event);
        io::stderr().write_all(event)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl EventWriter {
    fn send(&self, event: &[u8]) {
        let source = Source {
            stream: Stream::Stderr,
            execution_id: OWN_EXECUTION.to_owned(),
        };
        let now = clock::now();
        let mut message: Option<Message> = None;
        let mut lines = Lines::default();
        let mut take = |line: Line| {
            let line = source.line(line);
            match message {
                Some(message) => self.logs.go_on(now, message, line),
                None => message = Some(self.logs.begin(now, self.severity, line)),
            }
        };
        lines.push(event, &mut take);
        if let Some(line) = lines.finish() {
            take(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::log::LINE_BURST;

    use super::*;

    #[test]
    fn an_event_of_several_lines_goes_to_the_host_whole_and_with_its_severity() {
        let logs = Logs::at_one_instant();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(logs.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .compact()
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..LINE_BURST {
                logs.begin(
                    clock::now(),
                    Severity::BelowWarning,
                    Source {
                        stream: Stream::Stdout,
                        execution_id: "postgres-1".to_owned(),
                    }
                    .line(Line {
                        text: String::new(),
                        truncated: false,
                    }),
                );
            }
            // Nothing lesser passes now.
            tracing::info!("refused by the limit");
            tracing::error!("nothing works\nHINT: try again");
        });
        let seen: Vec<_> = std::iter::from_fn(|| logs.next()).collect();
        let [.., first, hint] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        assert_eq!(first.line.trim_start(), "ERROR nothing works");
        assert_eq!(hint.line, "HINT: try again");
        assert_eq!(hint.execution_id, OWN_EXECUTION);
        assert!(!seen.iter().any(|line| line.line.contains("refused")));
    }
}
