//! What this boot was asked to be: text in, [`Settings`] or every problem at once out.
//!
//! Decisions that several stages need are made here, once, and travel as types: a role carries
//! what it requires, and who must acknowledge a commit is one question ([`Settings::sync_names`]).
//! No I/O, no environment, no clock; the text comes from `metadata`.

mod conninfo;
pub(crate) mod keys;
mod parse;
mod problem;
mod role;
mod secret;
mod wal;

#[cfg(test)]
mod tests;

pub(crate) use conninfo::Conninfo;
pub(crate) use problem::{Problem, Problems, Warning};
pub(crate) use role::{REPLICATION_ROLE, Role, StandbyName, Tier};
pub(crate) use secret::Secret;
pub(crate) use wal::{
    Archive, InstanceId, RestoreFrom, RestoreTarget, S3Keys, S3Target, Sink, SinkAddress,
    SinkPolicy,
};

/// The settings of one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Of the superuser `postgres`.
    pub(crate) password: Secret,
    /// Created when absent.
    pub(crate) database: String,
    pub(crate) role: Role,
    pub(crate) volume: Volume,
    pub(crate) archive: Archive,
    pub(crate) sink: Option<Sink>,
    pub(crate) restore: Option<RestoreTarget>,
    /// What an empty volume is filled with.
    pub(crate) restore_from: Option<RestoreFrom>,
    pub(crate) instance_id: Option<InstanceId>,
    /// As `listen_addresses` wants it.
    pub(crate) direct_listen: String,
    pub(crate) log_shipping: LogShipping,
}

/// Whether the volume survives its host (B-009).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    Durable,
    Ephemeral,
}

/// Where child output goes (H-001).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogShipping {
    /// Over vsock where this machine has one.
    Auto,
    /// To our own stderr, always.
    PassThrough,
}

impl Settings {
    /// Of the role that streams WAL, where this machine has to have it.
    pub(crate) fn replication_password(&self) -> Option<&Secret> {
        match &self.role {
            Role::Primary {
                replication_password,
                ..
            } => Some(replication_password),
            Role::Single => Some(&self.sink.as_ref()?.replication_password),
            // A standby has the roles of its primary, and a sink has none.
            Role::Replica { .. } | Role::Sink { .. } => None,
        }
    }

    /// `synchronous_standby_names`, or `None` when no other machine has to hold a commit.
    ///
    /// During a restore nobody has to: the history being replayed was acknowledged long ago, and
    /// with a name set the first commit after promotion would wait for the parent's sink for ever
    /// (facts 18).
    pub(crate) fn sync_names(&self) -> Option<String> {
        if self.restore.is_some() {
            return None;
        }
        let standbys = match &self.role {
            Role::Primary { standbys, .. } => standbys.as_slice(),
            Role::Single => &[],
            Role::Replica { .. } | Role::Sink { .. } => return None,
        };
        wal::any_one_of(self.sink.is_some(), standbys)
    }
}
