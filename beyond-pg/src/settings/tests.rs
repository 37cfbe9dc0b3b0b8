//! Claims about settings.

use proptest::prelude::*;

use super::keys::{self, Key};
use super::problem::Warning;
use super::role::Tier;
use super::wal::SinkPolicy;
use super::{Archive, InstanceId, LogShipping, RestoreTarget, Role, Secret, Settings, Volume};
use crate::metadata::{Metadata, Source};

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn document(pairs: Pairs<'_>) -> Metadata {
    let values = pairs
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    Metadata {
        source: Source::Mmds,
        values,
        problems: Vec::new(),
    }
}

fn with_password(pairs: Pairs<'_>) -> Metadata {
    let mut document = document(pairs);
    document
        .values
        .entry("POSTGRES_PASSWORD".into())
        .or_insert_with(|| "secret".into());
    document
}

fn settings(pairs: Pairs<'_>) -> Settings {
    Settings::from_metadata(&with_password(pairs)).unwrap().0
}

fn warnings(pairs: Pairs<'_>) -> Vec<String> {
    let (_, warnings) = Settings::from_metadata(&with_password(pairs)).unwrap();
    warnings.iter().map(Warning::to_string).collect()
}

fn problems(pairs: Pairs<'_>) -> Vec<String> {
    let problems = Settings::from_metadata(&with_password(pairs))
        .unwrap_err()
        .problems;
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_password_alone_makes_a_durable_single_machine() {
    let expected = Settings {
        password: Secret::new("secret"),
        database: "postgres".to_owned(),
        role: Role::Single,
        volume: Volume::Durable,
        archive: Archive::Off,
        sink: None,
        restore: None,
        restore_from: None,
        instance_id: None,
        direct_listen: "127.0.0.1".to_owned(),
        log_shipping: LogShipping::Auto,
    };
    assert_eq!(settings(&[]), expected);
}

#[test]
fn every_problem_is_told_at_once_with_key_value_and_what_is_accepted() {
    let document = document(&[
        ("BEYOND_PG_TIER", "replcia"),
        ("BEYOND_VOLUME_EPHEMERAL", "yes"),
        ("POSTGRES_DATABASE", "template1"),
        ("BEYOND_PG_DIRECT_LISTEN", "everywhere"),
    ]);
    assert_eq!(
        Settings::from_metadata(&document).unwrap_err().to_string(),
        "5 settings from the metadata service cannot be used:\n  \
         - POSTGRES_PASSWORD is not set; accepted: a non-empty text without line breaks (a \
         database never starts without a password)\n  \
         - BEYOND_PG_TIER is \"replcia\"; accepted: single, primary, replica or sink\n  \
         - POSTGRES_DATABASE is \"template1\"; accepted: a name of at most 63 bytes other than \
         template0, template1 and pgbouncer\n  \
         - BEYOND_VOLUME_EPHEMERAL is \"yes\"; accepted: true, false, 1 or 0\n  \
         - BEYOND_PG_DIRECT_LISTEN is \"everywhere\"; accepted: `*` or a comma-separated list of \
         IP addresses and `localhost`\n\
         HINT: correct them; the volume was not touched."
    );
}

#[test]
fn an_unknown_or_empty_tier_is_never_taken_for_single() {
    for word in [
        "",
        " ",
        "Single",
        "SINGLE",
        "singel",
        "standby",
        "primary,replica",
    ] {
        let problems = problems(&[("BEYOND_PG_TIER", word)]);
        assert_eq!(problems.len(), 1, "{word:?}: {problems:?}");
        assert!(
            problems[0].starts_with("BEYOND_PG_TIER is "),
            "{problems:?}"
        );
    }
}

#[test]
fn a_role_cannot_be_without_what_it_requires() {
    for (tier, missing) in [
        ("primary", vec!["BEYOND_PG_REPLICATION_PASSWORD"]),
        (
            "replica",
            vec![
                "BEYOND_PG_REPLICATION_PASSWORD",
                "BEYOND_PG_PRIMARY_CONNINFO",
                "BEYOND_INSTANCE_ID",
            ],
        ),
        (
            "sink",
            vec![
                "BEYOND_PG_REPLICATION_PASSWORD",
                "BEYOND_PG_PRIMARY_CONNINFO",
            ],
        ),
    ] {
        let problems = problems(&[("BEYOND_PG_TIER", tier)]);
        let keys: Vec<_> = problems
            .iter()
            .map(|text| text.split(' ').next().unwrap())
            .collect();
        assert_eq!(keys, missing, "{tier}");
    }
    let sink = problems(&[("BEYOND_PG_WAL_SINK", "10.0.0.5:9000")]);
    assert!(
        sink[0].starts_with("BEYOND_PG_REPLICATION_PASSWORD is not set"),
        "{sink:?}"
    );
}

#[test]
fn ephemeral_takes_both_spellings_of_yes_and_no() {
    for (word, volume) in [
        ("true", Volume::Ephemeral),
        ("1", Volume::Ephemeral),
        ("false", Volume::Durable),
        ("0", Volume::Durable),
        ("", Volume::Durable),
    ] {
        assert_eq!(
            settings(&[("BEYOND_VOLUME_EPHEMERAL", word)]).volume,
            volume,
            "{word:?}"
        );
    }
}

#[test]
fn a_sink_is_a_host_and_a_port() {
    let sink = |address| {
        let pairs = [
            ("BEYOND_PG_WAL_SINK", address),
            ("BEYOND_PG_REPLICATION_PASSWORD", "replication"),
        ];
        Settings::from_metadata(&with_password(&pairs)).map(|(settings, _)| settings.sink.unwrap())
    };
    for address in ["10.0.0.5:9000", "sink.internal:1", "[fd00::5]:9000"] {
        assert_eq!(sink(address).unwrap().address.to_string(), address);
    }
    assert_eq!(sink("sink:1").unwrap().policy, SinkPolicy::Required);
    for address in [
        "sink",
        "sink:",
        "sink:0",
        "sink:65536",
        ":9000",
        "http://sink:9000",
        "fd00::5:9000",
        "[sink]:1",
    ] {
        assert!(sink(address).is_err(), "{address}");
    }
}

#[test]
fn a_wildcard_or_the_sinks_own_syntax_is_no_standby_name() {
    let primary = [
        ("BEYOND_PG_TIER", "primary"),
        ("BEYOND_PG_REPLICATION_PASSWORD", "x"),
    ];
    for names in ["*", "a,*", "a,,b", "a b", "\"a\"", "a)"] {
        let problems = problems(&[primary[0], primary[1], ("BEYOND_PG_SYNC_STANDBYS", names)]);
        assert!(
            problems[0].starts_with("BEYOND_PG_SYNC_STANDBYS is "),
            "{names}: {problems:?}"
        );
    }
}

#[test]
fn commits_wait_for_the_sink_and_standbys_except_during_a_restore() {
    let sink = [
        ("BEYOND_PG_WAL_SINK", "s:1"),
        ("BEYOND_PG_REPLICATION_PASSWORD", "x"),
    ];
    let restore = ("BEYOND_PG_RESTORE_TARGET_NAME", "before");
    let primary = ("BEYOND_PG_TIER", "primary");
    let standbys = ("BEYOND_PG_SYNC_STANDBYS", "a, b-2");
    assert_eq!(settings(&[]).sync_names(), None);
    assert_eq!(
        settings(&sink).sync_names().unwrap(),
        "ANY 1 (\"wal_sink\")"
    );
    assert_eq!(
        settings(&[primary, sink[1], standbys])
            .sync_names()
            .unwrap(),
        "ANY 1 (\"a\", \"b-2\")"
    );
    assert_eq!(settings(&[primary, sink[1]]).sync_names(), None);
    assert_eq!(settings(&[sink[0], sink[1], restore]).sync_names(), None);
}

#[test]
fn a_restore_has_one_target_that_means_the_same_everywhere() {
    let time = |text| settings(&[("BEYOND_PG_RESTORE_TARGET_TIME", text)]).restore;
    for text in [
        "2026-01-31 12:00:00+00",
        "2026-01-31T12:00:00Z",
        "2026-01-31 12:00:00.123456 -03:30",
    ] {
        assert_eq!(time(text), Some(RestoreTarget::Time(text.to_owned())));
    }
    for text in [
        "yesterday",
        "now",
        "2026-01-31 12:00:00",
        "2026-01-31",
        "2026-13-01 12:00:00Z",
        "31.01.2026 12:00Z",
    ] {
        assert_eq!(
            problems(&[("BEYOND_PG_RESTORE_TARGET_TIME", text)]).len(),
            1,
            "{text}"
        );
    }
    for text in ["16B3748", "0/", "0/123456789", "0/16G3748"] {
        assert_eq!(
            problems(&[("BEYOND_PG_RESTORE_TARGET_LSN", text)]).len(),
            1,
            "{text}"
        );
    }
    let two = problems(&[
        ("BEYOND_PG_RESTORE_TARGET_LSN", "0/16B3748"),
        ("BEYOND_PG_RESTORE_TARGET_NAME", "before"),
    ]);
    assert_eq!(
        two,
        [
            "BEYOND_PG_RESTORE_TARGET_NAME is set beside BEYOND_PG_RESTORE_TARGET_LSN; accepted: one restore target at most"
        ]
    );
}

#[test]
fn a_backup_is_named_by_its_folder_or_is_the_newest_that_fits() {
    let from = |url| settings(&[("BEYOND_PG_RESTORE_FROM", url)]).restore_from;
    for (url, prefix, backup) in [
        ("s3://bucket/a/db", "a/db", None),
        ("s3://bucket/a/db/backups/latest", "a/db", None),
        (
            "s3://bucket/a/db/backups/20260131T120000Z",
            "a/db",
            Some("20260131T120000Z".to_owned()),
        ),
    ] {
        let from = from(url).unwrap();
        assert_eq!(
            (from.archive.prefix.as_str(), from.backup),
            (prefix, backup)
        );
    }
    for url in ["/a/db", "s3://bucket/a/backups/.."] {
        assert_eq!(
            problems(&[("BEYOND_PG_RESTORE_FROM", url)]).len(),
            1,
            "{url}"
        );
    }
}

#[test]
fn an_archive_is_a_bucket_with_whole_keys() {
    let target = ("BEYOND_PG_ARCHIVE_TARGET", "s3://backups/db/one/");
    let Archive::S3(s3) = settings(&[target]).archive else {
        panic!("no archive")
    };
    assert_eq!(
        (s3.bucket.as_str(), s3.prefix.as_str(), s3.keys),
        ("backups", "db/one", None)
    );
    assert_eq!(
        settings(&[("BEYOND_PG_ARCHIVE_TARGET", "")]).archive,
        Archive::Off
    );
    for target in [
        "/var/archive",
        "s3:/backups",
        "s3://B",
        "https://backups/db",
    ] {
        assert_eq!(
            problems(&[("BEYOND_PG_ARCHIVE_TARGET", target)]).len(),
            1,
            "{target}"
        );
    }
    let half = problems(&[target, ("AWS_SECRET_ACCESS_KEY", "leaked")]);
    assert!(
        half[0].starts_with("AWS_ACCESS_KEY_ID is not set"),
        "{half:?}"
    );
    assert!(!half[0].contains("leaked"), "{half:?}");
}

#[test]
fn no_problem_shows_a_secret() {
    let pairs = [
        ("POSTGRES_PASSWORD", "hunter2\nhunter2"),
        ("BEYOND_PG_TIER", "replica"),
        ("BEYOND_PG_REPLICATION_PASSWORD", "hunter2\0"),
        ("BEYOND_PG_PRIMARY_CONNINFO", "host=a password=hunter2"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2\r"),
    ];
    let refusal = Settings::from_metadata(&document(&pairs)).unwrap_err();
    for key in [
        "POSTGRES_PASSWORD",
        "REPLICATION_PASSWORD",
        "PRIMARY_CONNINFO",
        "AWS_SECRET",
    ] {
        assert!(refusal.to_string().contains(key), "{refusal}");
    }
    assert!(
        !format!("{refusal} {refusal:?}").contains("hunter2"),
        "{refusal}"
    );
}

#[test]
fn settings_do_not_print_a_secret() {
    let settings = settings(&[
        ("POSTGRES_PASSWORD", "hunter2"),
        ("BEYOND_PG_WAL_SINK", "s:1"),
        ("BEYOND_PG_REPLICATION_PASSWORD", "hunter2"),
        ("BEYOND_PG_ARCHIVE_TARGET", "s3://backups"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_SESSION_TOKEN", "hunter2"),
    ]);
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn a_replica_is_known_by_its_instance_id_and_restores_nothing() {
    let replica = [
        ("BEYOND_PG_TIER", "replica"),
        ("BEYOND_PG_REPLICATION_PASSWORD", "x"),
        ("BEYOND_PG_PRIMARY_CONNINFO", "host=a"),
    ];
    let with = |extra: &[(&'static str, &'static str)]| [&replica[..], extra].concat();
    let Role::Replica { name, .. } = settings(&with(&[("BEYOND_INSTANCE_ID", "i-B1")])).role else {
        panic!("a replica");
    };
    assert_eq!(name.as_str(), "i-B1");
    let restore = ("BEYOND_PG_RESTORE_TARGET_LSN", "0/1");
    for (extra, told) in [
        (vec![], "BEYOND_INSTANCE_ID is not set"),
        (
            vec![("BEYOND_INSTANCE_ID", "a.b")],
            "BEYOND_INSTANCE_ID is \"a.b\"",
        ),
        (
            vec![("BEYOND_INSTANCE_ID", "b"), restore],
            "BEYOND_PG_RESTORE_TARGET_LSN is set",
        ),
    ] {
        let problems = problems(&with(&extra));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(told), "{problems:?}");
    }
}

#[test]
fn a_primary_may_know_where_the_other_members_are() {
    let primary = [
        ("BEYOND_PG_TIER", "primary"),
        ("BEYOND_PG_REPLICATION_PASSWORD", "x"),
    ];
    let members = |settings: Settings| match settings.role {
        Role::Primary { members, .. } => members,
        role => panic!("{role:?}"),
    };
    assert_eq!(members(settings(&primary)), None);
    let told = ("BEYOND_PG_PRIMARY_CONNINFO", "host=a,b port=5433,5433");
    assert!(members(settings(&[primary[0], primary[1], told])).is_some());
    let wrong = ("BEYOND_PG_PRIMARY_CONNINFO", "host=a password=x");
    assert_eq!(problems(&[primary[0], primary[1], wrong]).len(), 1);
}

#[test]
fn a_key_that_nobody_reads_is_warned_about() {
    assert_eq!(
        warnings(&[
            ("BEYOND_PG_ARCHIVE_TRAGET", "s3://backups"),
            ("platform-id", "x")
        ]),
        [
            "BEYOND_PG_ARCHIVE_TRAGET is not a setting and is ignored. HINT: the nearest is \
          BEYOND_PG_ARCHIVE_TARGET"
        ]
    );
}

#[test]
fn a_primary_that_nobody_can_reach_is_warned_about() {
    let primary = [
        ("BEYOND_PG_TIER", "primary"),
        ("BEYOND_PG_REPLICATION_PASSWORD", "x"),
    ];
    assert!(warnings(&primary)[0].contains("BEYOND_PG_DIRECT_LISTEN"));
    assert!(warnings(&[primary[0], primary[1], ("BEYOND_PG_DIRECT_LISTEN", "*")]).is_empty());
}

/// Whatever a document says, it is either refused or understood; the sentence for it exists.
fn any_document() -> impl Strategy<Value = Metadata> {
    let words = [
        "",
        "1",
        "true",
        "single",
        "primary",
        "sink",
        "s3://backups/x",
        "a:1",
        "*",
        "0/1",
    ];
    let value = prop_oneof![
        prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        "\\PC{0,40}",
    ];
    let names: Vec<_> = keys::ALL
        .iter()
        .map(|key: &&Key| key.name.to_owned())
        .collect();
    prop::collection::btree_map(prop::sample::select(names), value, 0..21).prop_map(|values| {
        Metadata {
            source: Source::Environment,
            values,
            problems: Vec::new(),
        }
    })
}

proptest! {
    #[test]
    fn no_document_makes_the_parser_panic_and_no_refusal_is_empty(document in any_document()) {
        match Settings::from_metadata(&document) {
            Ok((settings, _)) => prop_assert!(!settings.password.expose().is_empty()),
            Err(refusal) => prop_assert!(!refusal.problems.is_empty()),
        }
    }

    #[test]
    fn only_the_four_words_are_tiers(word in "\\PC*") {
        let known = ["single", "primary", "replica", "sink"].contains(&word.as_str());
        prop_assert_eq!(Tier::parse(&word).is_some(), known);
    }

    #[test]
    fn an_instance_id_is_safe_in_a_file_name_and_a_url(id in "\\PC*") {
        if let Some(id) = InstanceId::parse(&id) {
            prop_assert!(!id.as_str().contains(['/', '%', '?', '#', ' ', '\'']));
        }
    }
}
