//! What the page shows, as plain data: collected by [`super::collect`], rendered by [`super::html`].
//! No secret is in it.

use wire::rpc::{Health, Lifecycle};

use crate::admin::{LinkReport, VolumeStanding};
use crate::fault::Standing;
use crate::machine::View;
use crate::names::HostName;

/// A substrate at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) service: Service,
    pub(super) storage: Option<Storage>,
    pub(super) machines: Vec<Machine>,
    pub(super) volumes: Vec<Volume>,
    pub(super) faults: Vec<Standing>,
}

/// The process that holds 169.254.169.254.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Service {
    /// It answers.
    Running,
    /// It does not run, or there is none.
    Absent(String),
    /// It should and could not be asked, or Docker could not.
    Silent(String),
}

/// Where the host finds object storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) bucket: &'static str,
    pub(super) endpoint: String,
}

/// A machine, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) view: View,
    /// The database that its metadata names.
    pub(super) database: Option<String>,
    /// What the host knows of its link.
    pub(super) link: Option<LinkReport>,
    pub(super) account: Account,
}

/// A machine's own account of itself.
#[derive(Debug, Clone)]
pub(super) enum Account {
    /// It does not run, or there is no host to ask through.
    NotAsked,
    /// It was asked, and this came of it.
    Unanswered(String),
    /// Its answer to `health`.
    Told(Box<Health>),
}

impl Account {
    /// Whether it is ready, and so not likely to tell something else in a second.
    pub(super) fn is_settled(&self) -> bool {
        self.health()
            .is_some_and(|health| health.state == Lifecycle::Ready.as_str())
    }

    pub(super) fn health(&self) -> Option<&Health> {
        match self {
            Self::Told(health) => Some(health),
            Self::NotAsked | Self::Unanswered(_) => None,
        }
    }
}

/// A machine's volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    /// Whose it is.
    pub(super) machine: String,
    /// The database on it.
    pub(super) instance: Option<String>,
    /// The machine whose volume it began as a copy of.
    pub(super) parent: Option<String>,
    pub(super) place: Place,
}

/// Where a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A folder of Docker's.
    Folder { in_use: bool },
    /// The disk of a host.
    Host {
        host: HostName,
        standing: VolumeStanding,
        /// Never written to object storage.
        ephemeral: bool,
        /// What losing the host falls back to, in milliseconds of the Unix epoch.
        flush_point_ms: Option<u64>,
        /// Bytes written since then.
        dirty_bytes: u64,
    },
    /// A block volume that no host which answers has: object storage may have it.
    Nowhere,
}
