//! Asking the other members before a machine opens for writes.

use thiserror::Error;

use crate::fx::exec::ExecError;
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::postgres::controldata::{ControlData, ControlDataError};
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
        let (primary, standby) = tokio::join!(
            upstream.primary(layout, owner),
            upstream.standby(layout, owner)
        );
        let others = [heard("writes", primary), heard("follows", standby)];
        Ok(Members {
            ours,
            others: others.into_iter().flatten().collect(),
        })
    }

    async fn ours(&self) -> Result<Ours, CensusError> {
        let text = cluster::controldata(self.layout, self.owner).run().await?;
        let control = ControlData::parse(&text)?;
        Ok(Ours {
            system_id: control.system_id.to_string(),
            timeline: control.timeline.max(self.promoted_to.unwrap_or(0)),
        })
    }
}

fn heard(what: &str, answer: Result<Member, UpstreamError>) -> Option<Member> {
    match answer {
        Ok(member) => {
            tracing::info!(
                "instance {} of this cluster {what}, on timeline {}",
                member.name(),
                member.timeline
            );
            Some(member)
        }
        Err(error) => {
            tracing::info!(
                "no other member of this cluster that {what}: {}",
                chain(&error)
            );
            None
        }
    }
}
