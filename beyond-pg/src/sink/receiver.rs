//! `pg_receivewal`: it acknowledges what it has flushed, and ends when its connection does.

use nix::sys::signal::Signal;
use thiserror::Error;

use crate::fx::exec::{self, ExecError, Output, Running};
use crate::logs::{self, Dialect, LastWords, Logs, Source};
use crate::sink::primary::{NAME, Primary};

/// What receives.
pub(super) const PROGRAM: &str = "pg_receivewal";

#[derive(Debug, Error)]
pub(crate) enum ReceiverError {
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error("pg_receivewal ended: {how}{last_words}")]
    Ended { how: String, last_words: String },
}

/// One that runs; told to end when it is dropped.
pub(crate) struct Receiver {
    running: Running,
    last_words: Option<LastWords>,
}

impl Receiver {
    pub(crate) fn start(
        primary: &Primary<'_>,
        logs: Option<&Logs>,
    ) -> Result<Receiver, ReceiverError> {
        let program = primary
            .program(PROGRAM)
            // Without --synchronous it flushes at the end of a segment, and commits stall (facts A 20).
            .args([
                "--synchronous",
                "--no-loop",
                "--no-password",
                "--slot",
                NAME,
                "-D",
            ])
            .arg(primary.layout.sink_wal())
            .arg("-d")
            .arg(primary.conninfo(NAME));
        let Some(logs) = logs else {
            return Ok(Receiver {
                running: program.start(Output::Inherited)?,
                last_words: None,
            });
        };
        let mut running = program.start(Output::Piped)?;
        let last_words = running.take_pipes().map(|(stdout, stderr)| {
            let source = |stream| Source {
                stream,
                execution_id: PROGRAM.to_owned(),
            };
            let stdout_source = source(wire::log::Stream::Stdout);
            logs::forward(logs, Dialect::Postgres, stdout_source, stdout);
            let stderr_source = source(wire::log::Stream::Stderr);
            logs::forward(logs, Dialect::Postgres, stderr_source, stderr)
        });
        Ok(Receiver {
            running,
            last_words,
        })
    }

    /// How it ended, once it has.
    pub(crate) async fn ended(&mut self) -> ReceiverError {
        match self.running.wait().await {
            Ok(status) => ReceiverError::Ended {
                how: status.to_string(),
                last_words: self.last_words(),
            },
            Err(error) => error.into(),
        }
    }

    fn last_words(&self) -> String {
        let words = self.last_words.as_ref().and_then(LastWords::said);
        words.map_or_else(String::new, |words| format!("; its last words: {words}"))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(pid) = self.running.pid()
            && let Err(errno) = exec::signal(pid, Signal::SIGTERM)
        {
            tracing::warn!("telling pg_receivewal ({pid}) to end failed: {errno}");
        }
    }
}
