//! What a WAL sink serves over HTTP: one description, and files under their names.
//!
//! `GET /v1/wal` answers a [`Description`], `GET /v1/wal/NAME` the bytes of a segment, finished or
//! not, or of a history file. A segment that grows is served as it is at that moment; its bytes before
//! `flushed_lsn` never change. `GET /v1/base/FROM` answers the bytes of the base from there on, [`PIECE`] at most.

use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;

/// Where the description is.
pub const DESCRIPTION: &str = "/v1/wal";

/// How much of a base one answer has at most.
pub const PIECE: u64 = 8 << 20;

const BASE: &str = "/v1/base/";

/// Where the bytes of the base are, from that one on.
pub fn base(from: u64) -> String {
    format!("{BASE}{from}")
}

/// Which bytes of the base a path asks for.
pub fn base_asked(path: &str) -> Option<u64> {
    path.strip_prefix(BASE)?.parse().ok()
}

/// Where a file of the description is.
pub fn file(name: &str) -> String {
    format!("{DESCRIPTION}/{name}")
}

/// What a sink has. A sink of another age leaves out and adds fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Whether WAL is coming in.
    #[serde(default)]
    pub receiving: bool,
    /// Absent while no WAL has come in yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holding: Option<Holding>,
    /// The cluster as it was when it was young; absent once every volume of it has been flushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
}

/// A whole cluster: a tar archive of its PGDATA with the WAL that makes it consistent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Of the cluster, in decimal digits.
    pub system_id: String,
    /// Whose database it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The WAL from here on makes every later state of it.
    pub redo_lsn: Lsn,
    /// How large it is.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
}

/// The WAL of one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Of the cluster, in decimal digits: a number of JSON has not room for it everywhere.
    pub system_id: String,
    /// Whose database it is; forks of it have the same system id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The newest there is a segment of.
    pub timeline: u32,
    /// Of each segment.
    pub segment_bytes: u64,
    /// The end of the WAL that is safe here.
    pub flushed_lsn: Lsn,
    /// By name.
    pub segments: Vec<Segment>,
    /// Names of history files.
    #[serde(default)]
    pub histories: Vec<String>,
}

/// A file with WAL in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its 24 digits, and `.partial` behind them while it is not finished.
    pub name: String,
    /// How many of its bytes count, from its beginning.
    pub bytes: u64,
    /// It still grows.
    pub partial: bool,
}
