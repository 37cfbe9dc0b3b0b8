//! The archive of WAL: `archive_command` and `restore_command` (B-008, contract 10).
//!
//! Each file of the WAL is one small process, started by Postgres, so that nothing of an S3 client is
//! ever in PID 1. It learns the target from PID 1 (`loan`), and what it does is decided over a trait of
//! object storage (`push`, `fetch`), which `s3` implements. Without a target what goes by is recorded
//! (`unarchived`). `ahead` is a process that does next what they will ask next. `window` is how far back and forth a restore can go. `docs/archive.md` has the rest.

pub(crate) mod ahead;
pub(crate) mod fetch;
pub(crate) mod file;
pub(crate) mod loan;
pub(crate) mod local;
pub(crate) mod object;
pub(crate) mod place;
pub(crate) mod push;
pub(crate) mod s3;
mod s3_parts;
pub(crate) mod store;
pub(crate) mod unarchived;
pub(crate) mod window;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::archive::ahead::{Answer, Question};
use crate::archive::fetch::FetchError;
use crate::archive::file::WalFile;
use crate::archive::loan::{Loan, LoanError};
use crate::archive::local::LocalError;
use crate::archive::place::Place;
use crate::archive::push::PushError;
use crate::archive::s3::S3;
use crate::archive::store::{Store as _, StoreError};
use crate::archive::unarchived::UnarchivedError;
use crate::archive::window::{Archived, Window};
use crate::backup;
use crate::backup::fetch::Source;
use crate::backup::record::Record;
use crate::fx::exec::ExecError;
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::postgres::controldata::{ControlData, ControlDataError};
use crate::settings::{Archive, S3Target};
use crate::supervise::chain;
use crate::sys::user::{self, AccountError};

