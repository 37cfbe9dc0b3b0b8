//! What a machine is told that shall be restored from another's archive. Pure.

use super::{DATABASE, INSTANCE_ID, Metadata};

const ARCHIVE_TARGET: &str = "BEYOND_PG_ARCHIVE_TARGET";
const RESTORE_FROM: &str = "BEYOND_PG_RESTORE_FROM";
/// How an archive is got at.
const ACCESS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
];

/// Where a restore ends, by the look of it: a time begins with a date, a WAL position is two numbers, and
/// all else is a name.
pub fn target(text: &str) -> (&'static str, String) {
    let hex = |half: &str| !half.is_empty() && half.chars().all(|c| c.is_ascii_hexdigit());
    let is_lsn = text
        .split_once('/')
        .is_some_and(|(high, low)| hex(high) && hex(low));
    let date = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        let part = date.get(range);
        part.is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let is_time =
        digits(0..4) && date.get(4) == Some(&b'-') && digits(5..7) && date.get(7) == Some(&b'-');
    let key = match (is_lsn, is_time) {
        (true, _) => "BEYOND_PG_RESTORE_TARGET_LSN",
        (_, true) => "BEYOND_PG_RESTORE_TARGET_TIME",
        _ => "BEYOND_PG_RESTORE_TARGET_NAME",
    };
    (key, text.to_owned())
}

/// The settings of a machine that begins with a backup of `source` and archives beside it; `None`: `source`
/// has no archive.
pub fn of_restored(source: &Metadata, to: Option<&str>, backup: Option<&str>) -> Option<Metadata> {
    let archive = source
        .get(ARCHIVE_TARGET)
        .filter(|target| !target.is_empty())?;
    let folder = archive.trim_end_matches('/');
    let instance = source.get(INSTANCE_ID).map(|id| format!("/{id}"));
    let backup = backup.map(|name| format!("/backups/{name}"));
    let from = [Some(folder.to_owned()), instance, backup];
    let from: String = from.into_iter().flatten().collect();
    let kept = ACCESS.iter().chain(&[ARCHIVE_TARGET, DATABASE]);
    let kept = kept.filter_map(|key| Some(((*key).to_owned(), source.get(*key)?.clone())));
    let mut told: Metadata = kept.collect();
    told.insert(RESTORE_FROM.to_owned(), from);
    told.extend(to.map(target).map(|(key, to)| (key.to_owned(), to)));
    Some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(pairs: &[(&str, &str)]) -> Metadata {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_target_is_told_by_its_look() {
        for (text, key) in [
            ("2026-01-31 12:00:00Z", "BEYOND_PG_RESTORE_TARGET_TIME"),
            ("0/16B3748", "BEYOND_PG_RESTORE_TARGET_LSN"),
            ("before the flood", "BEYOND_PG_RESTORE_TARGET_NAME"),
            ("2026", "BEYOND_PG_RESTORE_TARGET_NAME"),
            ("a/z", "BEYOND_PG_RESTORE_TARGET_NAME"),
        ] {
            assert_eq!(target(text), (key, text.to_owned()));
        }
    }

    #[test]
    fn a_restored_machine_reads_the_archive_of_its_source_and_is_told_no_password() {
        let db = source(&[
            ("BEYOND_PG_ARCHIVE_TARGET", "s3://bucket/a/"),
            ("BEYOND_INSTANCE_ID", "i-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("POSTGRES_PASSWORD", "secret"),
            ("BEYOND_PG_WAL_SINK", "db-sink:8080"),
        ]);
        let told = of_restored(&db, Some("0/3000000"), Some("20260131T120000Z")).unwrap();
        let expected = source(&[
            ("BEYOND_PG_ARCHIVE_TARGET", "s3://bucket/a/"),
            ("AWS_ACCESS_KEY_ID", "id"),
            (
                "BEYOND_PG_RESTORE_FROM",
                "s3://bucket/a/i-1/backups/20260131T120000Z",
            ),
            ("BEYOND_PG_RESTORE_TARGET_LSN", "0/3000000"),
        ]);
        assert_eq!(told, expected);
        let latest = of_restored(&db, None, None).unwrap();
        assert_eq!(latest[RESTORE_FROM], "s3://bucket/a/i-1");
        assert_eq!(of_restored(&source(&[]), None, None), None);
    }
}
