//! What a WAL sink serves over HTTP: one description, and files under their names.
//!
//! `GET /v1/wal` answers a [`Description`], `GET /v1/wal/NAME` the bytes of a segment, finished or
//! not, or of a history file. A segment that grows is served as it is at that moment; its bytes before
//! `flushed_lsn` never change.

use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;

/// Where the description is.
pub const DESCRIPTION: &str = "/v1/wal";

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
