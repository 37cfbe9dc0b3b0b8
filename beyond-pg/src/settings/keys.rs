//! The names of all settings: the only file that spells `BEYOND_*` and `POSTGRES_*`.
//!
//! One table for the parser, for the environment reader, for the nearest-name hint and for
//! `docs/settings.md`, so that they cannot disagree (facts 94).

use std::cmp::Reverse;

/// One setting as an operator sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its name in the metadata document and in the environment.
    pub(crate) name: &'static str,
    /// What it means, as a phrase for the reference.
    pub(crate) meaning: &'static str,
    /// What is accepted, as every refusal words it.
    pub(crate) accepted: &'static str,
    /// What an absent key means.
    pub(crate) default: &'static str,
    /// Its value is never shown.
    pub(crate) secret: bool,
    /// Another name for it, in the environment only.
    pub(crate) env_alias: Option<&'static str>,
    /// `<name>_FILE` in the environment names a file that holds it.
    pub(crate) env_file: bool,
}

const BOOLEAN: &str = "true, false, 1 or 0";

const fn key(
    name: &'static str,
    meaning: &'static str,
    accepted: &'static str,
    default: &'static str,
) -> Key {
    Key {
        name,
        meaning,
        accepted,
        default,
        secret: false,
        env_alias: None,
        env_file: false,
    }
}

const fn secret(name: &'static str, meaning: &'static str, accepted: &'static str) -> Key {
    Key {
        secret: true,
        env_file: true,
        ..key(name, meaning, accepted, "none")
    }
}

pub(crate) const PASSWORD: Key = Key {
    default: "required",
    ..secret(
        "POSTGRES_PASSWORD",
        "password of the superuser `postgres`",
        "a non-empty text without line breaks",
    )
};
pub(crate) const DATABASE: Key = Key {
    env_alias: Some("POSTGRES_DB"),
    ..key(
        "POSTGRES_DATABASE",
        "database that is created when absent",
        "a name of at most 63 bytes other than template0, template1 and pgbouncer",
        "postgres",
    )
};
pub(crate) const TIER: Key = key(
    "BEYOND_PG_TIER",
    "the machine's role (L-003)",
    "single, primary, replica or sink",
    "single",
);
pub(crate) const EPHEMERAL: Key = key(
    "BEYOND_VOLUME_EPHEMERAL",
    "whether the volume is lost with its host (B-009)",
    BOOLEAN,
    "false",
);
pub(crate) const ARCHIVE_TARGET: Key = key(
    "BEYOND_PG_ARCHIVE_TARGET",
    "where WAL segments and base backups go",
    "s3://bucket/prefix",
    "no archive",
);
pub(crate) const AWS_ACCESS_KEY_ID: Key = key(
    "AWS_ACCESS_KEY_ID",
    "access key of the archive",
    "a key id",
    "none",
);
pub(crate) const AWS_SECRET_ACCESS_KEY: Key = secret(
    "AWS_SECRET_ACCESS_KEY",
    "secret key of the archive",
    "the secret of AWS_ACCESS_KEY_ID",
);
pub(crate) const AWS_SESSION_TOKEN: Key = secret(
    "AWS_SESSION_TOKEN",
    "token of temporary archive keys",
    "a session token",
);
pub(crate) const AWS_REGION: Key = key(
    "AWS_REGION",
    "region of the archive's bucket",
    "a region name",
    "us-east-1",
);
pub(crate) const AWS_ENDPOINT_URL: Key = key(
    "AWS_ENDPOINT_URL",
    "endpoint of an S3 that is not Amazon's",
    "http://host:port or https://host:port",
    "Amazon S3",
);
pub(crate) const WAL_SINK: Key = key(
    "BEYOND_PG_WAL_SINK",
    "the machine that holds a second copy of the WAL (B-006a)",
    "host:port",
    "no sink",
);
pub(crate) const WAL_SINK_POLICY: Key = key(
    "BEYOND_PG_WAL_SINK_POLICY",
    "what boot does when the sink cannot be asked: wait for it, or start without",
    "required or preferred",
    "required",
);
pub(crate) const PRIMARY_CONNINFO: Key = key(
    "BEYOND_PG_PRIMARY_CONNINFO",
    "how a replica or sink reaches its primary, which both need; on a primary: where the members of its cluster are, which it asks before it opens",
    "libpq key=value pairs without a password, such as `host=10.0.0.4 port=5433`, or `host=a,b port=5433,5433` with all members",
    "none",
);
pub(crate) const REPLICATION_PASSWORD: Key = secret(
    "BEYOND_PG_REPLICATION_PASSWORD",
    "password of the role `beyond_replication`; tiers primary, replica and sink need it, and a WAL sink does",
    "a non-empty text without line breaks",
);
pub(crate) const SYNC_STANDBYS: Key = key(
    "BEYOND_PG_SYNC_STANDBYS",
    "standbys of a primary of which any one must hold a commit: the names in `ANY 1 (…)`",
    "a comma-separated list of standby names (letters, digits, `_`, `-`; never `*`)",
    "none",
);
pub(crate) const RESTORE_TIME: Key = key(
    "BEYOND_PG_RESTORE_TARGET_TIME",
    "restore to this moment",
    "a time with its zone, such as `2026-01-31 12:00:00+00`",
    "none",
);
pub(crate) const RESTORE_LSN: Key = key(
    "BEYOND_PG_RESTORE_TARGET_LSN",
    "restore to this position in the WAL",
    "an LSN, such as `0/16B3748`",
    "none",
);
pub(crate) const RESTORE_NAME: Key = key(
    "BEYOND_PG_RESTORE_TARGET_NAME",
    "restore to this name, made by `pg_create_restore_point`",
    "a restore point's name of at most 63 bytes",
    "none",
);
pub(crate) const RESTORE_FROM: Key = key(
    "BEYOND_PG_RESTORE_FROM",
    "the archive from whose base backup an empty volume is filled; without a name the newest before the target",
    "s3://bucket/prefix/INSTANCE or s3://bucket/prefix/INSTANCE/backups/NAME",
    "none",
);
pub(crate) const INSTANCE_ID: Key = key(
    "BEYOND_INSTANCE_ID",
    "who this database is; differs from the volume's stamp on a fork, and is the standby name of a replica, which needs it",
    "1 to 128 letters, digits, `.`, `_`, `:` or `-`",
    "none",
);
pub(crate) const DIRECT_LISTEN: Key = key(
    "BEYOND_PG_DIRECT_LISTEN",
    "where Postgres itself listens, past the pooler (E-003)",
    "`*` or a comma-separated list of IP addresses and `localhost`",
    "127.0.0.1",
);
pub(crate) const LOG_VSOCK: Key = key(
    "BEYOND_LOG_VSOCK",
    "`false` leaves child output on stderr where vsock would be used (H-001)",
    BOOLEAN,
    "true",
);

