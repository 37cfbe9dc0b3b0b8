//! Settings, machine and facts in; an ordered list of steps, or a refusal that touches nothing, out.

use std::borrow::Cow;
use std::path::PathBuf;

use thiserror::Error;

use crate::boot::facts::{Facts, FileState, Pgdata, WalDir, WalLink, wanted_dirs};
use crate::boot::step::{DiskStep, Plan};
use crate::conf::{self, ConfFile, ConfInputs, Owner};
use crate::fork::Belonging;
use crate::layout::{Layout, MAJOR};
use crate::machine::Machine;
use crate::manifest::Manifest;
use crate::replication::members::Objection;
use crate::settings::{Settings, Tier};
use crate::tls::source::{Offer, Serve, TlsFacts};

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
    #[error(
        "{pgdata} follows a primary, and this machine was asked to be tier {tier}. Nothing was changed.\n\
         HINT: boot it as tier replica and ask it to `promote`; a volume that nobody promoted may lack commits"
    )]
    Follows { pgdata: PathBuf, tier: Tier },
    #[error(transparent)]
    Member(#[from] Objection),
    #[error(
        "a restore target is set and {pgdata} holds no cluster to restore. Nothing was changed.\n\
         HINT: boot on a snapshot that is older than the target, name an archive in BEYOND_PG_RESTORE_FROM, or leave the target out to start an empty database"
    )]
    NothingToRestore { pgdata: PathBuf },
    #[error(
        "a restore target is set without {0}. Nothing was changed.\n\
         HINT: set it; a restore reads the archive of the instance that the volume is stamped for"
    )]
    RestoreWithout(&'static str),
}

