//! Leaving the parent: a Postgres that nobody else can reach recovers onto a timeline of its own, and
//! what would act on the parent or on the world is taken out of it.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use super::hygiene::{Hygiene, HygieneError};
use super::{Journal, Part, Progress, Restored};
use crate::archive::window::Window;
use crate::boot::facts::Owners;
use crate::conf::{ConfFile, Until};
use crate::fx::clock;
use crate::fx::exec::{self, ExecError, Output, Running};
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::logs::{self, Dialect, Logs, Source};
use crate::postgres::cluster;
use crate::postgres::controldata::{ControlData, ControlDataError};
use crate::postgres::postmaster::{self, Postmaster};
use crate::settings::{RestoreTarget, Secret};
use crate::sys::user::Account;

/// How often to look whether it answers.
const GLANCE: Duration = Duration::from_millis(10);
/// How long its shutdown may take before it is told to be immediate.
const SHUTDOWN: Duration = Duration::from_secs(60);

#[derive(Debug, Error)]
pub(crate) enum LeaveError {
    #[error(
        "reading the journal of the fork {path}\n\
         HINT: remove it; the next boot begins to leave the parent again"
    )]
    Journal { path: PathBuf, source: io::Error },
    #[error(
        "what {path} says is no journal of a fork\nHINT: remove it; the next boot begins again"
    )]
    Torn {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    ControlData(#[from] ControlDataError),
    #[error("Postgres ended before it answered: {0}; why stands in its log")]
    Ended(String),
    #[error(transparent)]
    Hygiene(#[from] HygieneError),
    #[error("the restore did not begin, and nothing was changed: {0}")]
    Infeasible(String),
    #[error("finding out how far a restore can go: {0}")]
    Window(#[from] serde_json::Error),
}

/// How leaving ended.
#[derive(Debug)]
pub(crate) enum Left {
    /// The volume is ours; what changed, for the boot record.
    Ours(Vec<String>),
    /// A stop came first; the next boot goes on.
    Stopped,
}

/// What leaving works with.
#[derive(Clone, Copy)]
pub(crate) struct Leaving<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) owners: Owners,
    pub(crate) password: &'a Secret,
    /// Where recovery ends, when not with what the volume holds.
    pub(crate) restore: Option<&'a RestoreTarget>,
    /// The volume was made from a backup, whose WAL is in the archive.
    pub(crate) fetched: bool,
    /// The `postgresql.conf` to start with: the parent may run on one that is not its user's.
    pub(crate) conf: &'a Path,
    /// Where its words go; to our stderr without.
    pub(crate) logs: Option<&'a Logs>,
    pub(crate) progress: &'a dyn Progress,
}

impl Leaving<'_> {
    /// Leaves the parent that the journal names. Repeatable: everything is looked at before it is
    /// changed, and the stamp that ends it comes last.
    pub(crate) async fn run(&self, stop: impl Future<Output = ()>) -> Result<Left, LeaveError> {
        let journal = self.journal()?;
        let Leaving {
            layout,
            owners,
            progress,
            ..
        } = self;
        progress.began(Part::Recover);
        fs::make_dir(&layout.fork_socket_dir(), 0o700, owners.postgres)?;
        if self.timeline().await? == journal.timeline {
            self.check_restore().await?;
            // Recovery with nothing to restore from replays what the volume holds and ends on a new
            // timeline, nothing lost (facts A 19).
            fs::create_if_absent(&layout.recovery_signal(), 0o600, owners.postgres)?;
        }
        let mut postgres = self.start()?;
        let work = tokio::select! {
            done = self.work(&mut postgres, &journal) => Some(done),
            () = stop => None,
        };
        end(&mut postgres).await?;
        let Some(changed) = work.transpose()? else {
            return Ok(Left::Stopped);
        };
        progress.began(Part::Sign);
        self.sign(&journal)?;
        progress.ended(Part::Sign);
        Ok(Left::Ours(changed))
    }

    fn journal(&self) -> Result<Journal, LeaveError> {
        let path = self.layout.fork_journal();
        let text = std::fs::read_to_string(&path);
        match text {
            Ok(text) => {
                serde_json::from_str(&text).map_err(|source| LeaveError::Torn { path, source })
            }
            Err(source) => Err(LeaveError::Journal { path, source }),
        }
    }

    async fn timeline(&self) -> Result<u32, LeaveError> {
        let program = cluster::controldata(self.layout, self.owners.postgres);
        Ok(ControlData::parse(&program.run().await?)?.timeline)
    }

    /// Looks whether the restore can end where it shall. One that has begun goes on: then Postgres itself
    /// knows how far its pages are.
    async fn check_restore(&self) -> Result<(), LeaveError> {
        let Some(target) = self.restore else {
            return Ok(());
        };
        if self.layout.recovery_signal().exists() {
            return Ok(());
        }
        // The client of the object storage is a process of its own.
        let program = cluster::restore_window(self.layout, self.owners.postgres);
        let window: Window = serde_json::from_str(&program.run().await?)?;
        tracing::info!("a restore to {target}; the window: {window}");
        match window.objection(target) {
            None => Ok(()),
            Some(words) => Err(LeaveError::Infeasible(words)),
        }
    }

    fn until(&self) -> Until<'_> {
        match (self.restore, self.fetched) {
            (Some(target), _) => Until::Target(target),
            (None, true) => Until::Archive,
            (None, false) => Until::Volume,
        }
    }

    fn start(&self) -> Result<Running, LeaveError> {
        let program =
            cluster::private_postmaster(self.layout, self.owners.postgres, self.conf, self.until());
        let Some(logs) = self.logs else {
            return Ok(program.start(Output::Inherited)?);
        };
        let mut running = program.start(Output::Piped)?;
        if let Some((stdout, stderr)) = running.take_pipes() {
            let source = |stream| Source {
                stream,
                execution_id: "postgres-fork".to_owned(),
            };
            logs::forward(
                logs,
                Dialect::Postgres,
                source(wire::log::Stream::Stdout),
                stdout,
            );
            logs::forward(
                logs,
                Dialect::Postgres,
                source(wire::log::Stream::Stderr),
                stderr,
            );
        }
        Ok(running)
    }

    async fn work(
        &self,
        postgres: &mut Running,
        journal: &Journal,
    ) -> Result<Vec<String>, LeaveError> {
        tokio::select! {
            status = postgres.wait() => return Err(LeaveError::Ended(status?.to_string())),
            () = self.answers() => {}
        }
        let hygiene = Hygiene {
            socket: self.layout.fork_socket_dir(),
            journal,
            password: self.password,
            progress: self.progress,
        };
        Ok(hygiene.clean().await?)
    }

    /// While it recovers it calls itself a standby and, with `hot_standby` off, lets nobody in.
    async fn answers(&self) {
        let path = self.layout.pgdata().join("postmaster.pid");
        let writes = Postmaster::Accepting { writes: true };
        while !std::fs::read_to_string(&path).is_ok_and(|text| postmaster::state(&text) == writes) {
            clock::pause(GLANCE).await;
        }
    }

    /// The volume is ours. The record first: a stamp without it would forget whose copy this is.
    fn sign(&self, journal: &Journal) -> Result<(), LeaveError> {
        let (layout, owner) = (self.layout, self.owners.postgres);
        // Whoever was restored has no parent.
        if journal.parent != journal.child {
            keep(&layout.forked_from(), journal, owner)?;
        }
        if let Some(target) = self.restore {
            keep(
                &layout.restored(),
                &Restored::new(&journal.child, target),
                owner,
            )?;
            fs::remove_if_present(&ConfFile::Pitr05.path(layout))?;
        }
        // Before the stamp: with both, the leaving of our own that was restored would begin anew.
        fs::remove_if_present(&layout.fetched())?;
        let stamp = format!("{}\n", journal.child);
        fs::write_atomic(&layout.stamp(), stamp.as_bytes(), 0o600, owner)?;
        fs::remove_if_present(&layout.fork_journal())?;
        Ok(())
    }
}

fn keep(path: &Path, record: &impl Serialize, owner: Account) -> Result<(), LeaveError> {
    let text = serde_json::to_string(record).map_err(|source| LeaveError::Torn {
        path: path.to_owned(),
        source,
    })?;
    Ok(fs::write_atomic(path, text.as_bytes(), 0o600, owner)?)
}

/// Shuts it down; nobody is connected but we were.
async fn end(postgres: &mut Running) -> Result<(), LeaveError> {
    for signal in [
        nix::sys::signal::Signal::SIGINT,
        nix::sys::signal::Signal::SIGQUIT,
    ] {
        let Some(pid) = postgres.pid() else {
            return Ok(());
        };
        if let Err(errno) = exec::signal(pid, signal) {
            tracing::error!("sending {signal} to Postgres ({pid}) failed: {errno}");
        }
        if let Some(ended) = clock::within(SHUTDOWN, postgres.wait()).await {
            ended?;
            return Ok(());
        }
    }
    Err(LeaveError::Ended(
        "it does not end; neither SIGINT nor SIGQUIT helped".to_owned(),
    ))
}
