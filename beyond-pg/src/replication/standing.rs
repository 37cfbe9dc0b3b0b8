//! What a machine is, when its metadata and its volume do not say the same. Pure.
//!
//! The control plane promotes first and changes the metadata afterwards, and a machine may boot in
//! between. So what an RPC has changed is kept on the volume, together with what it was changed from: it
//! is in force until the metadata says something new.

use serde::{Deserialize, Serialize};
use wire::lsn::Lsn;

use crate::settings::{Role, Settings, StandbyName};

/// Kept by `promote`: this instance writes, whatever its metadata still says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promoted {
    /// Whose promotion this was: a copy of its volume begins with its record.
    pub(crate) instance: String,
    /// What it came to; absent while it is under way.
    pub(crate) end: Option<PromotionEnd>,
}

/// The timeline that a promotion began, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromotionEnd {
    pub(crate) timeline: u32,
    pub(crate) lsn: Lsn,
}

/// Kept by `set_sync_standbys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncStandbys {
    pub(crate) instance: Option<String>,
    /// The names of the metadata at that time. Other ones there are newer than this record.
    pub(crate) over: Vec<StandbyName>,
    pub(crate) names: Vec<StandbyName>,
}

/// What the volume says of its standing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// `standby.signal` is there: Postgres would follow.
    pub(crate) follows: bool,
    pub(crate) promoted: Option<Promoted>,
    pub(crate) sync: Option<SyncStandbys>,
}

/// A record on the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Promoted,
    SyncStandbys,
}

impl Marks {
    /// Whether this replica, by its settings, was promoted. While the signal file is there it was not yet.
    pub(crate) fn is_promoted(&self, role: &Role) -> bool {
        let Role::Replica { name, .. } = role else {
            return false;
        };
        let ours = |mark: &Promoted| mark.instance == name.as_str();
        !self.follows && self.promoted.as_ref().is_some_and(ours)
    }

    /// The timeline that a promotion has begun: `pg_control` learns it with the next checkpoint only.
    pub(crate) fn timeline(&self) -> Option<u32> {
        Some(self.promoted.as_ref()?.end.as_ref()?.timeline)
    }

    /// Whom commits waited for when this volume was written last. A list that is the same on every member has this
    /// machine in it, too.
    pub(crate) fn standbys(&self, settings: &Settings) -> Vec<StandbyName> {
        let mut in_force = settings.clone();
        self.apply(&mut in_force, false);
        let ours = settings.instance_id.as_ref().map(|id| id.as_str());
        match in_force.role {
            Role::Primary { mut standbys, .. } => {
                standbys.retain(|name| Some(name.as_str()) != ours);
                standbys
            }
            Role::Single | Role::Replica { .. } | Role::Sink { .. } => Vec::new(),
        }
    }

    /// Makes the settings what is in force on this volume, and answers which records have had their time.
    /// `outranked`: another member has gone on to a later timeline since this one was promoted.
    pub(crate) fn apply(&self, settings: &mut Settings, outranked: bool) -> Vec<Mark> {
        let mut stale = Vec::new();
        if self.is_promoted(&settings.role) && !outranked {
            settings.role = promoted(&settings.role);
        } else if self.promoted.is_some() && !self.follows {
            stale.push(Mark::Promoted);
        }
        if let Some(record) = &self.sync
            && !record.apply(settings)
        {
            stale.push(Mark::SyncStandbys);
        }
        stale
    }
}

/// What a replica is once it writes: until it is told otherwise, nobody else has to hold its commits.
pub(crate) fn promoted(role: &Role) -> Role {
    match role {
        Role::Replica {
            primary,
            replication_password,
            ..
        } => Role::Primary {
            replication_password: replication_password.clone(),
            standbys: Vec::new(),
            members: Some(primary.clone()),
        },
        role => role.clone(),
    }
}

impl SyncStandbys {
    /// Whether it is in force.
    fn apply(&self, settings: &mut Settings) -> bool {
        let instance = settings
            .instance_id
            .as_ref()
            .map(|id| id.as_str().to_owned());
        let Role::Primary { standbys, .. } = &mut settings.role else {
            return false;
        };
        let in_force = self.instance == instance && self.over == *standbys;
        if in_force {
            standbys.clone_from(&self.names);
        }
        in_force
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
