//! Settings as text, and where that text comes from (G-002).
//!
//! [`read`] looks for as long as it takes and says what is missing; `search` decides, `mmds` and
//! `env` fetch. What the text means is for `settings`.

pub(crate) mod env;
pub(crate) mod mmds;
mod search;

#[cfg(test)]
mod mmds_tests;
#[cfg(test)]
mod search_tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use search::{Ask, Next, Search};

use crate::fx::clock;
use crate::settings::Problem;
use crate::sys::net;

/// The settings of this machine, as soon as somebody has them.
pub(crate) async fn read() -> Metadata {
    let service = SocketAddr::from((wire::ports::METADATA_ADDR, wire::ports::METADATA));
    let mut search = Search::new();
    loop {
        // Looked at each time: a network may be attached while we wait.
        let next = match search::source(net::has_link_local(), has_own_kernel()) {
            Ask::Environment => search.on_environment(env::from_env()),
            Ask::Mmds => search.on_answer(mmds::fetch(service).await, env::from_env()),
        };
        match next {
            Next::Use(metadata, warning) => {
                if let Some(warning) = warning {
                    tracing::warn!("{warning}");
                }
                return metadata;
            }
            Next::Wait { say, pause } => {
                if let Some(reason) = say {
                    tracing::warn!("{reason}");
                }
                clock::pause(pause).await;
            }
        }
    }
}

/// The inode of the initial PID namespace, `PROC_PID_INIT_INO` of the kernel: the same on every
/// Linux, and of no other namespace.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether this process is PID 1 of a machine rather than of a container.
pub(crate) fn has_own_kernel() -> bool {
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    std::process::id() == 1 && namespace.is_ok_and(|name| name == Path::new(INITIAL_PID_NAMESPACE))
}

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
