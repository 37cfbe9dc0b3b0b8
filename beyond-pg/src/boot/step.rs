//! What a boot does, as data: `Display` is the log line and the output of `boot --plan`.

use std::fmt;
use std::path::PathBuf;

use wire::sink::Base;

use crate::conf::ConfFile;
use crate::fork::Part;
use crate::hooks::Hook;
use crate::postgres::ensure::Ensure;
use crate::replication::seed::Rewind;
use crate::replication::standing::Mark;
use crate::replication::upstream::Upstream;
use crate::settings::{Secret, Sink, SinkAddress};
use crate::tls::pair::Bundle;
use crate::tls::source::TlsSource;

/// Everything one boot does, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Changes on disk. Empty on a volume that this image has booted before, on a machine of this size.
    pub(crate) disk: Vec<DiskStep>,
    /// What starts and checks the servers: the same on every boot.
    pub(crate) bring_up: Vec<BringUpStep>,
}

/// A change on disk. Each is atomic or safe to repeat; which, is said where it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DiskStep {
    MakeDir(Dir),
    /// A PGDATA without `global/pg_control` is moved out of the way, never deleted (facts C 50).
    SetAside {
        from: PathBuf,
        to: PathBuf,
    },
    /// What an initdb that was cut left behind.
    DiscardStaging,
    InitDb,
    /// The cluster that was on this volume before it fell back to nothing.
    TakeBase {
        sink: Box<Sink>,
        base: Box<Base>,
    },
    /// Instead of it: what a backup holds becomes the cluster. All else is planned from what is there then.
    FetchBackup,
    MoveWal,
    LinkWal,
    RemoveStalePid,
    Write {
        file: ConfFile,
        text: String,
    },
    Remove(ConfFile),
    CreateForUser(ConfFile),
    /// One of our own. `keep`: on the volume, whose files are not the user's.
    IssueCertificate {
        why: String,
        keep: bool,
    },
    /// Checked when it was seen, and installed as it was seen.
    InstallCertificate {
        source: TlsSource,
        bundle: Box<Bundle>,
    },
    Stamp(String),
    /// Before anything is written on a full volume.
    ReleaseReserve {
        left: u64,
    },
    /// Best effort.
    MakeReserve {
        bytes: u64,
    },
    /// Note whose copy this volume is, before anything else is done about it.
    BeginFork {
        parent: String,
        child: String,
    },
    /// The parent's key is the parent's.
    DiscardCertificate,
    /// The volume is ours; what the leaving kept is of no use any more.
    EndFork,
    /// On tmpfs, for as long as this machine follows.
    KeepPassword(Secret),
    /// It follows nobody any more.
    ForgetPassword,
    /// A cluster that follows, where there is none.
    BaseBackup(Upstream),
    /// The cluster that is there follows from now on.
    Rejoin {
        upstream: Upstream,
        /// It is a copy of another instance's volume.
        copy: bool,
        rewind: Option<Rewind>,
    },
    Forget(Mark),
}

/// Starting and checking. These change nothing that is already right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BringUpStep {
    /// What the sink has and this volume lacks.
    FillGap {
        sink: SinkAddress,
    },
    /// What this machine's own archive has and this volume lacks.
    CatchUp,
    /// A Postgres that nobody else can reach becomes one of our own.
    Leave(Part),
    Hook(Hook),
    StartPostgres,
    StartPooler,
    Ensure(Ensure),
    AwaitLogin,
}

/// A folder that must be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dir {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) owner: DirOwner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DirOwner {
    Root,
    Postgres,
}

impl DiskStep {
    /// The boot goes on without it.
    pub(crate) fn is_advisory(&self) -> bool {
        matches!(self, DiskStep::MakeReserve { .. })
    }
}

