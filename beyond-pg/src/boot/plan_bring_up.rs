//! The second half of a plan: what is fetched before Postgres starts, what is started, and what is made true then.

use super::Boot;
use crate::boot::facts::{Facts, Pgdata};
use crate::boot::step::BringUpStep;
use crate::fork::{Belonging, Part};
use crate::hooks::Stage;
use crate::postgres::ensure::{Ensure, MAINTENANCE_DATABASE};
use crate::settings::{Archive, Tier};

impl Boot<'_> {
    /// A fork that has yet to leave its parent has no WAL in any sink, and a restore ends where it was told.
    fn gap(&self, leave: &[Part]) -> Option<BringUpStep> {
        let sink = self.settings.sink.as_ref()?;
        let follows = self.upstream().is_some();
        let asks = leave.is_empty() && self.settings.restore.is_none() && !follows;
        asks.then(|| BringUpStep::FillGap {
            sink: sink.address.clone(),
        })
    }

    /// A cluster that is made now has nothing in an archive.
    fn catch_up(&self, facts: &Facts, leave: &[Part]) -> Option<BringUpStep> {
        let archives = self.settings.archive != Archive::Off;
        let was_there = facts.pgdata == Pgdata::Cluster || facts.base.is_some();
        let writes = leave.is_empty() && self.settings.restore.is_none();
        let asks = archives && was_there && writes && self.upstream().is_none();
        asks.then_some(BringUpStep::CatchUp)
    }

    /// What has to be true in a server that writes; a standby has it from its primary.
    fn ensure(&self, facts: &Facts) -> Vec<Ensure> {
        if self.upstream().is_some() {
            return Vec::new();
        }
        let database = &self.settings.database;
        let mut ensure = vec![Ensure::SuperuserPassword, Ensure::PoolerAccess];
        ensure.extend(
            self.settings
                .replication_password()
                .map(|password| Ensure::ReplicationRole(password.clone())),
        );
        if self.settings.role.tier() == Tier::Primary {
            ensure.push(Ensure::RewindAccess);
        }
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
        ensure
    }

    pub(super) fn bring_up(&self, facts: &Facts) -> Vec<BringUpStep> {
        let ensure = self.ensure(facts);
        let hooks = |stage| {
            let of_stage = facts.hooks.iter().filter(move |hook| hook.stage == stage);
            of_stage.cloned().map(BringUpStep::Hook)
        };
        let leave: &[Part] = match self.belonging(facts) {
            Belonging::CopyOf { .. } => &Part::ALL,
            Belonging::Ours | Belonging::OursAtLast => &[],
        };
        let gap = self.gap(leave);
        gap.into_iter()
            .chain(self.catch_up(facts, leave))
            .chain(leave.iter().copied().map(BringUpStep::Leave))
            .chain(hooks(Stage::PreStart))
            .chain([BringUpStep::StartPostgres, BringUpStep::StartPooler])
            .chain(ensure.into_iter().map(BringUpStep::Ensure))
            .chain(hooks(Stage::PostStart))
            .chain([BringUpStep::AwaitLogin])
            .collect()
    }
}
