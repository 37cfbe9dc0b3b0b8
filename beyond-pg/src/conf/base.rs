//! `00-beyond.conf`: the image's opinions, the same on every machine except for what it preloads,
//! where it listens and how large its volume is.

use std::time::Duration;

use super::ConfInputs;
use super::guc::{Fragment, Size};
use crate::layout::Layout;

/// The smallest `max_wal_size` Postgres can work with is two segments; four leave room for a
/// checkpoint to end while the next one begins.
const MAX_WAL_FLOOR: Size = Size::mb(64);

pub(super) fn render(inputs: &ConfInputs<'_>) -> String {
    let mut conf = Fragment::new("The image's opinions (contract 6).");
    connections(&mut conf, inputs);
    libraries(&mut conf, inputs.preload);
    logging(&mut conf);
    wal(&mut conf, inputs);
    storage(&mut conf);
    defences(&mut conf);
    locale(&mut conf);
    conf.into_text()
}

fn connections(conf: &mut Fragment, inputs: &ConfInputs<'_>) {
    conf.section("Clients come through the pooler on 5432; this is the direct port (E-003).")
        .set("listen_addresses", inputs.settings.direct_listen.as_str())
        .set("port", u32::from(wire::ports::DIRECT))
        .set(
            "unix_socket_directories",
            inputs.layout.socket_dir().display().to_string(),
        )
        .set("password_encryption", "scram-sha-256")
        .set("ssl", true)
        .set("ssl_min_protocol_version", "TLSv1.2");
}

fn libraries(conf: &mut Fragment, preload: &[String]) {
    conf.section("Preloaded libraries, each of which exists in this image (J-002).")
        .set("shared_preload_libraries", preload.join(", "))
        .set("pg_stat_statements.max", 10_000_u32)
        .set("pg_stat_statements.track", "all")
        .set("auto_explain.log_min_duration", Duration::from_secs(1))
        .set("auto_explain.log_analyze", true)
        .set("auto_explain.log_buffers", true)
        .set("cron.database_name", "postgres")
        .set("cron.use_background_workers", true)
        .set("pg_prewarm.autoprewarm", true);
}

fn logging(conf: &mut Fragment) {
    conf.section("To stderr only: log files would fork with every branch (H-002).")
        .set("logging_collector", false)
        .set("log_destination", "stderr")
        .set("log_line_prefix", "%m [%p] %q[%a] db=%d,user=%u,client=%h ")
        .set("log_min_duration_statement", Duration::from_secs(1))
        .set("log_statement", "ddl")
        .set("log_connections", true)
        .set("log_disconnections", true)
        .set("log_lock_waits", true)
        .set("log_temp_files", Size::mb(10));
}

fn wal(conf: &mut Fragment, inputs: &ConfInputs<'_>) {
    let max_wal_size = max_wal_size(inputs.volume_bytes);
    conf.section(
        "What could only be raised by a restart is high from the start (B-005, B-007, B-008).",
    )
    .set("wal_level", "logical")
    .set("max_wal_senders", 10_u32)
    .set("max_replication_slots", 10_u32)
    .set("hot_standby", true)
    .set("archive_mode", true)
    .set("archive_command", archive_command(inputs.layout))
    .section("WAL and checkpoints. None of it may fill more than a quarter of the volume.")
    .set("wal_compression", "lz4")
    .set("wal_sync_method", "fdatasync")
    .set("full_page_writes", true)
    .set("checkpoint_timeout", Duration::from_secs(30 * 60))
    .set("checkpoint_completion_target", 0.9)
    .set("max_wal_size", max_wal_size)
    .set("min_wal_size", Size::gb(1).min(max_wal_size))
    .set("wal_keep_size", Size::gb(1).min(max_wal_size))
    .set("bgwriter_delay", Duration::from_millis(100))
    .set("bgwriter_lru_maxpages", 1000_u32);
}

/// Ours. Whatever else stands there is the user's.
pub(crate) fn archive_command(layout: &Layout) -> String {
    format!("{} archive %p %f", layout.beyond_pg().display())
}

/// 8 GB, or a quarter of a volume that is too small for that.
fn max_wal_size(volume_bytes: u64) -> Size {
    Size::gb(8)
        .min(Size::whole_mb(volume_bytes / 4))
        .max(MAX_WAL_FLOOR)
}

fn storage(conf: &mut Fragment) {
    conf.section("Local SSD is what the hot path reads from (F-005).")
        .set("random_page_cost", 1.1)
        .set("effective_io_concurrency", 200_u32)
        .section("Vacuum early: vector and geometry indexes bloat fast (F-007).")
        .set("autovacuum_vacuum_scale_factor", 0.1)
        .set("autovacuum_naptime", Duration::from_secs(30));
}

fn defences(conf: &mut Fragment) {
    conf.section(
        "Against sessions that forget a transaction, locks that never come, peers that are gone \
         (F-006),\nand lock tables that many partitions overrun (F-008).",
    )
    .set(
        "idle_in_transaction_session_timeout",
        Duration::from_secs(5 * 60),
    )
    .set("lock_timeout", Duration::from_secs(30))
    .set("tcp_keepalives_idle", Duration::from_secs(60))
    .set("tcp_keepalives_interval", Duration::from_secs(10))
    .set("tcp_keepalives_count", 6_u32)
    .set("max_locks_per_transaction", 256_u32);
}

/// `initdb` writes these into the `postgresql.conf` it makes, which is not the one we read.
fn locale(conf: &mut Fragment) {
    conf.section("What initdb would choose for its own file, which this image does not read.")
        .set("timezone", "Etc/UTC")
        .set("log_timezone", "Etc/UTC")
        .set("lc_messages", "C")
        .set("default_text_search_config", "pg_catalog.english");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wal_takes_at_most_a_quarter_of_the_volume_and_never_less_than_it_can_work_with() {
        for (volume, wal) in [
            (Size::gb(1000), Size::gb(8)),
            (Size::gb(32), Size::gb(8)),
            (Size::gb(31), Size::mb(31 * 256)),
            (Size::gb(2), Size::mb(512)),
            (Size::mb(100), MAX_WAL_FLOOR),
        ] {
            assert_eq!(max_wal_size(volume.bytes()), wal, "volume of {volume}");
        }
    }
}
