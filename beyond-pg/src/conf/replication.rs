//! `03-replication.conf`: who has to hold a commit, and whom a replica follows (B-006, D-002).

use super::guc::Fragment;
use crate::layout::Layout;
use crate::replication::upstream::{Upstream, slot_of};
use crate::settings::{Role, Settings};

/// The whole text. One that runs renders it anew when whom commits wait for, or its role, has changed.
pub(crate) fn render(settings: &Settings, layout: &Layout) -> Option<String> {
    if let Some(upstream) = Upstream::of(layout, &settings.role) {
        return Some(follows(settings, &upstream));
    }
    match &settings.role {
        Role::Replica { .. } => None,
        Role::Primary { .. } => Some(commits(settings)),
        Role::Single if settings.sink.is_some() => Some(commits(settings)),
        Role::Single | Role::Sink { .. } => None,
    }
}

fn follows(settings: &Settings, upstream: &Upstream) -> String {
    let mut conf = Fragment::new("This machine follows a primary (D-002).");
    conf.section("The password is in a file on tmpfs, which goes with the machine.")
        .set("primary_conninfo", upstream.conninfo())
        .set("primary_slot_name", upstream.slot())
        .section(
            "Logical slots of the primary that were made for it come along, and rows that they or readers here \
             need stay.",
        )
        .set("sync_replication_slots", true)
        .set("hot_standby_feedback", true);
    instance(&mut conf, settings);
    conf.into_text()
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
    if let Role::Primary { standbys, .. } = &settings.role
        && !standbys.is_empty()
    {
        let slots: Vec<_> = standbys.iter().map(|name| slot_of(name.as_str())).collect();
        conf.section(
            "Nobody is sent a change over a failover slot that a promoted standby could lack.",
        )
        .set("synchronized_standby_slots", slots.join(", "));
    }
    instance(&mut conf, settings);
    conf.into_text()
}

fn instance(conf: &mut Fragment, settings: &Settings) {
    if let Some(instance) = &settings.instance_id {
        conf.section("What a sink or another member asks for to know whose WAL this is.")
            .set(INSTANCE, instance.as_str());
    }
}
