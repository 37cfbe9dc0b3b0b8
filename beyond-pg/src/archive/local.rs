//! What the volume's own WAL holds, as `pg_waldump` reads it: the program of the same version knows the
//! format, and ends where recovery would.

use std::path::PathBuf;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use wire::lsn::Lsn;

use crate::archive::file::{Kind, SEGMENT_BYTES, WalFile};
use crate::archive::window::{Local, micros};
use crate::fx::exec::{ExecError, Output};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::postgres::controldata::ControlData;
use crate::sys::user::Account;

#[derive(Debug, Error)]
pub(crate) enum LocalError {
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error("reading what pg_waldump says")]
    Read(#[from] std::io::Error),
    #[error(
        "pg_waldump does not say where the WAL in {wal} ends; it said: {said}\n\
         HINT: run it by hand; a restore needs to know"
    )]
    NoEnd { wal: PathBuf, said: String },
}

/// Reads the WAL behind the last checkpoint.
pub(crate) async fn read(
    layout: &Layout,
    account: Account,
    control: &ControlData,
) -> Result<Local, LocalError> {
    let mut running = cluster::waldump(layout, account, control).start(Output::Piped)?;
    let mut local = Local::default();
    let mut said = String::new();
    if let Some((stdout, mut stderr)) = running.take_pipes() {
        let records = async {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = lines.next_line().await? {
                note(&mut local, &line);
            }
            Ok::<_, std::io::Error>(())
        };
        tokio::try_join!(records, async { stderr.read_to_string(&mut said).await })?;
    }
    // It always ends with an error: that there is no more WAL.
    running.wait().await?;
    let wal = layout.wal();
    local.end = end(&said).ok_or(LocalError::NoEnd { wal, said })?;
    Ok(local)
}

/// One record, of which only transactions' ends and restore points matter.
fn note(local: &mut Local, line: &str) {
    let Some((_, what)) = line.split_once("desc: ") else {
        return;
    };
    if let Some(name) = what.strip_prefix("RESTORE_POINT ") {
        local.restore_points.push(name.to_owned());
    } else if what.starts_with("COMMIT") || what.starts_with("ABORT") {
        local.last_commit = local.last_commit.max(ended(what));
    }
}

/// The time in `COMMIT 2026-11-24 18:00:00.123456 UTC` or `COMMIT_PREPARED 745: 2026-…`.
fn ended(what: &str) -> Option<i128> {
    let words: Vec<&str> = what.split_whitespace().collect();
    let time = words.windows(3).find(|three| {
        let date = three[0].as_bytes();
        date.len() == 10 && date[4] == b'-' && date[7] == b'-'
    })?;
    // More may follow the zone.
    micros(&format!(
        "{} {} {}",
        time[0],
        time[1],
        time[2].trim_end_matches(';')
    ))
}

/// The last position that it names, or the beginning of the segment that it does not find.
fn end(said: &str) -> Option<Lsn> {
    let word = |word: &str| -> Option<Lsn> {
        let word = word.trim_matches(|c: char| !c.is_ascii_hexdigit());
        let segment = match WalFile::parse(word).map(|file| file.kind()) {
            Some(Kind::Segment(segment)) => Some(Lsn::new(segment.number * SEGMENT_BYTES)),
            Some(Kind::History | Kind::Backup) | None => None,
        };
        segment.or_else(|| word.parse().ok())
    };
    let last = said.lines().rev().find(|line| line.contains("error"))?;
    // What came after the number of the record is an offset into a file.
    last.split_whitespace().filter_map(word).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_where_it_finds_no_more() {
        for (said, at) in [
            (
                "pg_waldump: error: error in WAL record at 0/1549E28: invalid record length at \
                 0/1549E68: expected at least 24, got 0\n",
                Some("0/1549E68"),
            ),
            (
                "pg_waldump: error: could not find file \"000000010000000000000005\": No such file \
                 or directory\n",
                Some("0/5000000"),
            ),
            ("pg_waldump: first record is after 0/1549E28\n", None),
        ] {
            assert_eq!(
                end(said).map(|lsn| lsn.to_string()).as_deref(),
                at,
                "{said}"
            );
        }
    }

    #[test]
    fn the_last_end_of_a_transaction_and_every_restore_point_are_noted() {
        let mut local = Local::default();
        let record = "rmgr: Transaction len (rec/tot):     34/    34, tx:        745, lsn: 0/01A2B3C8, \
                      prev 0/01A2B390, desc: ";
        for what in [
            "COMMIT 2026-01-31 12:00:01.000000 UTC; inval msgs: catcache 7",
            "COMMIT_PREPARED 745: 2026-01-31 12:00:02.500000 UTC",
            "ABORT 2026-01-31 12:00:00.000000 UTC",
            "RESTORE_POINT before the flood",
            "CHECKPOINT_ONLINE redo 0/1A2B390",
        ] {
            note(&mut local, &format!("{record}{what}"));
        }
        assert_eq!(local.last_commit, micros("2026-01-31 12:00:02.5Z"));
        assert_eq!(local.restore_points, ["before the flood"]);
    }
}
