//! `backup`: starts the process that takes one, and follows it.
//!
//! It holds no turn of the other commands: it takes as long as the database is large. A caller that hangs up
//! calls it off; the place of the one backup that a machine takes at a time is free when its process has ended.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use wire::rpc::{self, Response};

use crate::backup::Says;
use crate::backup::record::{self, Record};
use crate::fx::clock;
use crate::fx::exec::{self, Output, Program, Running};
use crate::postgres::cluster;
use crate::rpc::archiver::{Archiver, Keeper};
use crate::rpc::commands::{CommandError, session};
use crate::rpc::desk::{Desk, Told};
use crate::supervise::chain;
use crate::sys::user;

/// What has become of backups in this boot.
#[derive(Debug, Clone, Default)]
pub(super) struct BackupTold {
    under_way: Option<UnderWay>,
    last: Option<Box<Record>>,
    /// Why the last one did not come to be.
    error: Option<String>,
}

#[derive(Debug, Clone)]
struct UnderWay {
    name: String,
    since: std::time::Instant,
    bytes: u64,
}

impl BackupTold {
    /// As `health` has it.
    pub(super) fn health(&self) -> rpc::Backup {
        let under_way = self.under_way.as_ref();
        let last = self.last.as_ref();
        rpc::Backup {
            name: under_way.map(|now| now.name.clone()),
            since: under_way.map(|now| clock::unix_seconds_at(now.since)),
            bytes: under_way.map(|now| now.bytes),
            last_name: last.map(|last| last.name.clone()),
            last_at: last.map(|last| last.ended),
            last_lsn: last.map(|last| last.end_lsn),
            last_error: self.error.clone(),
        }
    }

    fn begins(&mut self, name: &str) {
        self.under_way = Some(UnderWay {
            name: name.to_owned(),
            since: clock::now(),
            bytes: 0,
        });
    }

    fn is_at(&mut self, bytes: u64) {
        if let Some(now) = &mut self.under_way {
            now.bytes = bytes;
        }
    }

    fn ended(&mut self, outcome: &Result<Box<Record>, String>) {
        self.under_way = None;
        match outcome {
            Ok(record) => {
                self.last = Some(record.clone());
                self.error = None;
            }
            Err(error) => self.error = Some(error.clone()),
        }
    }

    /// What a second caller is told.
    fn busy(&self) -> String {
        let how_far = self.under_way.as_ref().map(|now| {
            let (name, since) = (&now.name, clock::now().saturating_duration_since(now.since));
            format!(
                "{name} has run for {} s and read {} MB",
                since.as_secs(),
                now.bytes >> 20
            )
        });
        format!(
            "a backup is under way: {}\nHINT: `backup` in `health` tells how far it is",
            how_far.as_deref().unwrap_or("it has just ended")
        )
    }
}

pub(super) async fn backup(desk: &Desk, told: &Told) -> Result<Response, CommandError> {
    let Ok(place) = Arc::clone(&desk.backup).try_acquire_owned() else {
        return Ok(Response::refused(desk.state.borrow().backup.busy()));
    };
    let asked = {
        let _turn = desk.look.acquire().await?;
        look(desk, told).await?
    };
    let (expected, version) = match asked {
        Ok(asked) => asked,
        Err(words) => return Ok(Response::refused(words)),
    };
    let name = record::name_at(clock::unix_seconds());
    let account = match user::postgres() {
        Ok(account) => account,
        Err(error) => return Ok(Response::refused(chain(&error))),
    };
    let program = cluster::backup(&desk.layout, account, &name, expected, version);
    let (caller, hung_up) = oneshot::channel::<()>();
    let task = tokio::spawn(follow(program, name, desk.state.clone(), place, hung_up));
    let outcome = task.await;
    drop(caller);
    Ok(match outcome {
        Ok(Ok(record)) => Response {
            backup: Some(record.name),
            ..Response::done_at(record.end_lsn)
        },
        Ok(Err(words)) => Response::refused(format!(
            "there is no backup: {words}\nHINT: nothing of it is left; mend the cause and ask again"
        )),
        Err(error) => Response::refused(format!("following the backup: {error}")),
    })
}

