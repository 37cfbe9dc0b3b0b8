//! Before Postgres starts: what the sink has and this volume lacks is fetched and put in place (B-006a).
//!
//! ```text
//!  ask the sink ──► Local::gap ──► compare ──► fetch, one segment after the other ──► walk again
//!      │ nobody answers              │ differs                                          │ short
//!      ▼                             ▼                                                  ▼
//!  required: again, for ever     refusal: every byte is kept                         refusal
//!  preferred: go on without
//! ```
//!
//! Each segment is written whole under another name, flushed, given to `postgres` and renamed; cut between
//! two, the next boot finds a volume that lacks less. `archive` does the same with the machine's own archive.

pub(crate) mod archive;
pub(crate) mod base;
mod client;
#[cfg(test)]
mod fetch_tests;
mod local;
mod plan;
#[cfg(test)]
mod plan_tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::types::PgLsn;
use wire::lsn::Lsn;
use wire::sink::{Base, Holding};

use crate::archive::ArchiveError;
use crate::boot::facts::Owners;
use crate::boot::failpoint;
use crate::boot::gap::base::BaseError;
use crate::boot::gap::client::{Client, ClientError};
use crate::boot::gap::local::Volume;
use crate::boot::gap::plan::{Mismatch, Part};
use crate::fx::clock;
use crate::fx::exec::ExecError;
use crate::fx::fs::FsError;
use crate::layout::Layout;
use crate::postgres::controldata::ControlDataError;
use crate::postgres::wal_end::WalEndError;
use crate::settings::{InstanceId, Sink, SinkPolicy};
use crate::supervise::chain;

/// Between two tries to ask a sink.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub(crate) enum GapError {
    #[error(transparent)]
    Sink(#[from] ClientError),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    #[error("the sink serves {name} with {got} of the {promised} bytes that it says are there")]
    Short {
        name: String,
        got: u64,
        promised: u64,
    },
    #[error(
        "what the sink serves is not the WAL up to {promised} that it says it is: valid WAL ends at {end}, because {why}. Postgres was not started.\n\
         HINT: the sink's files are damaged; keep them, and restore the volume, or point this machine at a sink that is empty, which gives up what lies behind that position"
    )]
    NotWhole {
        promised: Lsn,
        end: Lsn,
        why: String,
    },
    #[error("reading the WAL in {path}")]
    Wal { path: PathBuf, source: io::Error },
    #[error(
        "the cluster says that recovery begins at {redo} of timeline {timeline}, where no WAL segment can be. Nothing was changed.\n\
         HINT: its pg_control is damaged; restore the volume"
    )]
    Position { redo: PgLsn, timeline: u32 },
    #[error(transparent)]
    End(#[from] WalEndError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the archive did not answer within {} s", .0.as_secs())]
    ArchiveSilent(Duration),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    ControlData(#[from] ControlDataError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl GapError {
    /// The sink cannot be asked, which may pass.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Sink(_) | Self::Short { .. })
    }
}

/// What this boot knows of the volume when it asks.
#[derive(Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) owners: Owners,
    pub(crate) sink: &'a Sink,
    pub(crate) instance: Option<&'a InstanceId>,
}

/// Who had the WAL that a volume lacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Sink,
    Archive,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Whose::Sink => "sink",
            Whose::Archive => "archive",
        })
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) whose: Whose,
    /// What recovery has to reach.
    pub(crate) until: Lsn,
    /// Segments that were fetched.
    pub(crate) fetched: usize,
}

