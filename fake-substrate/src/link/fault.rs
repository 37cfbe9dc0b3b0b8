//! What the host's end of a link can be in trouble with. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// A fault of the host's end of one machine's link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkFault {
    /// Whose.
    pub machine: String,
    /// What.
    pub trouble: LinkTrouble,
}

/// How the host behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkTrouble {
    /// Accepts and sends heartbeats, and reads nothing: a log sink that is stuck.
    Stalled,
    /// Ends the link that is there and resets every other that is dialled. Those can be counted.
    Refused,
}

/// For [`crate::fault::Faults`]: whether a fault is this trouble of that machine's.
pub(super) fn is(trouble: LinkTrouble, machine: &str) -> impl Fn(&Fault) -> Option<()> {
    move |fault| match fault {
        Fault::Link(link) => (link.machine == machine && link.trouble == trouble).then_some(()),
        _ => None,
    }
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.trouble {
            LinkTrouble::Stalled => "stalled",
            LinkTrouble::Refused => "refused",
        })?;
        write!(f, " for {}", self.machine)
    }
}
