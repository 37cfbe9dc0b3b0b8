//! State files of prepared transactions that Postgres means to remove and does not.
//!
//! A checkpoint writes them before its own record. When the power goes in between, recovery begins with the checkpoint
//! before that, and calls such a file one of the future: its transaction has a number that had not been given yet. It
//! removes it, since the WAL brings it back. In the first epoch of transaction numbers Postgres 18 takes the epoch before
//! it for the file's (`pg_twophase/FFFFFFFF…`), removes nothing, and then passes over the record of the WAL since the
//! file is there: the prepared transaction, which was acknowledged, is lost.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::fx::exec::ExecError;
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::sys::user::Account;

const NEXT_XID: &str = "Latest checkpoint's NextXID:";

#[derive(Debug, Error)]
pub(crate) enum TwoPhaseError {
    #[error("looking for prepared transactions in {folder}")]
    Look { folder: PathBuf, source: io::Error },
    #[error("asking which transaction is the next")]
    Control(#[from] ExecError),
    #[error("pg_controldata printed no line `{NEXT_XID}` that can be read")]
    NoNext,
    #[error(transparent)]
    Remove(#[from] FsError),
}

/// Removes what Postgres is going to call of the future, before it is started. Repeatable: the WAL from the redo point on
/// has all of it.
pub(crate) async fn forget_future(layout: &Layout, user: Account) -> Result<(), TwoPhaseError> {
    let folder = layout.pgdata().join("pg_twophase");
    let names = match names(&folder) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(TwoPhaseError::Look { folder, source }),
    };
    if names.is_empty() {
        return Ok(());
    }
    let control = cluster::controldata(layout, user).run().await?;
    let next = next_xid(&control).ok_or(TwoPhaseError::NoNext)?;
    for name in names.iter().filter(|name| is_future(name, next)) {
        fs::remove_if_present(&folder.join(name))?;
        tracing::info!(
            "prepared transaction {name} is taken from the WAL: its file is younger than the checkpoint"
        );
    }
    Ok(())
}

fn names(folder: &std::path::Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
    entries
        .filter_map(|entry| name(entry).transpose())
        .collect()
}

/// The first transaction that had not begun at the last checkpoint, with its epoch.
fn next_xid(control: &str) -> Option<u64> {
    let line = control
        .lines()
        .find_map(|line| line.strip_prefix(NEXT_XID))?;
    let (epoch, xid) = line.trim().split_once(':')?;
    let (epoch, xid): (u32, u32) = (epoch.parse().ok()?, xid.parse().ok()?);
    Some((u64::from(epoch) << 32) | u64::from(xid))
}

/// Whether a file is named after a transaction from there on; what is named otherwise is none of ours.
fn is_future(name: &str, next: u64) -> bool {
    let upper_hex = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    name.len() == 16
        && name.bytes().all(upper_hex)
        && u64::from_str_radix(name, 16).is_ok_and(|xid| xid >= next)
}

#[cfg(test)]
mod tests {
    use super::{is_future, next_xid};

    #[test]
    fn the_next_transaction_is_read_with_its_epoch() {
        let control =
            |value| format!("x: 1\nLatest checkpoint's NextXID:          {value}\ny: 2\n");
        assert_eq!(next_xid(&control("0:4998")), Some(4998));
        assert_eq!(next_xid(&control("2:16")), Some((2 << 32) | 16));
        for garbled in ["", "4998", "0:", "0:x", "-1:5"] {
            assert_eq!(next_xid(&control(garbled)), None, "{garbled}");
        }
        assert_eq!(next_xid("x: 1\n"), None);
    }

    #[test]
    fn only_what_begins_after_the_checkpoint_is_of_the_future() {
        let name = |xid: u64| format!("{xid:016X}");
        assert!(is_future(&name(4998), 4998));
        assert!(is_future(&name(5000), 4998));
        assert!(!is_future(&name(4997), 4998));
        assert!(!is_future(&name((1 << 32) | 5), (1 << 32) | 6));
        for other in [
            "0000138600001386x",
            "00001386",
            "000000000000138g",
            "+000000000001386",
        ] {
            assert!(!is_future(other, 0), "{other}");
        }
    }
}