impl Filling<'_> {
    /// Fetches what the volume lacks. `None`: the sink could not be asked, or holds nothing yet.
    pub(crate) async fn run(
        &self,
        say: impl Fn(Option<String>),
    ) -> Result<Option<Filled>, GapError> {
        self.until_asked(say, async || self.fill().await).await
    }

    /// Before there is a cluster: the one that the sink keeps a copy of. `None`: it has none, and no WAL of
    /// one, or could not be asked.
    pub(crate) async fn cluster(
        &self,
        say: impl Fn(Option<String>),
    ) -> Result<Option<Base>, GapError> {
        self.until_asked(say, async || {
            let description = Client::new(self.sink).description().await?;
            let instance = self.instance.map(InstanceId::as_str);
            Ok(plan::cluster(description, instance)?)
        })
        .await
    }

    /// Asks until the sink answers, or as its policy says. `say` is told why it takes so long, and nothing
    /// when it does not any more.
    async fn until_asked<T>(
        &self,
        say: impl Fn(Option<String>),
        ask: impl AsyncFn() -> Result<Option<T>, GapError>,
    ) -> Result<Option<T>, GapError> {
        let mut said = String::new();
        loop {
            let error = match ask().await {
                Ok(answer) => {
                    say(None);
                    return Ok(answer);
                }
                Err(error) if error.may_pass() => chain(&error),
                Err(error) => return Err(error),
            };
            let words = self.words(&error);
            if words != said {
                tracing::warn!("{words}");
                say(Some(words.clone()));
                said = words;
            }
            match self.sink.policy {
                SinkPolicy::Required => clock::pause(AGAIN).await,
                SinkPolicy::Preferred => return Ok(None),
            }
        }
    }

    fn words(&self, error: &str) -> String {
        let address = &self.sink.address;
        match self.sink.policy {
            SinkPolicy::Required => format!(
                "waiting for the WAL sink {address}, which may hold commits that this volume lacks: {error}\n\
                 HINT: start the sink; BEYOND_PG_WAL_SINK_POLICY=preferred starts without it and gives those commits up"
            ),
            SinkPolicy::Preferred => format!(
                "started without asking the WAL sink {address}, as BEYOND_PG_WAL_SINK_POLICY=preferred says; commits that only it holds are given up: {error}"
            ),
        }
    }

    async fn fill(&self) -> Result<Option<Filled>, GapError> {
        let client = Client::new(self.sink);
        let Some(holding) = client.description().await?.holding else {
            tracing::warn!("the WAL sink {} holds nothing yet", self.sink.address);
            return Ok(None);
        };
        let volume = Volume::observe(self.layout, self.owners.postgres, self.instance).await?;
        let gap = volume.local.gap(&holding)?;
        if let Some(part) = &gap.compare {
            let theirs = bytes_of(&client, part).await?;
            volume.compare(part, &theirs)?;
        }
        failpoint::moment("what the volume lacks is known");
        for part in &gap.fetch {
            let mut bytes = bytes_of(&client, part).await?;
            bytes.resize(
                usize::try_from(holding.segment_bytes).unwrap_or(bytes.len()),
                0,
            );
            volume.put(part, &bytes)?;
            tracing::info!("fetched {} from the WAL sink", part.served);
            failpoint::moment("a segment was put in place");
        }
        let before = volume.local.end;
        let ends_short = volume.check(gap.until)?;
        failpoint::moment("what was fetched is whole");
        if ends_short {
            volume.label()?;
            failpoint::moment("the backup label was written");
        }
        self.tell(&holding, before);
        Ok(Some(Filled {
            whose: Whose::Sink,
            until: gap.until,
            fetched: gap.fetch.len(),
        }))
    }

    fn tell(&self, holding: &Holding, end: Lsn) {
        let (address, flushed) = (&self.sink.address, holding.flushed_lsn);
        match flushed.bytes_since(end) {
            Some(bytes) if bytes > 0 => tracing::warn!(
                "this volume's WAL ended at {end}, the sink's at {flushed}: {bytes} bytes were fetched from {address}"
            ),
            _ => tracing::info!(
                "this volume's WAL ends at {end}, the sink's at {flushed}: nothing is missing"
            ),
        }
    }
}

async fn bytes_of(client: &Client<'_>, part: &Part) -> Result<Vec<u8>, GapError> {
    let mut body = client.file(&part.served).await?;
    let promised = usize::try_from(part.bytes).unwrap_or(usize::MAX);
    if body.len() < promised {
        return Err(GapError::Short {
            name: part.served.clone(),
            got: body.len() as u64,
            promised: part.bytes,
        });
    }
    // Behind them is what came in since, or what the file was before.
    body.truncate(promised);
    Ok(body)
}
