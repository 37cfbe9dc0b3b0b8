//! The answer to `health`: all that a machine knows of itself at one moment.
//!
//! What it cannot know is absent, and `unanswered` says why. Every field has its row in
//! [`super::schema::HEALTH`].

use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;

/// A map whose shape is none of the wire's business.
pub type Map = serde_json::Map<String, serde_json::Value>;

/// How a machine is. A host of another age leaves out and adds fields, so all of them may miss.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Health {
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
    pub postgres: Server,
    pub pooler: Server,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_recovery: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    pub wal: Wal,
    pub archive: Archive,
    pub backup: Backup,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub standbys: Vec<Standby>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    pub disk: Disk,
    pub configuration: Configuration,
    pub versions: Versions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<Map>,
}

/// One of the two servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Server {
    pub up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    pub starts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit_at: Option<i64>,
}

/// Where the WAL is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Wal {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insert_lsn: Option<Lsn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flush_lsn: Option<Lsn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_lsn: Option<Lsn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redo_lsn: Option<Lsn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_at: Option<i64>,
}

/// What becomes of finished WAL segments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Archive {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_segment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failed_segment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failed_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unarchived_first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unarchived_last: Option<String>,
}

/// Base backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Backup {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_lsn: Option<Lsn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Somebody who receives WAL from this machine: a replica or the sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Standby {
    pub name: String,
    pub state: String,
    pub sync_state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_lsn: Option<Lsn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flush_lsn: Option<Lsn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_lsn: Option<Lsn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_lag_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flush_lag_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_lag_bytes: Option<u64>,
}

/// Whom a replica follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Upstream {
    pub receiving: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_lsn: Option<Lsn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_lag_bytes: Option<u64>,
}

/// The file system of the volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Disk {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What Postgres makes of its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Configuration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_at: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_force: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pending_restart: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objections: Vec<String>,
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field's meaning is its row of the schema")]
pub struct Versions {
    pub beyond_pg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<String>,
}