/// Why a file was not archived or restored.
#[derive(Debug, Error)]
pub(crate) enum ArchiveError {
    #[error("{0:?} is no name of a WAL file\nHINT: the command is called with %p and %f")]
    Name(String),
    #[error(
        "reading {path} to archive it\nHINT: archive_command passes %p, which is relative to PGDATA"
    )]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the volume is stamped as instance {stamp} and this machine is {ours}: nothing is archived before it \
         has left its parent"
    )]
    NotOurs { stamp: String, ours: String },
    #[error("{0}")]
    Ahead(String),
    #[error("there is no archive to restore from\nHINT: set BEYOND_PG_ARCHIVE_TARGET")]
    NoTarget,
    #[error(transparent)]
    Loan(#[from] LoanError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    FetchBackup(#[from] Box<backup::fetch::FetchError>),
    #[error(transparent)]
    Unarchived(#[from] UnarchivedError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    ControlData(#[from] ControlDataError),
    #[error(transparent)]
    Write(#[from] FsError),
}

/// `beyond-pg archive %p %f`. `path` is relative to PGDATA, where Postgres calls from (facts A 24).
pub(crate) async fn archive(layout: &Layout, path: &Path, name: &str) -> Result<(), ArchiveError> {
    let done = match ahead::ask(layout, &Question::archive(path, name)).await {
        Some(Answer::Done) => Ok(()),
        Some(Answer::Failed(words)) => Err(ArchiveError::Ahead(words)),
        Some(Answer::Absent | Answer::Yourself) | None => {
            let loan = Loan::ask(layout).await?;
            let Archive::S3(target) = &loan.archive else {
                return Ok(unarchived::without_target(layout, path, name)?);
            };
            put(layout, target, &loan, path, name).await
        }
    };
    let failure = done.as_ref().err().map(|error| chain(error));
    // Best effort: the file is archived or not whether or not `health` hears of it.
    if let Err(error) = loan::tell(layout, failure).await {
        tracing::warn!("health does not learn what became of {name}: {error}");
    }
    done
}

async fn put(
    layout: &Layout,
    target: &S3Target,
    loan: &Loan,
    path: &Path,
    name: &str,
) -> Result<(), ArchiveError> {
    let file = WalFile::parse(name).ok_or_else(|| ArchiveError::Name(name.to_owned()))?;
    check_ours(layout, loan)?;
    let path = layout.pgdata().join(path);
    let content = std::fs::read(&path).map_err(|source| ArchiveError::Read { path, source })?;
    let system_id = system_id(layout).await?;
    let place = Place::new(&target.prefix, loan.instance.as_deref());
    push::push(&S3::new(target), &place, &file, &content, system_id).await?;
    Ok(())
}

/// Nothing of a parent's is archived.
fn check_ours(layout: &Layout, loan: &Loan) -> Result<(), ArchiveError> {
    match (stamp(layout), loan.instance.clone()) {
        (Some(stamp), Some(ours)) if stamp != ours => Err(ArchiveError::NotOurs { stamp, ours }),
        _ => Ok(()),
    }
}

/// Whose segments these are.
async fn system_id(layout: &Layout) -> Result<u64, ArchiveError> {
    let control = cluster::controldata(layout, user::postgres()?);
    Ok(ControlData::parse(&control.run().await?)?.system_id)
}

/// Whether the archive had a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    Found,
    Absent,
}

/// `beyond-pg restore %f %p`: puts a file of the archive where Postgres wants it.
///
/// The archive is that of whoever the volume is stamped for, which on a fork that has yet to leave is
/// its parent: it reads there and never writes.
pub(crate) async fn restore(
    layout: &Layout,
    name: &str,
    path: &Path,
) -> Result<Restored, ArchiveError> {
    match ahead::ask(layout, &Question::restore(name, path)).await {
        Some(Answer::Done) => return Ok(Restored::Found),
        Some(Answer::Absent) => return Ok(Restored::Absent),
        Some(Answer::Failed(words)) => return Err(ArchiveError::Ahead(words)),
        Some(Answer::Yourself) | None => {}
    }
    let file = WalFile::parse(name).ok_or_else(|| ArchiveError::Name(name.to_owned()))?;
    let loan = Loan::ask(layout).await?;
    let (target, place) = source(layout, &loan)?;
    match fetch::fetch(&S3::new(target), &place, &file).await? {
        None => Ok(Restored::Absent),
        Some(content) => {
            let path = layout.pgdata().join(path);
            fs::write_atomic(&path, &content, 0o600, user::postgres()?)?;
            Ok(Restored::Found)
        }
    }
}

/// From where to where this volume can be restored, or what a backup would make of it.
pub(crate) async fn restore_window(layout: &Layout) -> Result<Window, ArchiveError> {
    let loan = Loan::ask(layout).await?;
    let (target, place) = source(layout, &loan)?;
    let from = match fetched(layout) {
        Some(record) => record.local(),
        None if is_empty(layout) => {
            let from = loan.restore_from.as_ref().ok_or(ArchiveError::NoTarget)?;
            let name = from.backup.as_deref();
            let found = Source::of(from).find(name, loan.restore.as_ref()).await;
            found.map_err(Box::new)?.local()
        }
        None => {
            let account = user::postgres()?;
            let text = cluster::controldata(layout, account).run().await?;
            local::read(layout, account, &ControlData::parse(&text)?).await?
        }
    };
    let entries = S3::new(target).list(&place.files(), None).await?;
    let archived: Vec<Archived> = entries
        .into_iter()
        .filter_map(|entry| {
            Some(Archived {
                segment: place.segment_of(&entry.key)?,
                at: entry.modified,
            })
        })
        .collect();
    Ok(Window::new(from, &archived))
}

/// The archive that the WAL before now is in: that of the backup until it is recovered, else that of whoever
/// the volume is stamped for.
fn source<'a>(layout: &Layout, loan: &'a Loan) -> Result<(&'a S3Target, Place), ArchiveError> {
    let filled = is_empty(layout) || layout.fetched().exists();
    if let Some(from) = loan.restore_from.as_ref().filter(|_| filled) {
        return Ok((&from.archive, Source::place_of(from)));
    }
    let Archive::S3(target) = &loan.archive else {
        return Err(ArchiveError::NoTarget);
    };
    let whose = stamp(layout).or_else(|| loan.instance.clone());
    Ok((target, Place::new(&target.prefix, whose.as_deref())))
}

/// The archive of this machine, for one who reads it before Postgres writes to it.
pub(crate) async fn own(layout: &Layout) -> Result<(S3, Place), ArchiveError> {
    let loan = Loan::ask(layout).await?;
    check_ours(layout, &loan)?;
    let Archive::S3(target) = &loan.archive else {
        return Err(ArchiveError::NoTarget);
    };
    let place = Place::new(&target.prefix, loan.instance.as_deref());
    Ok((S3::new(target), place))
}

/// There is no cluster.
fn is_empty(layout: &Layout) -> bool {
    !layout.pgdata().join("global/pg_control").exists()
}

/// The backup that this volume was made from, until it is recovered.
fn fetched(layout: &Layout) -> Option<Record> {
    let text = std::fs::read(layout.fetched()).ok()?;
    serde_json::from_slice(&text).ok()
}

/// `beyond-pg fetch-backup`: the folder becomes what a backup holds.
pub(crate) async fn fetch_backup(layout: &Layout, folder: &Path) -> Result<(), ArchiveError> {
    let loan = Loan::ask(layout).await?;
    let fetched = backup::fetch::fetch(&loan, folder).await;
    fetched.map(drop).map_err(|error| Box::new(error).into())
}

/// Whose volume this is.
fn stamp(layout: &Layout) -> Option<String> {
    let text = std::fs::read_to_string(layout.stamp()).ok()?;
    Some(text.trim().to_owned())
}
