//! What a machine is in its cluster (L-003), with what that role cannot do without.
//!
//! A role carries its requirements, so that no later stage has to trust that "settings have
//! checked it" (style 2.3).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::conninfo::Conninfo;
use super::secret::Secret;

/// Who streams WAL: the role that a primary makes and a sink logs in as.
pub(crate) const REPLICATION_ROLE: &str = "beyond_replication";

/// The words of `BEYOND_PG_TIER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Single,
    Primary,
    Replica,
    Sink,
}

impl Tier {
    /// The tier of this word. An unknown one is no tier at all: taking a typo of `replica` for
    /// `single` would start a second writable primary (facts 61).
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Single, Self::Primary, Self::Replica, Self::Sink]
            .into_iter()
            .find(|tier| tier.word() == word)
    }

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Sink => "sink",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A tier and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// One machine with one database, with or without a WAL sink.
    Single,
    /// Streams to replicas; `standbys` is empty when they are asynchronous. `members`: where the
    /// others of its cluster are, to be asked before it opens for writes.
    Primary {
        replication_password: Secret,
        standbys: Vec<StandbyName>,
        members: Option<Conninfo>,
    },
    /// A hot standby, known to its primary by its name.
    Replica {
        primary: Conninfo,
        replication_password: Secret,
        name: StandbyName,
    },
    /// Holds another machine's WAL and runs no database of its own (B-006a).
    Sink {
        primary: Conninfo,
        replication_password: Secret,
    },
}

impl Role {
    /// The tier it was made of.
    pub(crate) fn tier(&self) -> Tier {
        match self {
            Self::Single => Tier::Single,
            Self::Primary { .. } => Tier::Primary,
            Self::Replica { .. } => Tier::Replica,
            Self::Sink { .. } => Tier::Sink,
        }
    }
}

/// An `application_name` in `synchronous_standby_names`. One that is read from a record is checked as well: a name
/// that is none must not leave commits waiting for nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct StandbyName(String);

impl StandbyName {
    /// Letters, digits, `_` and `-` only. A wildcard would let any connection, a backup's for
    /// instance, acknowledge a commit (facts 21).
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let accepted = !name.is_empty() && name.len() <= 63 && name.chars().all(plain);
        accepted.then(|| Self(name.to_owned()))
    }

    /// The name itself.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StandbyName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::parse(&name).ok_or_else(|| format!("{name:?} is no name of a standby"))
    }
}

impl From<StandbyName> for String {
    fn from(name: StandbyName) -> String {
        name.0
    }
}
