//! `backup.json`: what is known of a backup, and which backup a restore begins with. Pure.

use serde::{Deserialize, Serialize};
use wire::lsn::Lsn;

use crate::archive::file::Segment;
use crate::archive::window::{self, Local};
use crate::settings::RestoreTarget;

/// A whole backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) system_id: u64,
    /// Whose it is, where the machine has an identity.
    pub(crate) instance: Option<String>,
    /// Version of the server, as a number: 180004.
    pub(crate) postgres: u32,
    pub(crate) timeline: u32,
    /// From here recovery begins …
    pub(crate) start_lsn: Lsn,
    /// … and before here it may not end.
    pub(crate) end_lsn: Lsn,
    /// Seconds since 1970.
    pub(crate) started: i64,
    /// No transaction that ended later is in it. Seconds since 1970.
    pub(crate) ended: i64,
    /// The files of the database.
    pub(crate) files: u64,
    pub(crate) file_bytes: u64,
    /// `base.tar.lz4`, as it lies in the storage.
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// SHA-256 of `backup_manifest`, unpacked.
    pub(crate) manifest_sha256: String,
    /// The segments of the archive that make it one database.
    pub(crate) first_segment: String,
    pub(crate) last_segment: String,
}

impl Record {
    /// Names that sort by time and are fit for a key.
    pub(crate) fn is_name(text: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        (1..=64).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('.')
    }

    /// As far as a volume made from it is, before any recovery.
    pub(crate) fn local(&self) -> Local {
        Local {
            end: self.end_lsn,
            last_commit: Some(i128::from(self.ended) * 1_000_000),
            restore_points: Vec::new(),
        }
    }

    fn is_before(&self, target: &RestoreTarget) -> bool {
        match target {
            RestoreTarget::Lsn(lsn) => lsn.parse::<Lsn>().is_ok_and(|lsn| self.end_lsn <= lsn),
            RestoreTarget::Time(time) => window::micros(time)
                .zip(self.local().last_commit)
                .is_some_and(|(time, ended)| ended <= time),
            // Where a name was given is known when the WAL is read.
            RestoreTarget::Name(_) => true,
        }
    }
}

/// The segments that hold the WAL from `start` to `end`, first and last.
pub(crate) fn segments(timeline: u32, start: Lsn, end: Lsn) -> (Segment, Segment) {
    let segment = |position: u64| Segment {
        timeline,
        number: Segment::number_of(position),
    };
    // An end at the first byte of a segment needs nothing of it.
    let last = end.get().saturating_sub(1).max(start.get());
    (segment(start.get()), segment(last))
}

/// The newest backup that a restore to `target` can begin with; of backups that are all too new, the oldest,
/// whose window says so best.
pub(crate) fn choose<'r>(
    records: &'r [Record],
    target: Option<&RestoreTarget>,
) -> Option<&'r Record> {
    let fits = |record: &&Record| target.is_none_or(|target| record.is_before(target));
    let newest = records
        .iter()
        .filter(fits)
        .max_by_key(|record| (record.ended, record.end_lsn));
    newest.or_else(|| records.iter().min_by_key(|record| record.end_lsn))
}

/// `20260131T120000Z`: the name of a backup that began then.
pub(crate) fn name_at(unix_seconds: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(unix_seconds);
    let time = time.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = time.to_hms();
    format!(
        "{:04}{:02}{:02}T{hour:02}{minute:02}{second:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(name: &str, end_lsn: &str, ended: i64) -> Record {
        Record {
            name: name.to_owned(),
            system_id: 42,
            instance: Some("db".to_owned()),
            postgres: 180_000,
            timeline: 1,
            start_lsn: "0/2000028".parse().unwrap(),
            end_lsn: end_lsn.parse().unwrap(),
            started: ended - 10,
            ended,
            files: 1000,
            file_bytes: 1 << 24,
            bytes: 1 << 22,
            sha256: String::new(),
            manifest_sha256: String::new(),
            first_segment: "000000010000000000000002".to_owned(),
            last_segment: "000000010000000000000002".to_owned(),
        }
    }

    #[test]
    fn a_restore_begins_with_the_newest_backup_before_its_target() {
        let records = [
            record("1", "0/2000120", 1_000_000),
            record("2", "0/5000120", 2_000_000),
            record("3", "0/9000120", 3_000_000),
        ];
        let chosen =
            |target: Option<RestoreTarget>| choose(&records, target.as_ref()).unwrap().name.clone();
        let lsn = |text: &str| chosen(Some(RestoreTarget::Lsn(text.into())));
        let time = |text: &str| chosen(Some(RestoreTarget::Time(text.into())));
        assert_eq!(chosen(None), "3");
        assert_eq!(chosen(Some(RestoreTarget::Name("x".into()))), "3");
        assert_eq!(lsn("0/5000120"), "2");
        assert_eq!(lsn("0/500011F"), "1");
        assert_eq!(lsn("0/1"), "1", "which is refused with its window");
        assert_eq!(time("1970-01-24 03:33:20Z"), "2");
        assert_eq!(time("1970-01-24 03:33:19Z"), "1");
        assert_eq!(choose(&[], None), None);
    }

    #[test]
    fn the_segments_of_a_backup_are_those_its_wal_lies_in() {
        let of = |start: &str, end: &str| {
            let (first, last) = segments(3, start.parse().unwrap(), end.parse().unwrap());
            (first.to_string(), last.to_string())
        };
        let name = |number: u8| format!("0000000300000000000000{number:02X}");
        assert_eq!(of("0/2000028", "0/2000120"), (name(2), name(2)));
        assert_eq!(of("0/2000028", "0/3000000"), (name(2), name(2)));
        assert_eq!(of("0/2000028", "0/3000001"), (name(2), name(3)));
    }

    #[test]
    fn names_are_times_that_sort_and_nothing_that_leads_elsewhere() {
        assert_eq!(name_at(1_769_860_800), "20260131T120000Z");
        assert!(Record::is_name(&name_at(0)));
        for bad in ["", "..", "a/b", ".x", "a b"] {
            assert!(!Record::is_name(bad), "{bad}");
        }
    }
}
