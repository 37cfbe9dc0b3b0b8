//! What a boot has to ask of others before it can plan: the members of its cluster, and its sink.

use super::Observed;
use crate::boot::facts::Pgdata;
use crate::boot::gap::{Filling, GapError};
use crate::layout::Layout;
use crate::replication::census::{Census, CensusError};
use crate::replication::members::Members;
use crate::settings::{Conninfo, Role, Secret, Settings};

impl Observed {
    /// Lets what the volume says of this machine's standing count beside its settings, and asks the other
    /// members where it would write.
    pub(crate) async fn settle(
        &mut self,
        layout: &Layout,
        say: &dyn Fn(Option<String>),
    ) -> Result<(), CensusError> {
        self.facts.members = match self.to_be_asked() {
            Some((members, password)) => {
                let census = Census {
                    layout,
                    owner: self.owners.postgres,
                    members,
                    password,
                    cluster: self.facts.pgdata == Pgdata::Cluster,
                    promoted_to: self.facts.marks.timeline(),
                    standbys: self.facts.marks.standbys(&self.settings),
                    say,
                };
                census.take().await?
            }
            None => Members::default(),
        };
        let outranked = self.facts.members.outranks_us();
        if outranked && self.facts.marks.is_promoted(&self.settings.role) {
            tracing::warn!("this machine was promoted, and another one after it: it follows again");
        }
        let stale = self.facts.marks.apply(&mut self.settings, outranked);
        self.facts.stale_marks = stale;
        Ok(())
    }

    /// A copy writes a timeline of its own, and so does a restore. Beside a machine that runs on this volume, that
    /// machine would answer itself.
    fn to_be_asked(&self) -> Option<(&Conninfo, &Secret)> {
        let Settings {
            role,
            restore,
            instance_id,
            ..
        } = &self.settings;
        let stamp = self.facts.stamp.as_deref();
        let ours = instance_id.as_ref().map(|id| id.as_str());
        let copy = stamp.is_some() && ours.is_some() && stamp != ours;
        if restore.is_some() || copy || self.lock.is_none() {
            return None;
        }
        match role {
            Role::Primary {
                members,
                replication_password,
                ..
            } => Some((members.as_ref()?, replication_password)),
            Role::Replica {
                primary,
                replication_password,
                ..
            } => self
                .facts
                .marks
                .is_promoted(role)
                .then_some((primary, replication_password)),
            Role::Single | Role::Sink { .. } => None,
        }
    }

    /// Asks the sink for a cluster where this volume has none and may have had one: initdb writes no WAL,
    /// so nothing else would notice that another one is made in its place.
    pub(crate) async fn ask_for_cluster(
        &mut self,
        layout: &Layout,
        say: impl Fn(Option<String>),
    ) -> Result<(), GapError> {
        if !self.boot(layout).asks_for_cluster(&self.facts) {
            return Ok(());
        }
        let Some(sink) = &self.settings.sink else {
            return Ok(());
        };
        let filling = Filling {
            layout,
            owners: self.owners,
            sink,
            instance: self.settings.instance_id.as_ref(),
        };
        self.facts.base = filling.cluster(say).await?;
        Ok(())
    }
}