impl Boot<'_> {
    pub(crate) fn plan(&self, facts: &Facts) -> Result<Plan, Refusal> {
        self.check_standing(facts)?;
        self.check_restore(facts)?;
        let (making, wal) = self.cluster(facts)?;
        let fetches = making.contains(&DiskStep::FetchBackup);
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

        if fetches {
            let disk = self
                .release_reserve(facts)
                .into_iter()
                .chain(outside)
                .chain(making);
            return Ok(Plan {
                disk: disk.collect(),
                bring_up: Vec::new(),
            });
        }
        let disk = self
            .release_reserve(facts)
            .into_iter()
            .chain(outside)
            .chain(self.passfile(facts))
            .chain(making)
            .chain(wal)
            .chain(inside)
            .chain(self.stale_pid(facts))
            .chain(self.rejoin(facts))
            .chain(self.fork(facts))
            .chain(serve(&self.tls(facts)))
            .chain(
                ConfFile::ALL
                    .into_iter()
                    .filter_map(|file| self.conf(file, facts)),
            )
            .chain(self.stamp(facts))
            .chain(facts.stale_marks.iter().copied().map(DiskStep::Forget))
            .chain(Self::make_reserve(facts))
            .collect();
        Ok(Plan {
            disk,
            bring_up: self.bring_up(facts),
        })
    }

    /// What there is to choose a certificate from: not what the parent issued for itself.
    fn tls<'f>(&self, facts: &'f Facts) -> Cow<'f, TlsFacts> {
        if self.joins(facts) {
            // What is there is another machine's, or will be replaced by it.
            return Cow::Owned(TlsFacts {
                own: Offer::Nothing,
                ..facts.tls.clone()
            });
        }
        match self.belonging(facts) {
            Belonging::CopyOf {
                parent,
                ours,
                begun: false,
            } if !facts.tls.user_manages() && parent != ours => Cow::Owned(TlsFacts {
                own: Offer::Nothing,
                ..facts.tls.clone()
            }),
            _ => Cow::Borrowed(&facts.tls),
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
                let of_a_backup = facts.seeding || facts.rewind.is_some();
                if facts.wal_dir == WalDir::Filled && !(of_a_backup && self.upstream().is_some()) {
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
                if let Some(upstream) = self.upstream() {
                    // Its WAL arrives in its place.
                    making.push(DiskStep::BaseBackup(upstream));
                    return Ok((making, Vec::new()));
                }
                if self.settings.restore_from.is_some() {
                    making.push(DiskStep::FetchBackup);
                    return Ok((making, Vec::new()));
                }
                making.push(self.make_cluster(facts));
                Ok((making, vec![DiskStep::MoveWal, DiskStep::LinkWal]))
            }
        }
    }

    fn make_cluster(&self, facts: &Facts) -> DiskStep {
        match (&self.settings.sink, &facts.base) {
            (Some(sink), Some(base)) => DiskStep::TakeBase {
                sink: Box::new(sink.clone()),
                base: Box::new(base.clone()),
            },
            _ => DiskStep::InitDb,
        }
    }

    /// Whether the sink has to be asked for a cluster before one is made here. Whatever is refused
    /// without it is refused first.
    pub(crate) fn asks_for_cluster(&self, facts: &Facts) -> bool {
        let none = matches!(facts.pgdata, Pgdata::Absent { .. } | Pgdata::HalfMade);
        none && self.settings.sink.is_some() && self.plan(facts).is_ok()
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
        let anew = facts.pgdata != Pgdata::Cluster || self.joins(facts);
        anew && path.starts_with(self.layout.pgdata())
    }

    fn stale_pid(&self, facts: &Facts) -> Option<DiskStep> {
        let stale = facts.postmaster_pid && self.holds_volume && facts.pgdata == Pgdata::Cluster;
        stale.then_some(DiskStep::RemoveStalePid)
    }

    /// First of all, so that what follows can be written.
    fn release_reserve(&self, facts: &Facts) -> Option<DiskStep> {
        let left = facts.volume.reserve_after_a_release()?;
        self.holds_volume
            .then_some(DiskStep::ReleaseReserve { left })
    }

    /// Last of all: on a volume that is small, the database comes first.
    fn make_reserve(facts: &Facts) -> Option<DiskStep> {
        let bytes = facts.volume.reserve_to_make()?;
        Some(DiskStep::MakeReserve { bytes })
    }

    /// What makes one file as it should be, if it is not.
    pub(crate) fn conf(&self, file: ConfFile, facts: &Facts) -> Option<DiskStep> {
        let remade = self.is_remade(facts, &file.path(self.layout));
        let now = match facts.files.get(&file) {
            Some(state) if !remade => state,
            _ => &FileState::Absent,
        };
        match file.owner() {
            Owner::User => match now {
                FileState::Absent => Some(DiskStep::CreateForUser(file)),
                FileState::Present { .. } => None,
            },
            Owner::Image => write_or_remove(file, file.render(&self.conf_inputs(facts)), now),
        }
    }

    fn conf_inputs<'b>(&'b self, facts: &'b Facts) -> ConfInputs<'b> {
        ConfInputs {
            settings: self.settings,
            machine: *self.machine,
            volume_bytes: facts.volume.total,
            preload: &facts.preload,
            client_ca: facts.tls.choose().has_client_ca(),
            restores: self.restores(facts).is_some(),
            layout: self.layout,
        }
    }

    fn instance(&self) -> Option<String> {
        Some(self.settings.instance_id.as_ref()?.as_str().to_owned())
    }

    fn stamp(&self, facts: &Facts) -> Option<DiskStep> {
        let ours = self.instance()?;
        let stamped =
            facts.stamp.is_some() && facts.pgdata == Pgdata::Cluster && !self.joins(facts);
        (!stamped).then_some(DiskStep::Stamp(ours))
    }
}

fn write_or_remove(file: ConfFile, wanted: Option<String>, now: &FileState) -> Option<DiskStep> {
    match (wanted, now) {
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
    }
}

/// What a running machine does about its certificate: the choice that a boot would make. Installed
/// first, then named: every installation has all the files that any configuration names.
pub(crate) fn certificate(layout: &Layout, tls: &TlsFacts, conf: &FileState) -> Vec<DiskStep> {
    let text = conf::tls_text(layout, tls.choose().has_client_ca());
    serve(tls)
        .into_iter()
        .chain(write_or_remove(ConfFile::Tls06, Some(text), conf))
        .collect()
}

fn serve(tls: &TlsFacts) -> Option<DiskStep> {
    match tls.choose().serve {
        Serve::Installed(_) => None,
        Serve::Install(source, bundle) => Some(DiskStep::InstallCertificate {
            source,
            bundle: Box::new(bundle.clone()),
        }),
        Serve::Issue => Some(DiskStep::IssueCertificate {
            why: tls.why_issued(),
            keep: !tls.user_manages(),
        }),
    }
}

#[path = "plan_bring_up.rs"]
mod bring_up;
#[path = "plan_copies.rs"]
mod copies;
#[path = "plan_standing.rs"]
mod standing;

#[cfg(test)]
#[path = "plan_tests/mod.rs"]
mod tests;
