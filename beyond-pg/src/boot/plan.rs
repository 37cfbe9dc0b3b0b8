//! Settings, machine and facts in; an ordered list of steps, or a refusal that touches nothing, out.

use std::path::PathBuf;

use thiserror::Error;

use crate::boot::facts::{Facts, FileState, Pgdata, WalDir, WalLink, wanted_dirs};
use crate::boot::step::{BringUpStep, DiskStep, Plan};
use crate::conf::{ConfFile, ConfInputs, Owner, TlsPaths};
use crate::fork::{self, Belonging, Part};
use crate::hooks::Stage;
use crate::layout::{Layout, MAJOR};
use crate::machine::Machine;
use crate::manifest::Manifest;
use crate::postgres::ensure::{Ensure, MAINTENANCE_DATABASE};
use crate::settings::Settings;
use crate::tls::source::TlsSource;

/// What a boot knows besides the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Boot<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) machine: &'a Machine,
    pub(crate) manifest: &'a Manifest,
    pub(crate) layout: &'a Layout,
    /// This process holds the volume, so no postmaster runs on it.
    pub(crate) holds_volume: bool,
}

/// Why this volume is not booted. Nothing on it was changed.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    #[error(
        "{path} belongs to PostgreSQL {found}; this image is PostgreSQL {MAJOR}. Nothing was changed.\n\
         HINT: boot it with an image of version {found}, or move the data with pg_upgrade or dump and restore"
    )]
    OtherMajor { path: PathBuf, found: String },
    #[error(
        "{path} has a global/pg_control but no PG_VERSION. Nothing was changed.\n\
         HINT: it is a damaged cluster; if nothing else is missing, write {MAJOR} into PG_VERSION, else restore a snapshot"
    )]
    NoVersion { path: PathBuf },
    #[error(
        "the cluster in {pgdata} has no WAL: {wal} is missing or empty. Nothing was changed.\n\
         HINT: reattach the volume that holds the WAL, or restore a snapshot"
    )]
    WalMissing { pgdata: PathBuf, wal: PathBuf },
    #[error(
        "WAL lies both in {inside} and in {wal}, and which is the cluster's cannot be told. Nothing was changed.\n\
         HINT: compare them with pg_waldump and move the wrong one off the volume"
    )]
    TwoWals { inside: PathBuf, wal: PathBuf },
    #[error(
        "{wal} holds WAL but there is no cluster in {pgdata}. Nothing was changed.\n\
         HINT: restore the PGDATA it belongs to, or move it off the volume to start an empty database"
    )]
    WalWithoutCluster { pgdata: PathBuf, wal: PathBuf },
    #[error("{0}")]
    Unsupported(String),
}

