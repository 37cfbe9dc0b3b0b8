//! The records of `standing`, on the volume.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::fx::fs::{FsError, remove_if_present, write_atomic};
use crate::layout::Layout;
use crate::replication::standing::{Mark, Marks, Promoted, SyncStandbys};
use crate::sys::user::Account;

#[derive(Debug, Error)]
pub(crate) enum MarkError {
    #[error("reading {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} is no record of this image\n\
         HINT: it says whether this machine was promoted, or whom its commits wait for; look at it, and remove it when that is known"
    )]
    Torn {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// All of them. One that cannot be read is an error: guessing could make a second writer.
pub(crate) fn read(layout: &Layout) -> Result<Marks, MarkError> {
    Ok(Marks {
        follows: layout.standby_signal().exists(),
        promoted: record(layout.promoted())?,
        sync: record(layout.sync_standbys())?,
    })
}

fn record<T: DeserializeOwned>(path: PathBuf) -> Result<Option<T>, MarkError> {
    match fs::read(&path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(source) => Err(MarkError::Torn { path, source }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // No PGDATA, or a file in its place, which the plan refuses.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(source) => Err(MarkError::Read { path, source }),
    }
}

/// Keeps that this machine was promoted.
pub(crate) fn keep_promoted(
    layout: &Layout,
    owner: Account,
    record: &Promoted,
) -> Result<(), MarkError> {
    keep(layout.promoted(), owner, record)
}

/// Keeps whom commits wait for.
pub(crate) fn keep_sync(
    layout: &Layout,
    owner: Account,
    record: &SyncStandbys,
) -> Result<(), MarkError> {
    keep(layout.sync_standbys(), owner, record)
}

fn keep(path: PathBuf, owner: Account, record: &impl Serialize) -> Result<(), MarkError> {
    match serde_json::to_vec(record) {
        Ok(text) => Ok(write_atomic(&path, &text, 0o600, owner)?),
        Err(source) => Err(MarkError::Torn { path, source }),
    }
}

/// Removes one that has had its time.
pub(crate) fn forget(layout: &Layout, mark: Mark) -> Result<(), FsError> {
    remove_if_present(&match mark {
        Mark::Promoted => layout.promoted(),
        Mark::SyncStandbys => layout.sync_standbys(),
    })
}