impl Plan {
    /// Steps of both kinds; what `--stop-after` counts.
    pub(crate) fn len(&self) -> usize {
        self.disk.len() + self.bring_up.len()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.disk.is_empty() {
            writeln!(f, "nothing to change on disk")?;
        }
        let total = self.len();
        let disk = self.disk.iter().map(ToString::to_string);
        let bring_up = self.bring_up.iter().map(ToString::to_string);
        for (index, step) in disk.chain(bring_up).enumerate() {
            writeln!(f, "{}/{total} {step}", index + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for DiskStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskStep::MakeDir(dir) => {
                write!(f, "make folder {} ({:03o})", dir.path.display(), dir.mode)
            }
            DiskStep::SetAside { from, to } => {
                write!(
                    f,
                    "set the half-made {} aside as {}",
                    from.display(),
                    to.display()
                )
            }
            DiskStep::DiscardStaging => write!(f, "discard what was cut while a cluster was made"),
            DiskStep::InitDb => write!(f, "initdb"),
            DiskStep::TakeBase { sink, base } => write!(
                f,
                "fetch the cluster from the sink {}, as of {}",
                sink.address, base.redo_lsn
            ),
            DiskStep::FetchBackup => write!(f, "fetch a backup, then plan again"),
            DiskStep::MoveWal => write!(f, "move pg_wal out of PGDATA"),
            DiskStep::LinkWal => write!(f, "link pg_wal"),
            DiskStep::RemoveStalePid => {
                write!(f, "remove the postmaster.pid of a machine that is gone")
            }
            DiskStep::Write { file, .. } => write!(f, "write {}", file.name()),
            DiskStep::Remove(file) => write!(f, "remove {}", file.name()),
            DiskStep::CreateForUser(file) => write!(f, "create {} for the user", file.name()),
            DiskStep::IssueCertificate { why, keep: true } => {
                write!(f, "issue a self-signed certificate: {why}")
            }
            DiskStep::IssueCertificate { why, keep: false } => {
                write!(f, "issue a self-signed certificate for this boot: {why}")
            }
            DiskStep::InstallCertificate { source, .. } => write!(f, "install {source}"),
            DiskStep::Stamp(instance) => write!(f, "stamp the volume as instance {instance}"),
            DiskStep::ReleaseReserve { left } => {
                let left = left >> 20;
                write!(
                    f,
                    "release the reserve file but for {left} MB: the volume is full"
                )
            }
            DiskStep::MakeReserve { bytes } => {
                write!(f, "make the reserve file ({} MB)", bytes >> 20)
            }
            DiskStep::BeginFork { parent, child } if parent == child => {
                write!(
                    f,
                    "note that instance {child} is restored to an earlier state"
                )
            }
            DiskStep::BeginFork { parent, child } => {
                write!(f, "note that instance {child} is a fork of {parent}")
            }
            DiskStep::DiscardCertificate => write!(f, "discard the parent's certificate and key"),
            DiskStep::EndFork => write!(f, "forget the journal of a fork that is over"),
            DiskStep::KeepPassword(_) => {
                write!(
                    f,
                    "put the replication password where Postgres reads it, on tmpfs"
                )
            }
            DiskStep::ForgetPassword => write!(f, "remove the replication password"),
            DiskStep::BaseBackup(_) => write!(f, "base backup from the primary"),
            DiskStep::Rejoin {
                rewind: Some(Rewind::Begun),
                ..
            } => write!(
                f,
                "replace what a rewind that was cut left by a base backup"
            ),
            DiskStep::Rejoin {
                rewind: Some(Rewind::Done),
                ..
            } => write!(f, "follow the primary after a rewind"),
            DiskStep::Rejoin { copy: true, .. } => {
                write!(f, "follow the primary from a copy of its volume")
            }
            DiskStep::Rejoin { .. } => write!(f, "rejoin the cluster: rewind to the primary"),
            DiskStep::Forget(Mark::Promoted) => {
                write!(f, "forget a promotion that the metadata knows of")
            }
            DiskStep::Forget(Mark::SyncStandbys) => {
                write!(f, "forget standby names that the metadata has replaced")
            }
        }
    }
}

impl fmt::Display for BringUpStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BringUpStep::FillGap { sink } => {
                write!(f, "fetch from the sink {sink} what this volume lacks")
            }
            BringUpStep::CatchUp => write!(f, "fetch from the archive what this volume lacks"),
            BringUpStep::Leave(part) => write!(f, "fork: {part}"),
            BringUpStep::Hook(hook) => write!(f, "run hook {hook}"),
            BringUpStep::StartPostgres => write!(f, "start Postgres"),
            BringUpStep::StartPooler => write!(f, "start PgBouncer"),
            BringUpStep::Ensure(item) => write!(f, "{item}"),
            BringUpStep::AwaitLogin => write!(f, "log in as a client would"),
        }
    }
}
