//! What a machine has to do with a WAL sink, and where in the WAL it is.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use wire::lsn::Lsn;

use crate::machine::Machine;
use crate::machine::metadata::sink;

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
        match (&self.role, self.lsn) {
            (Role::HoldsWalOf(Some(primary)), Some(at)) => {
                write!(f, "holds the WAL of {primary} up to {at}")
            }
            (Role::HoldsWalOf(Some(primary)), None) => write!(f, "holds the WAL of {primary}"),
            (Role::HoldsWalOf(None), _) => write!(f, "waits to be told whose WAL it shall hold"),
            (Role::HasSink(sink), Some(at)) => write!(f, "is at {at}; its WAL is held by {sink}"),
            (Role::HasSink(sink), None) => write!(f, "its WAL is held by {sink}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_that_is_not_known_is_not_told() {
        let said = |role, lsn| SinkLine { role, lsn }.to_string();
        let holds = || Role::HoldsWalOf(Some("host=db port=5433".to_owned()));
        let at = Some(Lsn::new(0x0300_0028));
        assert_eq!(
            said(holds(), at),
            "holds the WAL of host=db port=5433 up to 0/3000028"
        );
        assert_eq!(said(holds(), None), "holds the WAL of host=db port=5433");
        let has = || Role::HasSink("sink:5434".to_owned());
        assert_eq!(
            said(has(), at),
            "is at 0/3000028; its WAL is held by sink:5434"
        );
        assert_eq!(said(has(), None), "its WAL is held by sink:5434");
    }
}