impl Boot<'_> {
    pub(crate) fn plan(&self, facts: &Facts) -> Result<Plan, Refusal> {
        self.check_supported()?;
        let (making, wal) = self.cluster(facts)?;
        let layout = self.layout;
        let missing: Vec<DiskStep> = wanted_dirs(layout)
            .into_iter()
            .filter(|dir| !facts.dirs.contains(&dir.path) || self.is_remade(facts, &dir.path))
            .map(DiskStep::MakeDir)
            .collect();
        // Folders within PGDATA come after it.
        let (inside, outside): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|step| match step {
                DiskStep::MakeDir(dir) => dir.path.starts_with(layout.pgdata()),
                _ => false,
            });

        let disk = outside
            .into_iter()
            .chain(making)
            .chain(wal)
            .chain(inside)
            .chain(self.stale_pid(facts))
            .chain(self.fork(facts))
            .chain(
                ConfFile::ALL
                    .into_iter()
                    .filter_map(|file| self.conf(file, facts)),
            )
            .chain(self.certificate(facts))
            .chain(self.stamp(facts))
            .collect();
        Ok(Plan {
            disk,
            bring_up: self.bring_up(facts),
        })
    }

    fn check_supported(&self) -> Result<(), Refusal> {
        let unsupported = self.settings.not_yet_supported();
        if unsupported.is_empty() {
            return Ok(());
        }
        let words: Vec<String> = unsupported.iter().map(ToString::to_string).collect();
        Err(Refusal::Unsupported(words.join("\n")))
    }

    /// Whose this volume is. One without a cluster is nobody's.
    fn belonging(&self, facts: &Facts) -> Belonging {
        let ours = self.instance();
        match facts.pgdata {
            Pgdata::Cluster => {
                fork::belonging(facts.stamp.as_deref(), ours.as_deref(), facts.fork.as_ref())
            }
            _ => Belonging::Ours,
        }
    }

    /// What has to be on disk before a fork can leave its parent.
    fn fork(&self, facts: &Facts) -> Vec<DiskStep> {
        match self.belonging(facts) {
            Belonging::Ours => Vec::new(),
            Belonging::OursAtLast => vec![DiskStep::EndFork],
            Belonging::CopyOf { begun: true, .. } => Vec::new(),
            // The certificate goes first: with the journal there, it is a new one already.
            Belonging::CopyOf {
                parent,
                ours: child,
                begun: false,
            } => vec![
                DiskStep::DiscardCertificate,
                DiskStep::BeginFork { parent, child },
            ],
        }
    }

    /// The steps that make a cluster where there is none, and those that put its WAL in place.
    fn cluster(&self, facts: &Facts) -> Result<(Vec<DiskStep>, Vec<DiskStep>), Refusal> {
        let path = self.layout.pgdata();
        match &facts.pgdata {
            Pgdata::OtherMajor(found) => Err(Refusal::OtherMajor {
                path,
                found: found.clone(),
            }),
            Pgdata::NoVersion => Err(Refusal::NoVersion { path }),
            Pgdata::Cluster => {
                let leftover = facts.staging.then_some(DiskStep::DiscardStaging);
                Ok((leftover.into_iter().collect(), self.wal(facts)?))
            }
            Pgdata::Absent { .. } | Pgdata::HalfMade => {
                if facts.wal_dir == WalDir::Filled {
                    return Err(Refusal::WalWithoutCluster {
                        pgdata: path,
                        wal: self.layout.wal(),
                    });
                }
                let mut making = Vec::new();
                if facts.pgdata == Pgdata::HalfMade {
                    let to = facts.aside.clone();
                    making.push(DiskStep::SetAside { from: path, to });
                }
                making.extend(facts.staging.then_some(DiskStep::DiscardStaging));
                making.push(DiskStep::InitDb);
                Ok((making, vec![DiskStep::MoveWal, DiskStep::LinkWal]))
            }
        }
    }

    fn wal(&self, facts: &Facts) -> Result<Vec<DiskStep>, Refusal> {
        let wal = self.layout.wal();
        match (&facts.wal_link, facts.wal_dir) {
            (WalLink::Linked, WalDir::Filled) => Ok(Vec::new()),
            // A link that leads to files is somebody's decision (a second disk): it stays.
            (WalLink::Elsewhere { exists: true, .. }, _) => Ok(Vec::new()),
            (WalLink::Inside, WalDir::Absent | WalDir::Empty) => {
                Ok(vec![DiskStep::MoveWal, DiskStep::LinkWal])
            }
            (WalLink::Inside, WalDir::Filled) => Err(Refusal::TwoWals {
                inside: self.layout.pgdata().join("pg_wal"),
                wal,
            }),
            // The boot before was cut between the move and the link.
            (WalLink::Missing | WalLink::Elsewhere { exists: false, .. }, WalDir::Filled) => {
                Ok(vec![DiskStep::LinkWal])
            }
            (
                WalLink::Linked | WalLink::Missing | WalLink::Elsewhere { exists: false, .. },
                WalDir::Absent | WalDir::Empty,
            ) => Err(Refusal::WalMissing {
                pgdata: self.layout.pgdata(),
                wal,
            }),
        }
    }

    /// Whether this path lies in a PGDATA that the plan makes anew.
    fn is_remade(&self, facts: &Facts, path: &std::path::Path) -> bool {
        facts.pgdata != Pgdata::Cluster && path.starts_with(self.layout.pgdata())
    }

    fn stale_pid(&self, facts: &Facts) -> Option<DiskStep> {
        let stale = facts.postmaster_pid && self.holds_volume && facts.pgdata == Pgdata::Cluster;
        stale.then_some(DiskStep::RemoveStalePid)
    }

    fn certificate(&self, facts: &Facts) -> Option<DiskStep> {
        let parents = matches!(
            self.belonging(facts),
            Belonging::CopyOf { begun: false, .. }
        ) && facts.tls.source() == TlsSource::SelfSigned;
        let why = match facts.tls.renewal() {
            Some(flaw) => flaw.to_string(),
            None if parents => "it is the parent's".to_owned(),
            None => return None,
        };
        Some(DiskStep::IssueCertificate { why })
    }

    fn conf(&self, file: ConfFile, facts: &Facts) -> Option<DiskStep> {
        let remade = self.is_remade(facts, &file.path(self.layout));
        let now = match facts.files.get(&file) {
            Some(state) if !remade => state,
            _ => &FileState::Absent,
        };
        let tls = facts.tls.source().paths(self.layout);
        match file.owner() {
            Owner::User => match now {
                FileState::Absent => Some(DiskStep::CreateForUser(file)),
                FileState::Present { .. } => None,
            },
            Owner::Image => match (file.render(&self.conf_inputs(facts, &tls)), now) {
                (
                    Some(wanted),
                    FileState::Present {
                        text,
                        right_mode_and_owner: true,
                    },
                ) if wanted == *text => None,
                (Some(text), _) => Some(DiskStep::Write { file, text }),
                (None, FileState::Present { .. }) => Some(DiskStep::Remove(file)),
                (None, FileState::Absent) => None,
            },
        }
    }

    fn conf_inputs<'b>(&'b self, facts: &'b Facts, tls: &'b TlsPaths) -> ConfInputs<'b> {
        ConfInputs {
            settings: self.settings,
            machine: *self.machine,
            volume_bytes: facts.volume_bytes,
            preload: &facts.preload,
            tls,
            layout: self.layout,
        }
    }

    fn instance(&self) -> Option<String> {
        Some(self.settings.instance_id.as_ref()?.as_str().to_owned())
    }

    fn stamp(&self, facts: &Facts) -> Option<DiskStep> {
        let ours = self.instance()?;
        let stamped = facts.stamp.is_some() && facts.pgdata == Pgdata::Cluster;
        (!stamped).then_some(DiskStep::Stamp(ours))
    }

    fn bring_up(&self, facts: &Facts) -> Vec<BringUpStep> {
        let database = &self.settings.database;
        let mut ensure = vec![Ensure::SuperuserPassword, Ensure::PoolerAccess];
        if database != MAINTENANCE_DATABASE {
            ensure.push(Ensure::Database(database.clone()));
        }
        ensure.extend(self.manifest.extensions.iter().filter_map(|extension| {
            Some(Ensure::Extension {
                database: extension.database.as_ref().unwrap_or(database).clone(),
                available: facts.extensions.get(&extension.name)?.clone(),
                extension: extension.clone(),
            })
        }));
        let hooks = |stage| {
            let of_stage = facts.hooks.iter().filter(move |hook| hook.stage == stage);
            of_stage.cloned().map(BringUpStep::Hook)
        };
        let leave: &[Part] = match self.belonging(facts) {
            Belonging::CopyOf { .. } => &Part::ALL,
            Belonging::Ours | Belonging::OursAtLast => &[],
        };
        leave
            .iter()
            .copied()
            .map(BringUpStep::Leave)
            .chain(hooks(Stage::PreStart))
            .chain([BringUpStep::StartPostgres, BringUpStep::StartPooler])
            .chain(ensure.into_iter().map(BringUpStep::Ensure))
            .chain(hooks(Stage::PostStart))
            .chain([BringUpStep::AwaitLogin])
            .collect()
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
