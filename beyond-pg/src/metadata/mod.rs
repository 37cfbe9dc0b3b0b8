//! Settings as text, and where that text comes from (G-002).

use std::collections::BTreeMap;
use std::fmt;

use crate::settings::Problem;

/// Who gave the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The metadata service. Its document is authoritative: the environment is not mixed in.
    Mmds,
    /// The environment of the process.
    Environment,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phrase())
    }
}

impl Source {
    /// As it stands in a sentence.
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Self::Mmds => "metadata service",
            Self::Environment => "environment",
        }
    }
}

/// Keys and values as they were found. `Debug` shows the keys alone, since some values are
/// secrets and this type does not know which.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Who gave it.
    pub(crate) source: Source,
    /// The text.
    pub(crate) values: BTreeMap<String, String>,
    /// What was wrong already while it was read; reported together with the rest.
    pub(crate) problems: Vec<Problem>,
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("source", &self.source)
            .field("keys", &self.values.keys().collect::<Vec<_>>())
            .field("problems", &self.problems)
            .finish()
    }
}
