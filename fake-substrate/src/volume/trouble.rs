//! What is the matter with a disk on purpose: which of its requests fail or come late. Pure.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Requests of one kind that a disk does not serve as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// Which ones.
    pub on: Requests,
    /// What becomes of them.
    pub verdict: Verdict,
    /// Only the next so many; all of them when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<NonZeroU32>,
}

/// What a kernel asks of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requests {
    /// Reads.
    Reads,
    /// Writes, and what zeroes a range.
    Writes,
    /// FLUSH, and the second half of a write with FUA.
    Flushes,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verdict {
    /// EIO, and nothing is done.
    Fail,
    /// It is done later.
    Delay {
        /// By so much.
        ms: u64,
    },
}

/// A trouble that a block store has, and how many requests it has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// What.
    pub trouble: Trouble,
    /// So many.
    pub struck: u64,
    /// How many of them it makes wait at this moment.
    pub held: u32,
}

impl Trouble {
    /// With all requests of a kind.
    pub const fn new(on: Requests, verdict: Verdict) -> Self {
        Self {
            on,
            verdict,
            times: None,
        }
    }

    /// Only with the next so many; 0 is all.
    #[must_use]
    pub const fn times(self, times: u32) -> Self {
        Self {
            times: NonZeroU32::new(times),
            ..self
        }
    }
}

impl Requests {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Reads, Self::Writes, Self::Flushes];
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Flushes => "flushes",
        })
    }
}

/// A disk is asked for nothing of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is nothing that a disk is asked for: choose one of {}", Requests::ALL.map(|on| on.to_string()).join(", "))]
pub struct NoSuchRequests {
    given: String,
}

impl FromStr for Requests {
    type Err = NoSuchRequests;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|on| on.to_string() == given);
        named.ok_or_else(|| NoSuchRequests {
            given: given.to_owned(),
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(times) = self.times {
            write!(f, "next {times} ")?;
        }
        match self.verdict {
            Verdict::Fail => write!(f, "{} fail", self.on),
            Verdict::Delay { ms } => write!(f, "{} late by {ms} ms", self.on),
        }
    }
}
