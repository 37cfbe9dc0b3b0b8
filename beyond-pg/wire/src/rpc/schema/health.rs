//! The rows of `health`.

use super::{Field, Kind, field};

/// The fields of `health`. Those of a map that is always there may be absent.
pub static HEALTH: &[Field] = &[
    field(
        "state",
        Kind::Text,
        "`booting`, `starting`, `ready`, `restarting` or `stopping`",
    ),
    field("ready_since", Kind::Time, "since when clients get in"),
    field(
        "degraded",
        Kind::Texts,
        "what is not as it should be on a machine that goes on all the same, each with what to do",
    ),
    field(
        "unanswered",
        Kind::Texts,
        "what could not be found out just now, each with the reason",
    ),
    field("postgres", Kind::Map, "the server"),
    field("postgres.up", Kind::Bool, "whether its process runs"),
    field("postgres.pid", Kind::Number, "its process id"),
    field("postgres.since", Kind::Time, "when it was started"),
    field(
        "postgres.starts",
        Kind::Number,
        "how often it was started in this boot",
    ),
    field(
        "postgres.last_exit",
        Kind::Text,
        "how it ended last in this boot",
    ),
    field(
        "postgres.last_exit_at",
        Kind::Time,
        "when it ended last in this boot",
    ),
    field("pooler", Kind::Map, "PgBouncer"),
    field("pooler.up", Kind::Bool, "whether its process runs"),
    field("pooler.pid", Kind::Number, "its process id"),
    field("pooler.since", Kind::Time, "when it was started"),
    field(
        "pooler.starts",
        Kind::Number,
        "how often it was started in this boot",
    ),
    field(
        "pooler.last_exit",
        Kind::Text,
        "how it ended last in this boot",
    ),
    field(
        "pooler.last_exit_at",
        Kind::Time,
        "when it ended last in this boot",
    ),
    field(
        "in_recovery",
        Kind::Bool,
        "whether Postgres replays WAL and takes no writes",
    ),
    field("timeline", Kind::Number, "the timeline"),
    field("wal", Kind::Map, "positions in the WAL"),
    field("wal.insert_lsn", Kind::Lsn, "up to here it is made"),
    field(
        "wal.flush_lsn",
        Kind::Lsn,
        "up to here it is on disk: every commit that waited for the disk lies before",
    ),
    field(
        "wal.replay_lsn",
        Kind::Lsn,
        "up to here it is replayed; only in recovery",
    ),
    field(
        "wal.redo_lsn",
        Kind::Lsn,
        "from here recovery would begin: the last checkpoint",
    ),
    field(
        "wal.checkpoint_at",
        Kind::Time,
        "when that checkpoint began",
    ),
    field(
        "archive",
        Kind::Map,
        "what becomes of finished WAL segments",
    ),
    field(
        "archive.by",
        Kind::Text,
        "who archives: `nobody` (no target, they are recycled), `target`, `user` (an \
         `archive_command` or library of the user's own)",
    ),
    field(
        "archive.target",
        Kind::Text,
        "`BEYOND_PG_ARCHIVE_TARGET`, when there is one",
    ),
    field(
        "archive.last_segment",
        Kind::Text,
        "the WAL file that was archived last",
    ),
    field("archive.last_at", Kind::Time, "when that was"),
    field(
        "archive.failures",
        Kind::Number,
        "tries that failed since the statistics began",
    ),
    field(
        "archive.last_failed_segment",
        Kind::Text,
        "the WAL file of the last try that failed",
    ),
    field("archive.last_failed_at", Kind::Time, "when that was"),
    field(
        "archive.last_error",
        Kind::Text,
        "why it failed, until a file is archived",
    ),
    field(
        "archive.waiting",
        Kind::Number,
        "WAL files that wait to be archived",
    ),
    field(
        "archive.unarchived_first",
        Kind::Text,
        "the first segment that went by while nobody archived",
    ),
    field(
        "archive.unarchived_last",
        Kind::Text,
        "the last one: an archive has a hole up to here",
    ),
    field("backup", Kind::Map, "base backups, since the boot"),
    field("backup.name", Kind::Text, "the one that is under way"),
    field("backup.since", Kind::Time, "since when"),
    field(
        "backup.bytes",
        Kind::Bytes,
        "how much of the database it has read",
    ),
    field("backup.last_name", Kind::Text, "the last one that is whole"),
    field("backup.last_at", Kind::Time, "when it ended"),
    field(
        "backup.last_lsn",
        Kind::Lsn,
        "where it ended: restores go to here or later",
    ),
    field(
        "backup.last_error",
        Kind::Text,
        "why the last one did not come to be, until one does",
    ),
    field(
        "standbys",
        Kind::Maps,
        "who receives WAL from this machine, the sink included",
    ),
    field("standbys[].name", Kind::Text, "its `application_name`"),
    field(
        "standbys[].state",
        Kind::Text,
        "`startup`, `catchup`, `streaming`, `backup` or `stopping`",
    ),
    field(
        "standbys[].sync_state",
        Kind::Text,
        "`async`, `potential`, `sync` or `quorum`",
    ),
    field("standbys[].sent_lsn", Kind::Lsn, "up to here it was sent"),
    field(
        "standbys[].flush_lsn",
        Kind::Lsn,
        "up to here it is on its disk",
    ),
    field(
        "standbys[].replay_lsn",
        Kind::Lsn,
        "up to here it is replayed there",
    ),
    field(
        "standbys[].sent_lag_bytes",
        Kind::Bytes,
        "WAL on disk here that was not sent to it",
    ),
    field(
        "standbys[].flush_lag_bytes",
        Kind::Bytes,
        "WAL on disk here that is not on its disk",
    ),
    field(
        "standbys[].replay_lag_bytes",
        Kind::Bytes,
        "WAL on disk here that is not replayed there",
    ),
    field("upstream", Kind::Map, "whom a replica follows; only on one"),
    field(
        "upstream.receiving",
        Kind::Bool,
        "whether WAL comes in; `degraded` says why not",
    ),
    field(
        "upstream.from",
        Kind::Text,
        "from whom, as `host:port`, while it does",
    ),
    field(
        "upstream.slot",
        Kind::Text,
        "the replication slot there that keeps WAL for it",
    ),
    field(
        "upstream.end_lsn",
        Kind::Lsn,
        "the end of the primary's WAL, as it last said",
    ),
    field("upstream.heard_at", Kind::Time, "when it last said so"),
    field(
        "upstream.replay_lag_bytes",
        Kind::Bytes,
        "WAL before that end which is not replayed here",
    ),
    field("disk", Kind::Map, "the volume's file system"),
    field("disk.bytes", Kind::Bytes, "its size"),
    field(
        "disk.free_bytes",
        Kind::Bytes,
        "what Postgres may still fill",
    ),
    field("disk.error", Kind::Text, "why it cannot be looked at"),
    field("configuration", Kind::Map, "what Postgres follows"),
    field(
        "configuration.loaded_at",
        Kind::Time,
        "when it last read its files",
    ),
    field(
        "configuration.in_force",
        Kind::Texts,
        "the user's own settings, as `name = value (file line N)`; a value that may hold a secret \
         is `***`",
    ),
    field(
        "configuration.pending_restart",
        Kind::Texts,
        "settings that were changed and wait for a restart of the machine",
    ),
    field(
        "configuration.objections",
        Kind::Texts,
        "lines that are not in force, each with the reason",
    ),
    field("versions", Kind::Map, "what runs"),
    field("versions.beyond_pg", Kind::Text, "PID 1"),
    field("versions.postgres", Kind::Text, "the server"),
    field(
        "boot",
        Kind::Record,
        "the record of this boot, once clients got in; its keys stand in operations.md",
    ),
];
