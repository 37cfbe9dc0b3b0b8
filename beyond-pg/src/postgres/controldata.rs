//! What `pg_controldata` says. Its output is text made for people; the layout of `pg_control` itself
//! changes with each major version, so the binary of the same version reads it.

use std::collections::BTreeMap;

use thiserror::Error;
use tokio_postgres::types::PgLsn;

/// The part of `pg_control` that boot decides by and reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlData {
    /// "shut down", "in production", …
    pub(crate) state: String,
    pub(crate) system_id: u64,
    /// Where crash recovery would start.
    pub(crate) redo: PgLsn,
    pub(crate) timeline: u32,
    /// Where the last checkpoint's own record is.
    pub(crate) checkpoint: PgLsn,
    pub(crate) segment_bytes: u64,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ControlDataError {
    #[error("pg_controldata printed no line `{0}`")]
    Missing(&'static str),
    #[error("pg_controldata printed `{value}` for `{key}`, which is not a value of its kind")]
    Malformed { key: &'static str, value: String },
}

impl ControlData {
    /// Parses the output of `pg_controldata` run under `LC_ALL=C`.
    pub(crate) fn parse(text: &str) -> Result<ControlData, ControlDataError> {
        let lines: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let line = |key| {
            lines
                .get(key)
                .copied()
                .ok_or(ControlDataError::Missing(key))
        };
        Ok(ControlData {
            state: line("Database cluster state")?.to_owned(),
            system_id: value(&line, "Database system identifier")?,
            redo: value(&line, "Latest checkpoint's REDO location")?,
            timeline: value(&line, "Latest checkpoint's TimeLineID")?,
            checkpoint: value(&line, "Latest checkpoint location")?,
            segment_bytes: value(&line, "Bytes per WAL segment")?,
        })
    }

    /// Whether WAL is replayed, by a server that runs.
    pub(crate) fn is_in_recovery(&self) -> bool {
        matches!(
            self.state.as_str(),
            "in crash recovery" | "in archive recovery"
        )
    }

    /// Whether the last stop left nothing to replay.
    pub(crate) fn is_clean(&self) -> bool {
        matches!(self.state.as_str(), "shut down" | "shut down in recovery")
    }
}

fn value<'a, T: std::str::FromStr>(
    line: &impl Fn(&'static str) -> Result<&'a str, ControlDataError>,
    key: &'static str,
) -> Result<T, ControlDataError> {
    let text = line(key)?;
    text.parse()
        .ok()
        .ok_or_else(|| ControlDataError::Malformed {
            key,
            value: text.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
pg_control version number:            1800
Catalog version number:               202506291
Database system identifier:           7575400226518282265
Database cluster state:               in production
pg_control last modified:             Sun Nov 22 08:00:00 2026
Latest checkpoint location:           0/1A2B3C8
Latest checkpoint's REDO location:    0/1A2B370
Latest checkpoint's REDO WAL file:    000000010000000000000001
Latest checkpoint's TimeLineID:       1
Bytes per WAL segment:                16777216
";

    #[test]
    fn the_state_and_where_recovery_starts_are_read() {
        assert_eq!(
            ControlData::parse(OUTPUT).unwrap(),
            ControlData {
                state: "in production".into(),
                system_id: 7_575_400_226_518_282_265,
                redo: PgLsn::from(0x1A2_B370),
                timeline: 1,
                checkpoint: PgLsn::from(0x1A2_B3C8),
                segment_bytes: 16 << 20,
            }
        );
        assert!(!ControlData::parse(OUTPUT).unwrap().is_clean());
        assert!(
            ControlData::parse(&OUTPUT.replace("in production", "shut down"))
                .unwrap()
                .is_clean()
        );
    }

    #[test]
    fn a_server_that_replays_says_so() {
        let recovering = OUTPUT.replace("in production", "in crash recovery");
        assert!(ControlData::parse(&recovering).unwrap().is_in_recovery());
        assert!(!ControlData::parse(OUTPUT).unwrap().is_in_recovery());
    }

    #[test]
    fn a_line_that_is_gone_or_garbled_is_named() {
        assert_eq!(
            ControlData::parse(&OUTPUT.replace("TimeLineID", "Timeline")),
            Err(ControlDataError::Missing("Latest checkpoint's TimeLineID"))
        );
        assert_eq!(
            ControlData::parse(&OUTPUT.replace("0/1A2B370", "nowhere")),
            Err(ControlDataError::Malformed {
                key: "Latest checkpoint's REDO location",
                value: "nowhere".into()
            })
        );
    }
}
