//! Asking the other members before a machine opens for writes.

use thiserror::Error;

use crate::fx::exec::ExecError;
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::postgres::controldata::{ControlData, ControlDataError};
use crate::postgres::wal_end::WalEndError;
use crate::postgres::{cluster, wal_end};
use crate::replication::members::{Member, Members, Ours};
use crate::replication::upstream::{Upstream, UpstreamError};
use crate::settings::{Conninfo, Secret};
use crate::supervise::chain;
use crate::sys::user::Account;

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
}

impl Census<'_> {
    /// Whoever answers counts; who does not is no obstacle, or a cluster could never be switched on one
    /// machine at a time.
    pub(crate) async fn take(&self) -> Result<Members, CensusError> {
        let Self { layout, owner, .. } = *self;
        let ours = match self.cluster {
            true => Some(self.ours().await?),
            false => None,
        };
        // It is made by the first step of the boot, and this comes before.
        fs::make_dir(&layout.run_dir(), 0o755, Account::root())?;
        let (upstream, _pass) = Upstream::of_writer(layout, owner, self.members, self.password)?;
        let answers = upstream.everybody(layout, owner).await;
        Ok(Members {
            ours,
            others: answers.into_iter().filter_map(heard).collect(),
        })
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
