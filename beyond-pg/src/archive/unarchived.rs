//! `archive_command` while there is no archive (B-008).
//!
//! Postgres recycles a segment for which the command succeeds, so a target that is set later begins
//! with a hole (facts A 23). The hole is written down: an archive that starts needs a base snapshot
//! that is newer than the last name in the record.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::sys::user::{self, Account, AccountError};

/// What went by without an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unarchived {
    pub(crate) first: String,
    pub(crate) last: String,
}

#[derive(Debug, Error)]
pub(crate) enum UnarchivedError {
    #[error(
        "there is no WAL file {0} to archive\nHINT: archive_command passes %p, which is relative to PGDATA"
    )]
    NoSuchFile(PathBuf),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("reading the record of unarchived WAL {path}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Write(#[from] FsError),
    #[error("encoding the record of unarchived WAL")]
    Encode(#[from] serde_json::Error),
}

/// Records `name` as gone by unarchived. `path` is relative to PGDATA, where Postgres calls from.
pub(crate) fn without_target(
    layout: &Layout,
    path: &Path,
    name: &str,
) -> Result<(), UnarchivedError> {
    let path = layout.pgdata().join(path);
    if !path.is_file() {
        return Err(UnarchivedError::NoSuchFile(path));
    }
    let Some(after) = passed(gone_by(layout)?, name) else {
        return Ok(());
    };
    keep(&layout.unarchived(), &after, user::postgres()?)
}

/// Keeps the record also on a full volume: were this to fail there, Postgres would keep every segment,
/// and no checkpoint could make room again. Segment names have one length, so the record does, too.
fn keep(record: &Path, hole: &Unarchived, owner: Account) -> Result<(), UnarchivedError> {
    let text = serde_json::to_vec(hole)?;
    match fs::write_atomic(record, &text, 0o600, owner) {
        Err(error) if error.is_out_of_space() && fits(record, &text) => {
            Ok(fs::overwrite(record, &text)?)
        }
        written => Ok(written?),
    }
}

fn fits(record: &Path, text: &[u8]) -> bool {
    std::fs::metadata(record).is_ok_and(|meta| usize::try_from(meta.len()) == Ok(text.len()))
}

/// What has gone by so far.
pub(crate) fn gone_by(layout: &Layout) -> Result<Option<Unarchived>, UnarchivedError> {
    let path = layout.unarchived();
    match std::fs::read(&path) {
        // A record that cannot be read (it was torn) starts anew, which can only widen the hole.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(UnarchivedError::Read { path, source }),
    }
}

/// History and backup files pass through here as well; only segments make a hole.
fn passed(before: Option<Unarchived>, name: &str) -> Option<Unarchived> {
    let is_segment = name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_segment {
        return before;
    }
    let first = before.map_or_else(|| name.to_owned(), |before| before.first);
    Some(Unarchived {
        first,
        last: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hole_grows_from_its_first_segment_to_the_last_one() {
        let one = passed(None, "000000010000000000000001");
        let two = passed(one, "000000010000000000000002");
        let hole = Unarchived {
            first: "000000010000000000000001".into(),
            last: "000000010000000000000002".into(),
        };
        assert_eq!(two, Some(hole.clone()));
        assert_eq!(passed(Some(hole.clone()), "00000002.history"), Some(hole));
        assert_eq!(passed(None, "00000002.history"), None);
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let error = without_target(&layout, Path::new("pg_wal/x"), "x").unwrap_err();
        assert!(error.to_string().contains("main/pg_wal/x"), "{error}");
    }
}
