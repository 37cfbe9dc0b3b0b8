//! `logs`: what PID 1 and its children have written. Over Docker for now; the host's own log store
//! comes with the link.

use std::io::{self, Write as _};

use clap::Args;
use futures_util::TryStreamExt as _;

use fake_substrate::docker::logs::{Output, Part, Source};
use fake_substrate::names::MachineName;

use super::{CliError, Site};

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on for as long as the machine runs
    #[arg(short, long)]
    follow: bool,
    /// Only that many of the latest lines
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<usize>,
    /// Which machine
    name: MachineName,
}

impl Logs {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let machine = site.machine(self.name).await?;
        let part = Part {
            follow: self.follow,
            tail: self.tail,
            since: None,
        };
        let mut output = Box::pin(machine.logs(part));
        while let Some(piece) = output.try_next().await? {
            match write(&piece) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.map_err(CliError::Output)?,
            }
        }
        Ok(())
    }
}

/// Each piece goes to the stream that it was written to.
pub(super) fn write(piece: &Output) -> io::Result<()> {
    match piece.source {
        Source::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(&piece.bytes).and_then(|()| out.flush())
        }
        Source::Stderr => io::stderr().lock().write_all(&piece.bytes),
    }
}
