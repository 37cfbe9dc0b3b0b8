//! The record that each boot leaves in its log (contract 7), as far as scenarios look at it.

use anyhow::{Context as _, Result};
use serde::Deserialize;

const MARK: &str = "boot record ";

/// One boot, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BootRecord {
    /// Where the settings came from.
    pub settings: String,
    /// The tier it booted as.
    pub tier: String,
    /// Memory that it was tuned for.
    pub ram_mb: u64,
    /// Processors that it was tuned for.
    pub vcpus: u32,
    /// What was not as it should be and now is.
    pub changed: Vec<String>,
    /// What a best-effort step could not do.
    pub failed: Vec<String>,
    /// What recovery did.
    pub wal: Wal,
}

/// What recovery did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Wal {
    /// The last stop left nothing to replay.
    pub clean: bool,
    /// How much was replayed.
    pub replayed_bytes: u64,
    /// How many files came from the sink, if it was asked.
    pub fetched_segments: Option<u64>,
}

impl BootRecord {
    /// The record in this line, if it holds one.
    pub(crate) fn in_line(line: &str) -> Option<Result<Self>> {
        let (_before, json) = line.split_once(MARK)?;
        let read = serde_json::from_str(json);
        Some(read.with_context(|| format!("reading a boot record from this line: {line}")))
    }
}

#[cfg(test)]
mod tests {
    use super::BootRecord;

    #[test]
    fn a_record_is_found_in_its_line_and_nowhere_else() {
        let line = r#"2026-11-22T09:00:00Z  INFO boot record {"settings":"environment","tier":"single",
            "ram_mb":512,"vcpus":1,"changed":["initdb"],"failed":[],"phases":[],"total_ms":7,
            "wal":{"clean":true,"timeline":1,"redo_lsn":"0/1","end_lsn":"0/2","replayed_bytes":0}}"#;
        let record = BootRecord::in_line(line).unwrap().unwrap();
        assert_eq!((record.ram_mb, record.wal.clean), (512, true));
        assert!(BootRecord::in_line("INFO boot 1/3 initdb").is_none());
        assert!(BootRecord::in_line("INFO boot record {}").unwrap().is_err());
    }
}
