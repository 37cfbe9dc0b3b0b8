//! A volume in trouble. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

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
}

impl fmt::Display for VolumeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.trouble {
            VolumeTrouble::Full { leave: 0 } => f.write_str("full")?,
            VolumeTrouble::Full { leave } => write!(f, "full but for {leave} bytes")?,
        }
        write!(f, " for {}", self.machine)
    }
}
