//! What each command does. Every one may be repeated, and may be dropped at any point.

use tokio_postgres::types::PgLsn;
use wire::lsn::Lsn;
use wire::rpc::{Command, Health, Response};

use crate::fx::clock;
use crate::postgres::ensure::MAINTENANCE_DATABASE;
use crate::postgres::session::{Session, SessionError};
use crate::rpc::policy::{self, Lifecycle};
use crate::rpc::{Desk, Told};

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("asking Postgres: {0}")]
    Sql(#[from] tokio_postgres::Error),
}

pub(super) async fn carry_out(desk: &Desk, told: &Told, command: &Command) -> (Response, bool) {
    let answer = match command {
        Command::Capabilities => Ok(Response {
            commands: Some(policy::capabilities()),
            ..Response::done()
        }),
        Command::Health => Ok(health(desk, told).await),
        Command::Checkpoint => checkpoint(desk).await.map(Response::done_at),
        Command::Reload => reload(desk).await,
        Command::Shutdown => return (shutdown(desk, told).await, true),
        Command::Backup
        | Command::PrepareFork
        | Command::Promote
        | Command::SetSyncStandbys { .. }
        | Command::ArchiveNow => Ok(Response::refused(format!(
            "this version cannot do {command:?}"
        ))),
    };
    let answer = answer.unwrap_or_else(|error| Response::refused(error.to_string()));
    (answer, false)
}

async fn session(desk: &Desk) -> Result<Session, SessionError> {
    Session::open(&desk.layout, MAINTENANCE_DATABASE).await
}

/// Answers with the redo point of a checkpoint that began after the question.
async fn checkpoint(desk: &Desk) -> Result<Lsn, CommandError> {
    let session = session(desk).await?;
    session.batch_execute("CHECKPOINT").await?;
    let row = session
        .query_one("SELECT redo_lsn FROM pg_control_checkpoint()", &[])
        .await?;
    Ok(lsn(row.get(0)))
}

/// Both servers read their files again; the answer is what Postgres objects to.
async fn reload(desk: &Desk) -> Result<Response, CommandError> {
    let objections = objections(&session(desk).await?).await?;
    desk.reload.notify_one();
    Ok(if objections.is_empty() {
        Response::done()
    } else {
        Response::refused(format!(
            "reloaded, but these lines are not in force:\n{}\nHINT: mend them and reload again",
            objections.join("\n")
        ))
    })
}

/// Says up to where everything is on disk, then stops: the stop itself writes one more checkpoint.
async fn shutdown(desk: &Desk, told: &Told) -> Response {
    match told.lifecycle {
        Lifecycle::Ready => match checkpoint(desk).await {
            Ok(lsn) => Response::done_at(lsn),
            // The stop goes ahead: it was asked for, and its own checkpoint may still work.
            Err(error) => {
                tracing::warn!("no checkpoint before the shutdown: {error}");
                Response::done()
            }
        },
        Lifecycle::Booting | Lifecycle::Starting | Lifecycle::Stopping => Response::done(),
    }
}

async fn health(desk: &Desk, told: &Told) -> Response {
    let mut health = Health {
        state: told.lifecycle.name().to_owned(),
        ready_since: told.ready_at.map(clock::unix_seconds_at),
        boot: told.boot_record.clone(),
        degraded: told.concerns.values().cloned().collect(),
        ..Health::default()
    };
    if let Ok(stat) = nix::sys::statvfs::statvfs(&desk.layout.volume()) {
        health.volume_bytes = Some(stat.blocks().saturating_mul(stat.fragment_size()));
        health.volume_free_bytes =
            Some(stat.blocks_available().saturating_mul(stat.fragment_size()));
    }
    match told.lifecycle {
        Lifecycle::Ready => match of_postgres(desk, &mut health).await {
            Ok(lsn) => Response::healthy(Some(lsn), health),
            Err(error) => {
                // Still an answer: that Postgres cannot be asked is part of the truth.
                let error = Some(error.to_string());
                Response {
                    ok: true,
                    error,
                    ..Response::healthy(None, health)
                }
            }
        },
        Lifecycle::Booting | Lifecycle::Starting | Lifecycle::Stopping => {
            Response::healthy(None, health)
        }
    }
}

async fn of_postgres(desk: &Desk, health: &mut Health) -> Result<Lsn, CommandError> {
    let session = session(desk).await?;
    let query = "SELECT pg_is_in_recovery(), timeline_id, \
                 CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
                      ELSE pg_current_wal_lsn() END \
                 FROM pg_control_checkpoint()";
    let row = session.query_one(query, &[]).await?;
    health.in_recovery = Some(row.get(0));
    health.timeline = u32::try_from(row.get::<_, i32>(1)).ok();
    health.objections = objections(&session).await?;
    Ok(lsn(row.get(2)))
}

/// Lines of the configuration that Postgres does not follow, and why.
async fn objections(session: &Session) -> Result<Vec<String>, tokio_postgres::Error> {
    let query = "SELECT format('%s line %s: %s', sourcefile, sourceline, \
                               concat_ws(': ', name, error)) \
                 FROM pg_file_settings WHERE error IS NOT NULL ORDER BY seqno";
    Ok(session
        .query(query, &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect())
}

fn lsn(lsn: PgLsn) -> Lsn {
    Lsn::new(lsn.into())
}
