//! What each command does. Every one may be repeated, and may be dropped at any point: a session
//! that is dropped ends what it had begun.

use std::io;
use std::time::Duration;

use tokio_postgres::types::PgLsn;
use wire::rpc::{Command, Lifecycle, Response};

use crate::fx::clock;
use crate::fx::fs::FsError;
use crate::hooks::{HookError, Stage};
use crate::postgres::ensure::MAINTENANCE_DATABASE;
use crate::postgres::session::{Session, SessionError};
use crate::replication::marks::MarkError;
use crate::rpc::desk::{Concern, Desk, Told};
use crate::rpc::{archiver, backup, health, lsn, objections, policy, replicating};
use crate::supervise::chain;
use crate::sys::user::AccountError;

/// How long a stop waits for its first checkpoint: it has one of its own, within its own budget.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long Postgres may take to read its files after it was told.
const READ: Duration = Duration::from_secs(5);
/// Between two looks whether it has.
const GLANCE: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("asking Postgres")]
    Sql(#[from] tokio_postgres::Error),
    #[error("nothing was prepared")]
    Hook(#[from] HookError),
    #[error(transparent)]
    Mark(#[from] MarkError),
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("reading the history of timeline {timeline}")]
    History { timeline: u32, source: io::Error },
    #[error("taking one's turn")]
    Turn(#[from] tokio::sync::AcquireError),
}

pub(super) async fn carry_out(desk: &Desk, told: &Told, command: &Command) -> Response {
    let answer = match command {
        Command::Capabilities => Ok(Response {
            commands: Some(policy::capabilities()),
            ..Response::done()
        }),
        Command::Health => Ok(health::health(desk, told).await),
        Command::Checkpoint => checkpoint(desk).await,
        Command::Reload => reload(desk, told).await,
        Command::PrepareFork => prepare_fork(desk, told).await,
        Command::ArchiveNow => archiver::archive_now(desk, told).await,
        Command::Backup => backup::backup(desk, told).await,
        Command::Shutdown => Ok(shutdown(desk, told).await),
        Command::Promote => replicating::promote(desk).await,
        Command::SetSyncStandbys { names } => replicating::set_sync_standbys(desk, names).await,
    };
    answer.unwrap_or_else(|error| {
        let words = format!("{} failed: {}", command.name(), chain(&error));
        Response::refused(words + "\nHINT: `health` tells how the machine is; then ask again")
    })
}

pub(super) async fn session(desk: &Desk) -> Result<Session, SessionError> {
    Session::open(&desk.layout, MAINTENANCE_DATABASE).await
}

/// One after the other: each answer is of a checkpoint that began after its question.
async fn checkpoint(desk: &Desk) -> Result<Response, CommandError> {
    let _turn = desk.work.acquire().await?;
    write_everything(desk).await
}

/// A checkpoint: where recovery would begin, and up to where the WAL is on disk.
async fn write_everything(desk: &Desk) -> Result<Response, CommandError> {
    let session = session(desk).await?;
    // The deadline of the command counts, which is longer than that of a statement.
    session
        .batch_execute("SET statement_timeout = 0; CHECKPOINT")
        .await?;
    let query = "SELECT redo_lsn, CASE WHEN NOT pg_is_in_recovery() \
                 THEN pg_current_wal_flush_lsn() END FROM pg_control_checkpoint()";
    let row = session.query_one(query, &[]).await?;
    let (redo, flushed): (PgLsn, Option<PgLsn>) = (row.get(0), row.get(1));
    Ok(Response {
        flush_lsn: flushed.map(lsn),
        ..Response::done_at(lsn(redo))
    })
}

/// The image's own preparations, then a checkpoint, so that the fork has little to recover. One at a
/// time, because hooks need not bear company.
async fn prepare_fork(desk: &Desk, told: &Told) -> Result<Response, CommandError> {
    let _turn = desk.work.acquire().await?;
    if let Some(hooks) = &told.hooks {
        hooks.run_all(Stage::PreFork).await?;
    }
    write_everything(desk).await
}

/// Both servers read their files again; the answer is what Postgres objects to.
async fn reload(desk: &Desk, told: &Told) -> Result<Response, CommandError> {
    let _turn = desk.look.acquire().await?;
    let session = session(desk).await?;
    let before = loaded_at(&session).await?;
    let objections = objections::ask(&session).await?;
    desk.reload.notify_one();
    // A file with a line that it cannot take at all leaves its clock where it was.
    let read = objections.blocks_settings
        || clock::within(READ, loaded_after(&session, before))
            .await
            .transpose()?
            .is_some();
    // On the last configuration that worked, the files that Postgres reads are not the user's.
    let fallback = told.concerns.get(&Concern::Configuration);
    let words: Vec<_> = fallback
        .cloned()
        .into_iter()
        .chain(objections.words)
        .collect();
    if !words.is_empty() {
        let list = words.join("\n");
        return Ok(Response {
            objections: words,
            ..Response::refused(format!(
                "reloaded, but not all is in force:\n{list}\nHINT: mend it and reload again"
            ))
        });
    }
    if !read {
        return Ok(Response::refused(format!(
            "Postgres was told to read its configuration and has not within {} s\n\
             HINT: `health` tells how it is; then ask again",
            READ.as_secs()
        )));
    }
    Ok(Response::done())
}

/// When the server last read its configuration, in microseconds.
async fn loaded_at(session: &Session) -> Result<i64, tokio_postgres::Error> {
    let query = "SELECT (extract(epoch FROM pg_conf_load_time()) * 1000000)::bigint";
    Ok(session.query_one(query, &[]).await?.get(0))
}

async fn loaded_after(session: &Session, before: i64) -> Result<(), tokio_postgres::Error> {
    while loaded_at(session).await? <= before {
        clock::pause(GLANCE).await;
    }
    Ok(())
}

/// Says from where the next boot could recover, then stops, which writes one more checkpoint.
async fn shutdown(desk: &Desk, told: &Told) -> Response {
    let redo = match told.lifecycle {
        // Without waiting for a turn: a stop does not queue.
        Lifecycle::Ready | Lifecycle::Restarting => {
            match clock::within(FAREWELL, write_everything(desk)).await {
                Some(Ok(written)) => return written,
                Some(Err(error)) => {
                    tracing::warn!("no checkpoint before the shutdown: {}", chain(&error));
                }
                None => tracing::warn!(
                    "the checkpoint before the shutdown takes longer than {} s",
                    FAREWELL.as_secs()
                ),
            }
            health::last_redo(desk).await
        }
        Lifecycle::Booting | Lifecycle::Starting | Lifecycle::Stopping => {
            health::last_redo(desk).await
        }
    };
    // The stop goes ahead: it was asked for, and its own checkpoint may still work.
    Response {
        lsn: redo,
        ..Response::done()
    }
}
