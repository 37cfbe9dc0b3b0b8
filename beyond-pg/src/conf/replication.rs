//! `03-replication.conf`: who has to hold a commit, and whom a replica follows (B-006, D-002).

use super::guc::Fragment;
use crate::settings::{Role, Settings};

pub(super) fn render(settings: &Settings) -> Option<String> {
    match &settings.role {
        Role::Replica { primary, .. } => {
            let mut conf = Fragment::new("This machine follows a primary (D-002).");
            conf.section("The password is in none of our files.")
                .set("primary_conninfo", primary.as_str());
            Some(conf.into_text())
        }
        Role::Primary { .. } => Some(commits(settings)),
        Role::Single if settings.sink.is_some() => Some(commits(settings)),
        Role::Single | Role::Sink { .. } => None,
    }
}

/// Whose WAL this is, for a sink to ask: forks have the same system identifier.
pub(crate) const INSTANCE: &str = "beyond.instance_id";

/// `on` is the level that means "flushed there": `remote_write` would acknowledge from the
/// receiver's page cache, `remote_apply` never returns from a receiver that applies nothing
/// (facts 20). It also overrides an ephemeral volume's `off`.
fn commits(settings: &Settings) -> String {
    let mut conf = Fragment::new("Who has to hold a commit before it is acknowledged (B-006).");
    match settings.sync_names() {
        Some(names) => conf
            .section("A second machine flushes every commit.")
            .set("synchronous_standby_names", names)
            .set("synchronous_commit", true),
        None => conf
            .section("Nobody but this machine: replicas are asynchronous, or a restore is running.")
            .set("synchronous_standby_names", ""),
    };
    if let Some(instance) = &settings.instance_id {
        conf.section("What a sink asks for to know whose WAL it holds.")
            .set(INSTANCE, instance.as_str());
    }
    conf.into_text()
}