/// How large the database is and of which version, or why it is not backed up.
async fn look(desk: &Desk, told: &Told) -> Result<Result<(u64, u32), String>, CommandError> {
    let session = session(desk).await?;
    let archiver = Archiver::ask(&session, &desk.layout, told.archive_target.is_some()).await?;
    let reason = match archiver.keeper {
        Keeper::Target => None,
        Keeper::Nobody(reason) => Some(reason),
        Keeper::User => Some("an archive_command of the user's own keeps the WAL"),
    };
    if let Some(reason) = reason {
        return Ok(Err(format!(
            "no backup was taken: {reason}, and a backup is nothing without the WAL in the archive\n\
             HINT: set BEYOND_PG_ARCHIVE_TARGET, and leave archive_mode and archive_command to the image"
        )));
    }
    let query = "SELECT pg_is_in_recovery(), current_setting('server_version_num')::int, \
                 (SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database)";
    let row = session.query_one(query, &[]).await?;
    if row.get(0) {
        return Ok(Err(
            "no backup was taken: Postgres replays WAL and writes none\nHINT: back the primary up"
                .to_owned(),
        ));
    }
    let version = u32::try_from(row.get::<_, i32>(1)).unwrap_or_default();
    let bytes = u64::try_from(row.get::<_, i64>(2)).unwrap_or_default();
    Ok(Ok((bytes, version)))
}

/// Runs to the end of the process, whoever listens.
async fn follow(
    program: Program,
    name: String,
    state: watch::Sender<Told>,
    place: OwnedSemaphorePermit,
    hung_up: oneshot::Receiver<()>,
) -> Result<Box<Record>, String> {
    state.send_modify(|told| told.backup.begins(&name));
    tracing::info!("backup {name} begins");
    let outcome = run(&program, &state, hung_up).await;
    match &outcome {
        Ok(record) => tracing::info!(
            "backup {name} is whole: {} MB in {} files, {} MB packed",
            record.file_bytes >> 20,
            record.files,
            record.bytes >> 20
        ),
        Err(words) => tracing::error!("there is no backup {name}: {words}"),
    }
    state.send_modify(|told| told.backup.ended(&outcome));
    drop(place);
    outcome
}

async fn run(
    program: &Program,
    state: &watch::Sender<Told>,
    hung_up: oneshot::Receiver<()>,
) -> Result<Box<Record>, String> {
    let mut running = program
        .start(Output::Piped)
        .map_err(|error| chain(&error))?;
    let pipes = running.take_pipes();
    let pid = running.pid();
    let call_off = async {
        // The sender is dropped with the caller's command, or behind the end of this one.
        if hung_up.await.is_err()
            && let Some(pid) = pid
            && let Err(errno) = exec::signal(pid, nix::sys::signal::Signal::SIGTERM)
        {
            tracing::warn!("calling the backup ({pid}) off failed: {errno}");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = to_the_end(&mut running, pipes, state) => outcome,
        () = call_off => Err("it was called off".to_owned()),
    }
}

async fn to_the_end(
    running: &mut Running,
    pipes: Option<(ChildStdout, ChildStderr)>,
    state: &watch::Sender<Told>,
) -> Result<Box<Record>, String> {
    let mut last = None;
    if let Some((stdout, stderr)) = pipes {
        let (said, ()) = tokio::join!(listen(stdout, state), pass_on(stderr));
        last = said;
    }
    let status = running.wait().await.map_err(|error| chain(&error))?;
    last.unwrap_or_else(|| Err(format!("its process ended with {status}")))
}

/// The last word of the process.
async fn listen(
    stdout: ChildStdout,
    state: &watch::Sender<Told>,
) -> Option<Result<Box<Record>, String>> {
    let mut lines = BufReader::new(stdout).lines();
    let mut last = None;
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Says::Bytes(bytes)) => state.send_modify(|told| told.backup.is_at(bytes)),
            Ok(Says::Done(record)) => last = Some(Ok(record)),
            Ok(Says::Failed(words)) => last = Some(Err(words)),
            Err(error) => tracing::warn!("the backup said {line:?}: {error}"),
        }
    }
    last
}

/// What it has to tell people.
async fn pass_on(stderr: ChildStderr) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!("backup: {line}");
    }
}
