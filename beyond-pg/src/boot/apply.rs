//! Doing the steps on disk: one match, one effect each.

use thiserror::Error;

use crate::archive::window::Window;
use crate::boot::facts::Owners;
use crate::boot::gap::base::{self, BaseError};
use crate::boot::step::DiskStep;
use crate::fork::Journal;
use crate::fx::exec::ExecError;
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::postgres::controldata::{ControlData, ControlDataError};
use crate::replication::marks;
use crate::replication::seed::{SeedError, Seeding};
use crate::replication::upstream::{STANDBY, Upstream};
use crate::settings::RestoreTarget;
use crate::tls::install::{self, InstallError};

#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    ControlData(#[from] ControlDataError),
    #[error(transparent)]
    Seed(#[from] SeedError),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error("no backup was fetched, and nothing was changed: {0}")]
    Infeasible(String),
    #[error("packing the journal of a fork")]
    Journal(#[from] serde_json::Error),
}

/// What the steps work on.
#[derive(Clone)]
pub(crate) struct Disk<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) owners: Owners,
    /// Seconds since 1970, for the certificate.
    pub(crate) now: i64,
    /// Told why a step takes so long, and nothing when it does not any more.
    pub(crate) say: &'a dyn Fn(Option<String>),
    /// How far a backup will have to be recovered.
    pub(crate) restore: Option<&'a RestoreTarget>,
}

/// For whoever has nobody to tell: the log has it, too.
pub(crate) fn unheard(_words: Option<String>) {}

impl ApplyError {
    pub(crate) fn is_out_of_space(&self) -> bool {
        match self {
            ApplyError::Fs(error) => error.is_out_of_space(),
            // One of our own goes to the volume as well.
            ApplyError::Install(InstallError::Fs(error)) => error.is_out_of_space(),
            ApplyError::Base(BaseError::Fs(error)) => error.is_out_of_space(),
            ApplyError::Exec(_)
            | ApplyError::Install(_)
            | ApplyError::Base(_)
            | ApplyError::ControlData(_)
            | ApplyError::Seed(_)
            | ApplyError::Infeasible(_)
            | ApplyError::Journal(_) => false,
        }
    }
}

