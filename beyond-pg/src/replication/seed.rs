//! Making a volume a standby's: by a base backup, from a copy of the primary's volume, or by rewinding what
//! was the primary itself.
//!
//! A base backup arrives under another name and is published by one rename, as initdb's cluster is. A
//! rewind works in place, so a journal outside of PGDATA is written before it: a folder that pg_rewind was
//! cut in is of no use to anybody, and is replaced by a base backup.
//!
//! ```text
//!   no journal ──► Begun ── pg_rewind ──► Done ──► standby.signal, journal gone
//!                    │ cut, or it failed
//!                    ▼
//!                base backup
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::conf;
use crate::fx::clock;
use crate::fx::exec::ExecError;
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::postgres::controldata::{ControlData, ControlDataError};
use crate::replication::members::Member;
use crate::replication::upstream::{Upstream, UpstreamError};
use crate::supervise::chain;
use crate::sys::user::Account;

/// Between two tries to reach the primary.
const AGAIN: Duration = Duration::from_secs(1);

/// How far a rewind has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rewind {
    /// PGDATA is changed by pg_rewind, or was half changed by one that was cut.
    Begun,
    /// It is whole, and has yet to be made a standby's.
    Done,
}

#[derive(Debug, Error)]
pub(crate) enum SeedError {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    ControlData(#[from] ControlDataError),
    #[error("listing {path}")]
    List { path: PathBuf, source: io::Error },
    #[error("packing the journal of a rewind")]
    Journal(#[from] serde_json::Error),
    #[error(
        "the primary, instance {instance}, holds the cluster {theirs}, and this volume {ours}. Nothing was changed.\n\
         HINT: give this replica an empty volume or a copy of its primary's, or name its own primary in BEYOND_PG_PRIMARY_CONNINFO"
    )]
    Foreign {
        instance: String,
        theirs: String,
        ours: String,
    },
    #[error(
        "this volume is on timeline {ours}, which is later than the {theirs} of the primary that it shall follow, instance {instance}. Nothing was changed.\n\
         HINT: this one was promoted last; let it be the primary, or give it an empty volume, which gives up what only it has"
    )]
    Later {
        instance: String,
        theirs: u32,
        ours: u32,
    },
    #[error(
        "this volume was written to on timeline {timeline}, which the primary that it shall follow, instance {instance}, writes to as well. Nothing was changed.\n\
         HINT: which of the two has the commits that count nobody can tell from here; compare them with pg_waldump, or give this machine an empty volume, which gives up what only it has"
    )]
    SameTimeline { instance: String, timeline: u32 },
}

impl SeedError {
    /// The primary cannot be asked or went away, which may pass.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Upstream(_) | Self::Exec(_))
    }
}

/// What seeding works with.
#[derive(Clone, Copy)]
pub(crate) struct Seeding<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) owner: Account,
    pub(crate) upstream: &'a Upstream,
    /// Told why it takes so long, and nothing when it does not any more.
    pub(crate) say: &'a dyn Fn(Option<String>),
}

type Done = Result<(), SeedError>;

