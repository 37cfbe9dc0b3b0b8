//! A volume in trouble. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ImpossibleFault;
use crate::volume::trouble::{Trouble, Verdict};

/// What is the matter with a machine's volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeFault {
    /// Whose.
    pub machine: String,
    /// What.
    pub trouble: VolumeTrouble,
}

/// What can be the matter with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum VolumeTrouble {
    /// A file of no use to anybody takes the room that was left.
    Full {
        /// But for so many bytes.
        #[serde(default)]
        leave: u64,
    },
    /// The disk that it is does not serve requests as it should.
    Disk(Trouble),
}

impl VolumeFault {
    /// Whether it can be.
    pub(super) fn check(&self) -> Result<(), ImpossibleFault> {
        match self.trouble {
            VolumeTrouble::Disk(Trouble {
                verdict: Verdict::Delay { ms: 0 },
                ..
            }) => Err(ImpossibleFault("a delay of 0 ms is none")),
            VolumeTrouble::Full { .. } | VolumeTrouble::Disk(_) => Ok(()),
        }
    }

    /// What it is for the disk, if it is about that.
    pub(super) const fn of_disk(&self) -> Option<Trouble> {
        match self.trouble {
            VolumeTrouble::Full { .. } => None,
            VolumeTrouble::Disk(trouble) => Some(trouble),
        }
    }
}

impl fmt::Display for VolumeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.trouble {
            VolumeTrouble::Full { leave: 0 } => f.write_str("full")?,
            VolumeTrouble::Full { leave } => write!(f, "full but for {leave} bytes")?,
            VolumeTrouble::Disk(trouble) => write!(f, "{trouble}")?,
        }
        write!(f, " for {}", self.machine)
    }
}
