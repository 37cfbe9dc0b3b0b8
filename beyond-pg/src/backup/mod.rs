//! Base backups in the archive, for whoever cannot wait for a snapshot of the volume (B-009b, contract 10).
//!
//! ```text
//! pg_basebackup ─► witness: sizes and checksums against the manifest
//!               └► lz4 ─► parts ─► base.tar.lz4, then backup_manifest.lz4, then backup.json
//! ```
//!
//! Nothing lies on the volume meanwhile, and no more than three parts in memory. The WAL that makes the files
//! one database is not in the stream: Postgres waits until it is archived, and the archive is where a restore
//! reads on from anyway. It runs as a process of its own, so that no S3 client is in PID 1 (`archive`);
//! `rpc/backup.rs` starts it. `docs/archive.md` has the rest.

pub(crate) mod fetch;
pub(crate) mod manifest;
pub(crate) mod pack;
pub(crate) mod record;
pub(crate) mod take;
pub(crate) mod tar;
pub(crate) mod unpack;
pub(crate) mod upload;
pub(crate) mod witness;

use serde::{Deserialize, Serialize};

use crate::backup::record::Record;

/// What the process says to PID 1 on its stdout, a line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Says {
    /// So many bytes of the stream went by.
    Bytes(u64),
    /// The backup is whole.
    Done(Box<Record>),
    /// There is none, and why.
    Failed(String),
}