impl Disk<'_> {
    /// Cut in the middle of any arm, the next boot's plan finds the same or a later state and goes on.
    pub(crate) async fn apply(&self, step: &DiskStep) -> Result<(), ApplyError> {
        let Disk {
            layout,
            owners,
            now,
            ..
        } = self;
        match step {
            // Repeatable: sets mode and owner of what is there.
            DiskStep::MakeDir(dir) => {
                fs::make_dir(&dir.path, dir.mode, owners.of(dir.owner))?;
            }
            // One rename; the target is a free name.
            DiskStep::SetAside { from, to } => fs::rename(from, to)?,
            // Repeatable: what is half removed is removed next time.
            DiskStep::DiscardStaging => {
                fs::remove_tree_if_present(&layout.initdb_staging())?;
                fs::remove_tree_if_present(&layout.backup_staging())?;
            }
            DiskStep::InitDb => self.init_db().await?,
            DiskStep::TakeBase { sink, base } => base::take(layout, *owners, sink, base).await?,
            DiskStep::FetchBackup => self.fetch_backup().await?,
            // One rename, onto nothing or an empty folder.
            DiskStep::MoveWal => fs::rename(&layout.pgdata().join("pg_wal"), &layout.wal())?,
            // One rename of a finished link.
            DiskStep::LinkWal => {
                fs::link(
                    &layout.wal(),
                    &layout.pgdata().join("pg_wal"),
                    owners.postgres,
                )?;
            }
            DiskStep::RemoveStalePid => {
                // Repeatable. A crash leaves both or, where the socket is in memory, the first.
                fs::remove_if_present(&layout.postmaster_pid())?;
                fs::remove_if_present(&layout.socket_lock())?;
            }
            DiskStep::Write { file, text } => {
                let path = file.path(layout);
                fs::write_atomic(&path, text.as_bytes(), file.mode(), owners.postgres)?;
            }
            DiskStep::Remove(file) => fs::remove_if_present(&file.path(layout))?,
            DiskStep::CreateForUser(file) => {
                fs::create_if_absent(&file.path(layout), file.mode(), owners.postgres)?;
            }
            // Cut between its two files, the key does not match and both are redone.
            DiskStep::IssueCertificate { keep, .. } => {
                install::issue(layout, *owners, *now, *keep)?;
            }
            // One rename of a link to a finished folder.
            DiskStep::InstallCertificate { source, bundle } => {
                install::install(layout, *owners, *source, bundle)?;
            }
            // One file; cut before it, the next boot finds the same stamp.
            DiskStep::BeginFork { parent, child } => {
                let program = cluster::controldata(layout, owners.postgres);
                let journal = Journal {
                    parent: parent.clone(),
                    child: child.clone(),
                    timeline: ControlData::parse(&program.run().await?)?.timeline,
                };
                let text = serde_json::to_string(&journal)?;
                fs::write_atomic(
                    &layout.fork_journal(),
                    text.as_bytes(),
                    0o600,
                    owners.postgres,
                )?;
                // A copy of a standby's volume: it would follow for ever.
                fs::remove_if_present(&layout.standby_signal())?;
            }
            // Cut between the two, one without the other is made anew.
            DiskStep::DiscardCertificate => {
                fs::remove_if_present(&layout.self_signed_key())?;
                fs::remove_if_present(&layout.self_signed_cert())?;
            }
            DiskStep::EndFork => fs::remove_if_present(&layout.fork_journal())?,
            DiskStep::KeepPassword(line) => {
                let path = layout.passfile(STANDBY);
                let bytes = line.expose().as_bytes();
                fs::write_atomic(&path, bytes, 0o600, owners.postgres)?;
            }
            DiskStep::ForgetPassword => fs::remove_if_present(&layout.passfile(STANDBY))?,
            // One rename publishes it.
            DiskStep::BaseBackup(upstream) => self.seeding(upstream).base_backup().await?,
            // A journal says how far it came.
            DiskStep::Rejoin {
                upstream,
                copy,
                rewind,
            } => self.seeding(upstream).rejoin(*copy, *rewind).await?,
            DiskStep::Forget(mark) => marks::forget(layout, *mark)?,
            DiskStep::Stamp(instance) => {
                let text = format!("{instance}\n");
                fs::write_atomic(&layout.stamp(), text.as_bytes(), 0o600, owners.postgres)?;
            }
            DiskStep::ReleaseReserve { left } => fs::shrink(&layout.reserve(), *left)?,
            // One rename of a file that has all its blocks. It is root's, since only we use it.
            DiskStep::MakeReserve { bytes } => {
                fs::allocate(&layout.reserve(), *bytes, 0o600, owners.root)?;
            }
        }
        Ok(())
    }

    fn seeding<'b>(&'b self, upstream: &'b Upstream) -> Seeding<'b> {
        Seeding {
            layout: self.layout,
            owner: self.owners.postgres,
            upstream,
            say: self.say,
        }
    }

    /// All of initdb happens under another name; the rename publishes a cluster that is whole and on
    /// disk. Killed anywhere before it, there is still no PGDATA.
    async fn init_db(&self) -> Result<(), ApplyError> {
        let Disk { layout, owners, .. } = self;
        let staging = layout.initdb_staging();
        fs::remove_tree_if_present(&staging)?;
        fs::make_dir(&staging, 0o700, owners.postgres)?;
        cluster::initdb(layout, owners.postgres).run().await?;
        fs::sync_filesystem(&staging)?;
        fs::rename(&staging, &layout.pgdata())?;
        Ok(())
    }

    /// As with initdb, the rename publishes what is whole and on disk. What the backup is compared with stands
    /// in `backup`, which a process of its own does, so that no S3 client is in PID 1.
    async fn fetch_backup(&self) -> Result<(), ApplyError> {
        let Disk { layout, owners, .. } = self;
        if let Some(target) = self.restore {
            let window = cluster::restore_window(layout, owners.postgres)
                .run()
                .await?;
            let window: Window = serde_json::from_str(&window)?;
            tracing::info!("a restore to {target}; the window: {window}");
            if let Some(words) = window.objection(target) {
                return Err(ApplyError::Infeasible(words));
            }
        }
        let staging = layout.backup_staging();
        fs::remove_tree_if_present(&staging)?;
        fs::make_dir(&staging, 0o700, owners.postgres)?;
        cluster::fetch_backup(layout, owners.postgres, &staging)
            .run()
            .await?;
        fs::sync_filesystem(&staging)?;
        fs::rename(&staging, &layout.pgdata())?;
        Ok(())
    }
}
