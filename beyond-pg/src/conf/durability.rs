//! `02-durability.conf`: what a volume that dies with its host need not pay for (B-009).

use std::time::Duration;

use super::guc::Fragment;
use crate::settings::Volume;

pub(super) fn render(volume: Volume) -> Option<String> {
    match volume {
        Volume::Durable => None,
        Volume::Ephemeral => Some(ephemeral()),
    }
}

/// Never `fsync` and never `full_page_writes`: losing 10 ms of commits is fair on a volume that is
/// lost anyway, a database that a crash has corrupted is not.
fn ephemeral() -> String {
    let mut conf = Fragment::new("This volume is lost with its host (B-009).");
    conf.section(
        "A commit does not wait for the disk; a crash loses some 10 ms and corrupts nothing.",
    )
    .set("synchronous_commit", false)
    .section(
        "Vacuum late and slowly: on an idle branch it is what makes the copy diverge from its\n\
             parent (306 MB in 90 s against 0.1 MB throttled).",
    )
    .set("autovacuum_naptime", Duration::from_secs(5 * 60))
    .set("autovacuum_max_workers", 1_u32)
    .set("autovacuum_vacuum_scale_factor", 0.4)
    .set("autovacuum_vacuum_insert_scale_factor", 0.4)
    .set("autovacuum_analyze_scale_factor", 0.2)
    .set("autovacuum_vacuum_cost_delay", Duration::from_millis(20));
    conf.into_text()
}
