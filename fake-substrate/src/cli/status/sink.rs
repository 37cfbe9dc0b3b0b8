//! What a machine has to do with a WAL sink, and where in the WAL it is.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use wire::lsn::Lsn;

use fake_substrate::machine::Machine;
use fake_substrate::machine::metadata::sink;

/// How long a machine may take to tell its position.
const PATIENCE: Duration = Duration::from_secs(5);

/// One side of a pair.
#[derive(Debug, Serialize)]
pub(super) struct SinkLine {
    role: Role,
    /// The end of the WAL that is safe there; `null` when it does not tell.
    lsn: Option<Lsn>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    /// It holds the WAL of whoever is reached that way.
    HoldsWalOf(Option<String>),
    /// That one holds its WAL.
    HasSink(String),
}

impl SinkLine {
    /// Best effort: what cannot be asked is not told.
    pub(super) async fn gather(machine: &Machine) -> Option<Self> {
        let document = machine.metadata().await.ok()?;
        let role = if sink::is_sink(&document) {
            Role::HoldsWalOf(sink::conninfo_of(&document).map(str::to_owned))
        } else {
            Role::HasSink(sink::sink_of(&document)?.to_owned())
        };
        let lsn = machine.flushed(PATIENCE).await.ok().flatten();
        Some(Self { role, lsn })
    }
}

impl fmt::Display for SinkLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.lsn.map_or("unknown".to_owned(), |lsn| lsn.to_string());
        match &self.role {
            Role::HoldsWalOf(Some(primary)) => write!(f, "holds the WAL of {primary} up to {at}"),
            Role::HoldsWalOf(None) => write!(f, "waits to be told whose WAL it shall hold"),
            Role::HasSink(sink) => write!(f, "is at {at}; its WAL is held by {sink}"),
        }
    }
}
