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
use crate::replication::upstream::{Upstream, UpstreamError};
use crate::settings::{Conninfo, Secret, StandbyName};
use crate::supervise::chain;
use crate::sys::user::Account;

/// How long a primary that may have lost its host waits for its standbys; machines that went down together come
/// up together.
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
    pub(crate) standbys: Vec<&'a StandbyName>,
    /// Told why it takes so long, and nothing when it does not any more.
    pub(crate) say: &'a dyn Fn(Option<String>),
}

impl Census<'_> {
    /// Whoever answers counts; a standby that does not is no obstacle for long, or a cluster could never be switched
    /// on one machine at a time.
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
        let mut patience = clock::now() + PATIENCE;
        let mut awaited = Vec::new();
        loop {
            let answers = upstream.everybody(layout, owner).await;
            let members = Members {
                ours: ours.clone(),
                others: answers.into_iter().filter_map(heard).collect(),
            };
            let silent = match may_lack && members.objection().is_none() {
                true => members.silent_of(&self.standbys),
                false => Vec::new(),
            };
            if silent.is_empty() || clock::now() >= patience {
                if !awaited.is_empty() {
                    self.ends_waiting(&silent);
                }
                return Ok(members);
            }
            if silent != awaited {
                self.waits_for(&silent);
                awaited = silent;
                // Where one comes up, the next may.
                patience = clock::now() + PATIENCE;
            }
            clock::pause(AGAIN).await;
        }
    }

    /// Commits would wait for a standby anyway, so this costs reads alone.
    fn waits_for(&self, silent: &[&str]) {
        let words = format!(
            "waiting up to {} s for an answer of {}: this volume was not shut down, and a standby may have what it lacks\n\
             HINT: start it",
            PATIENCE.as_secs(),
            silent.join(" and of ")
        );
        tracing::warn!("{words}");
        (self.say)(Some(words));
    }

    fn ends_waiting(&self, silent: &[&str]) {
        if !silent.is_empty() {
            let names = silent.join(" and ");
            tracing::error!(
                "no answer of {names}, and this machine opens without: if its host was lost, what was acknowledged since the flush point of its volume may be there alone\n\
                 HINT: before {names} is started, compare its WAL with this machine's"
            );
        }
        (self.say)(None);
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

fn heard(answer: Result<Member, UpstreamError>) -> Option<Member> {
    match answer {
        Ok(member) => {
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
            Some(member)
        }
        // Ourselves among them: nothing runs here yet.
        Err(error) => {
            tracing::info!(
                "a member of this cluster does not answer: {}",
                chain(&error)
            );
            None
        }
    }
}
