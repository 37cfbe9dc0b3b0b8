//! Asking the other members before a machine opens for writes.

use std::time::Duration;

use thiserror::Error;

use crate::fx::clock;
use crate::fx::exec::ExecError;
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::postgres::controldata::{ControlData, ControlDataError};
use crate::postgres::wal_end::WalEndError;
use crate::postgres::{cluster, wal_end};
use crate::replication::members::{Member, Members, Ours};
use crate::replication::upstream::{Upstream, UpstreamError, slot_of};
use crate::settings::{Conninfo, Secret, StandbyName};
use crate::supervise::chain;
use crate::sys::user::Account;

/// How long a standby is waited for that never had a slot here. It waits for this machine, to be made from it; or its
/// slot is younger than the flush point that this volume fell back to, and it comes up soon.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub(crate) enum CensusError {
    #[error("looking at this volume's cluster before the other members are asked")]
    Exec(#[from] ExecError),
    #[error(transparent)]
    ControlData(#[from] ControlDataError),
    #[error(transparent)]
    End(#[from] WalEndError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// What is asked, and as whom.
pub(crate) struct Census<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) owner: Account,
    pub(crate) members: &'a Conninfo,
    pub(crate) password: &'a Secret,
    /// There is a cluster on this volume.
    pub(crate) cluster: bool,
    /// The timeline of a promotion that `pg_control` may not know of yet.
    pub(crate) promoted_to: Option<u32>,
    /// Whom commits waited for, any one of them: what one lacks another may have.
    pub(crate) standbys: Vec<StandbyName>,
    /// Told why it takes so long, and nothing when it does not any more.
    pub(crate) say: &'a dyn Fn(Option<String>),
}

impl Census<'_> {
    /// Whoever answers counts; who does not is no obstacle, or a cluster could never be switched on one machine at a
    /// time. But for a standby that may have what this volume lacks: one that had a slot here is waited for until it
    /// answers, or somebody is why not to write. On the timeline that both have, one that comes later would begin its
    /// segment again from this machine and write over what it alone has.
    pub(crate) async fn take(&self) -> Result<Members, CensusError> {
        let Self { layout, owner, .. } = *self;
        let ours = match self.cluster {
            true => Some(self.ours().await?),
            false => None,
        };
        let may_lack = ours.as_ref().is_some_and(|ours| !ours.clean);
        // It is made by the first step of the boot, and this comes before.
        fs::make_dir(&layout.run_dir(), 0o755, Account::root())?;
        let (upstream, _pass) = Upstream::of_writer(layout, owner, self.members, self.password)?;
        let patience = clock::now() + PATIENCE;
        let (mut told, mut awaited) = (None, Vec::new());
        loop {
            let (others, errors) = self.answers(&upstream).await;
            if told.as_ref() != Some(&others) {
                tell(&others, &errors);
                told = Some(others.clone());
            }
            let members = Members {
                ours: ours.clone(),
                others,
            };
            let silent = match may_lack && members.objection().is_none() {
                true => members.silent_of(&self.standbys),
                false => Vec::new(),
            };
            let had_slot = silent.iter().any(|name| self.has_slot(name));
            if !had_slot && (silent.is_empty() || clock::now() >= patience) {
                if !awaited.is_empty() {
                    self.ends_waiting(&silent);
                }
                return Ok(members);
            }
            if silent != awaited {
                self.waits_for(&silent);
                awaited = silent;
            }
            clock::pause(AGAIN).await;
        }
    }

    async fn answers(&self, upstream: &Upstream) -> (Vec<Member>, Vec<UpstreamError>) {
        let (mut others, mut errors) = (Vec::new(), Vec::new());
        for answer in upstream.everybody(self.layout, self.owner).await {
            match answer {
                Ok(member) => others.push(member),
                Err(error) => errors.push(error),
            }
        }
        (others, errors)
    }

    /// Commits would wait for a standby anyway. A control plane that knows better says so.
    fn waits_for(&self, silent: &[&str]) {
        let words = format!(
            "waiting for an answer of {}: this volume was not shut down, and if its host was lost, a standby may have what it lacks\n\
             HINT: start it, or promote one that runs. Should it be gone for good, boot this machine with BEYOND_PG_SYNC_STANDBYS without it: what it alone had is given up then",
            silent.join(" and of ")
        );
        tracing::warn!("{words}");
        (self.say)(Some(words));
    }

    fn ends_waiting(&self, silent: &[&str]) {
        if !silent.is_empty() {
            tracing::warn!(
                "no answer of {}, which has no slot here: this machine opens without",
                silent.join(" and of ")
            );
        }
        (self.say)(None);
    }

    fn has_slot(&self, name: &str) -> bool {
        let slots = self.layout.pgdata().join("pg_replslot");
        slots.join(slot_of(name)).is_dir()
    }

    async fn ours(&self) -> Result<Ours, CensusError> {
        let text = cluster::controldata(self.layout, self.owner).run().await?;
        let control = ControlData::parse(&text)?;
        let timeline = control.timeline.max(self.promoted_to.unwrap_or(0));
        let stream = wal_end::stream(&control, timeline)?;
        let end = wal_end::find(self.layout, &stream, &control)?;
        Ok(Ours {
            system_id: control.system_id.to_string(),
            timeline,
            clean: control.is_clean(),
            // A standby is sent whole pages, which may end in the middle of a record.
            end: end.bytes.max(end.records),
        })
    }
}

/// Who answers what, and who does not: ourselves among them, since nothing runs here yet.
fn tell(others: &[Member], errors: &[UpstreamError]) {
    for member in others {
        let what = if member.in_recovery {
            "follows"
        } else {
            "writes"
        };
        tracing::info!(
            "instance {} of this cluster {what}, on timeline {}",
            member.name(),
            member.timeline
        );
    }
    for error in errors {
        tracing::info!("a member of this cluster does not answer: {}", chain(error));
    }
}