/// Every setting, in the order of contract 4.
pub(crate) const ALL: [&Key; 22] = [
    &PASSWORD,
    &DATABASE,
    &TIER,
    &EPHEMERAL,
    &ARCHIVE_TARGET,
    &AWS_ACCESS_KEY_ID,
    &AWS_SECRET_ACCESS_KEY,
    &AWS_SESSION_TOKEN,
    &AWS_REGION,
    &AWS_ENDPOINT_URL,
    &WAL_SINK,
    &WAL_SINK_POLICY,
    &PRIMARY_CONNINFO,
    &REPLICATION_PASSWORD,
    &SYNC_STANDBYS,
    &RESTORE_TIME,
    &RESTORE_LSN,
    &RESTORE_NAME,
    &RESTORE_FROM,
    &INSTANCE_ID,
    &DIRECT_LISTEN,
    &LOG_VSOCK,
];

/// Variables that the `postgres` image of Docker Hub reads and this one does not. An operator
/// who brings them along is told, rather than left to wonder.
pub(crate) const FOREIGN: [(&str, &str); 4] = [
    ("POSTGRES_USER", "the superuser is always `postgres`"),
    (
        "POSTGRES_INITDB_ARGS",
        "the image decides how a cluster is made",
    ),
    (
        "POSTGRES_INITDB_WALDIR",
        "the WAL always lies on the volume (B-003)",
    ),
    (
        "POSTGRES_HOST_AUTH_METHOD",
        "network logins are always SCRAM (I-002)",
    ),
];

/// Names under which an operator can only have meant a setting of ours.
pub(crate) const PREFIX: &str = "BEYOND_";

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    ALL.into_iter().find(|key| key.name == name)
}

/// The setting that was most likely meant: the one that shares most words with `name`, and among
/// those the one that takes the fewest edits. Edits alone would find `BEYOND_PG_TIER` closer to
/// `BEYOND_EPHEMERAL` than the longer name that was meant.
pub(crate) fn nearest(name: &str) -> &'static Key {
    let shared = |key: &Key| {
        key.name
            .split('_')
            .filter(|word| has_word(name, word))
            .count()
    };
    let ours = ALL.into_iter().filter(|key| key.name.starts_with(PREFIX));
    ours.min_by_key(|key| (Reverse(shared(key)), distance(name, key.name)))
        .unwrap_or(&TIER)
}

fn has_word(name: &str, word: &str) -> bool {
    name.split('_').any(|other| other == word)
}

/// Levenshtein's edit distance, one row at a time.
pub(crate) fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_single_character_edits() {
        for (from, to, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("tier", "tire", 2),
        ] {
            assert_eq!(distance(from, to), edits, "{from} -> {to}");
        }
    }

    #[test]
    fn a_misspelt_name_finds_the_one_that_was_meant() {
        for (written, meant) in [
            ("BEYOND_PG_TEIR", "BEYOND_PG_TIER"),
            ("BEYOND_TIER", "BEYOND_PG_TIER"),
            ("BEYOND_EPHEMERAL", "BEYOND_VOLUME_EPHEMERAL"),
            ("BEYOND_PG_SINK", "BEYOND_PG_WAL_SINK"),
            (
                "BEYOND_PG_RECOVERY_TARGET_TIME",
                "BEYOND_PG_RESTORE_TARGET_TIME",
            ),
        ] {
            assert_eq!(nearest(written).name, meant);
        }
    }

    #[test]
    fn every_name_is_listed_once() {
        let mut names: Vec<_> = ALL.iter().map(|key| key.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