impl Seeding<'_> {
    /// A base backup where there is no cluster, tried until the primary has given one.
    pub(crate) async fn base_backup(&self) -> Done {
        let mut said = String::new();
        loop {
            match self.try_base_backup().await {
                Err(error) if error.may_pass() => self.wait(&error, &mut said).await,
                ended => {
                    (self.say)(None);
                    return ended;
                }
            }
        }
    }

    async fn try_base_backup(&self) -> Done {
        let Self {
            layout,
            owner,
            upstream,
            ..
        } = *self;
        let primary = upstream.primary(layout, owner).await?;
        upstream.make_slot(layout, owner, &primary).await?;
        let staging = layout.seed_staging();
        // The staging folder says whose WAL that is: it goes last, and comes first.
        fs::remove_tree_if_present(&layout.wal())?;
        fs::remove_tree_if_present(&staging)?;
        fs::make_dir(&staging, 0o700, owner)?;
        fs::remove_if_present(&layout.rewind_journal())?;
        fs::remove_tree_if_present(&layout.discarded())?;
        tracing::info!("base backup from instance {}", primary.name());
        upstream.base_backup(layout, owner).run().await?;
        self.make_standby(&staging)?;
        fs::sync_filesystem(&staging)?;
        fs::rename(&staging, &layout.pgdata())?;
        Ok(())
    }

    /// Makes the cluster that is there follow the primary. `copy`: it is another instance's, not this
    /// machine's own.
    pub(crate) async fn rejoin(&self, copy: bool, rewind: Option<Rewind>) -> Done {
        match rewind {
            Some(Rewind::Begun) => return self.replace().await,
            Some(Rewind::Done) => return self.end_rewind(),
            None => {}
        }
        let primary = self.await_primary().await?;
        let control = cluster::controldata(self.layout, self.owner).run().await?;
        let control = ControlData::parse(&control)?;
        if let Some(refusal) = objection(&primary, &control, copy) {
            return Err(refusal);
        }
        if primary.timeline == control.timeline {
            // A copy of the primary's volume: what it has is a part of the primary's WAL.
            return self.make_standby(&self.layout.pgdata());
        }
        self.note(Rewind::Begun)?;
        tracing::info!(
            "rewinding timeline {} to where instance {} left it for timeline {}",
            control.timeline,
            primary.name(),
            primary.timeline
        );
        match self.upstream.rewind(self.layout, self.owner).run().await {
            // It recovers an unclean volume before it looks, which writes a checkpoint that the primary has not got. Of
            // a volume that ends before the fork it then says that nothing is to be rewound, and leaves it.
            Ok(_words) if !control.is_clean() && !self.layout.backup_label().exists() => {
                tracing::warn!(
                    "this volume's WAL ends before instance {} left timeline {}, and was gone on with when it was recovered: a base backup replaces its cluster",
                    primary.name(),
                    control.timeline
                );
                self.replace().await
            }
            Ok(_words) => {
                fs::sync_filesystem(&self.layout.pgdata())?;
                self.note(Rewind::Done)?;
                self.end_rewind()
            }
            Err(error) => {
                tracing::error!(
                    "pg_rewind failed, so a base backup replaces this volume's cluster: {}",
                    chain(&error)
                );
                self.replace().await
            }
        }
    }

    fn end_rewind(&self) -> Done {
        self.make_standby(&self.layout.pgdata())?;
        Ok(fs::remove_if_present(&self.layout.rewind_journal())?)
    }

    /// What pg_rewind left goes, and a base backup comes.
    async fn replace(&self) -> Done {
        let layout = self.layout;
        // With the staging folder there, WAL without a PGDATA is of a base backup that was cut.
        fs::make_dir(&layout.seed_staging(), 0o700, self.owner)?;
        fs::remove_tree_if_present(&layout.discarded())?;
        fs::rename(&layout.pgdata(), &layout.discarded())?;
        self.base_backup().await
    }

    async fn await_primary(&self) -> Result<Member, SeedError> {
        let mut said = String::new();
        loop {
            match self.find_primary().await {
                Err(error) if error.may_pass() => self.wait(&error, &mut said).await,
                ended => {
                    (self.say)(None);
                    return ended;
                }
            }
        }
    }

    async fn find_primary(&self) -> Result<Member, SeedError> {
        let (layout, owner) = (self.layout, self.owner);
        let primary = self.upstream.primary(layout, owner).await?;
        self.upstream.make_slot(layout, owner, &primary).await?;
        Ok(primary)
    }

    async fn wait(&self, error: &SeedError, said: &mut String) {
        let words = format!(
            "waiting for the primary: {}\nHINT: start it, or see whether BEYOND_PG_PRIMARY_CONNINFO and BEYOND_PG_REPLICATION_PASSWORD are its own",
            chain(error)
        );
        if words != *said {
            tracing::warn!("{words}");
            (self.say)(Some(words.clone()));
            *said = words;
        }
        clock::pause(AGAIN).await;
    }

    fn note(&self, rewind: Rewind) -> Done {
        let text = serde_json::to_vec(&rewind)?;
        fs::write_atomic(&self.layout.rewind_journal(), &text, 0o600, self.owner)?;
        Ok(())
    }

    /// Takes out what is another machine's and puts the signal in. Repeatable; the stamp goes last: it is what
    /// says that this has yet to be done.
    fn make_standby(&self, pgdata: &Path) -> Done {
        let beyond = pgdata.join("beyond");
        for name in [
            "server.crt",
            "server.key",
            ".user-managed",
            "fork.json",
            "forked-from.json",
            "restored.json",
            "unarchived.json",
            "last-good.json",
            "promoted.json",
            "sync-standbys.json",
        ] {
            fs::remove_if_present_in(&beyond, name)?;
        }
        for name in conf::image_files_in_confd() {
            fs::remove_if_present_in(&pgdata.join("conf.d"), name)?;
        }
        for slot in entries(&pgdata.join("pg_replslot"))? {
            fs::remove_tree_if_present(&slot)?;
        }
        fs::create_if_absent(&pgdata.join("standby.signal"), 0o600, self.owner)?;
        fs::remove_if_present_in(&beyond, "instance-id")?;
        Ok(())
    }
}

/// Why this volume cannot follow that primary.
fn objection(primary: &Member, control: &ControlData, copy: bool) -> Option<SeedError> {
    let instance = primary.name().to_owned();
    let (theirs, ours) = (primary.timeline, control.timeline);
    if primary.system_id != control.system_id.to_string() {
        return Some(SeedError::Foreign {
            instance,
            theirs: primary.system_id.clone(),
            ours: control.system_id.to_string(),
        });
    }
    if ours > theirs {
        return Some(SeedError::Later {
            instance,
            theirs,
            ours,
        });
    }
    let same = ours == theirs && !copy;
    same.then_some(SeedError::SameTimeline {
        instance,
        timeline: ours,
    })
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, SeedError> {
    let list = || {
        std::fs::read_dir(path)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    match list() {
        Ok(entries) => Ok(entries),
        Err(error) => {
            let error: io::Error = error;
            match error.kind() {
                io::ErrorKind::NotFound => Ok(Vec::new()),
                _ => Err(SeedError::List {
                    path: path.to_owned(),
                    source: error,
                }),
            }
        }
    }
}

#[cfg(test)]
#[path = "seed_tests.rs"]
mod tests;
