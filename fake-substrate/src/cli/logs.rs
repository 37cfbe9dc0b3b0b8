//! `logs`: what the host received over a machine's link. A machine that never linked has written to
//! its container's output alone, as under `docker run`.

use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use futures_util::TryStreamExt as _;

use crate::admin::{AdminClient, KeptLine, LinkState};
use crate::docker::logs::{Output, Part, Source};
use crate::machine::Machine;
use crate::names::MachineName;
use crate::progress::Progress as _;

use super::{CliError, Site};

/// How long one question waits for the next line; then the same is asked again.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on, over restarts as well, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Only that many of the latest lines
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<usize>,
    /// The container's output instead: PID 1's own lines, those from before its link included
    #[arg(long)]
    container: bool,
    /// Which machine
    name: MachineName,
}

impl Logs {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let machine = site.machine(self.name.clone()).await?;
        if self.container {
            return self.of_container(&machine).await;
        }
        let substrate = site.connect().await?;
        let link = substrate.admin().link(self.name.as_str()).await?;
        if link.state == LinkState::NeverSeen {
            let name = machine.name();
            site.progress.step(&format!(
                "Machine {name} has never linked to its host; this is its container's output"
            ));
            return self.of_container(&machine).await;
        }
        let tail = self
            .tail
            .map_or(u64::MAX, |lines| u64::try_from(lines).unwrap_or(u64::MAX));
        self.of_host(substrate.admin(), link.last_line.saturating_sub(tail))
            .await
    }

    async fn of_host(&self, admin: &AdminClient, after: u64) -> Result<(), CliError> {
        let mut after = after;
        loop {
            let wait = if self.follow {
                PATIENCE
            } else {
                Duration::ZERO
            };
            let page = admin.log_page(self.name.as_str(), after, wait).await?;
            if page.missed > 0 && after > 0 {
                let missed = page.missed;
                eprintln!("[fake-substrate: {missed} lines came and are not kept any more]");
            }
            if page.lines.is_empty() && !self.follow {
                return Ok(());
            }
            after = page.after;
            for line in &page.lines {
                match write_line(line) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    written => written.map_err(CliError::Output)?,
                }
            }
        }
    }

    async fn of_container(&self, machine: &Machine) -> Result<(), CliError> {
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

/// The log is the answer, whichever of its streams a server wrote it to.
fn write_line(kept: &KeptLine) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", kept.line.line).and_then(|()| out.flush())
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
