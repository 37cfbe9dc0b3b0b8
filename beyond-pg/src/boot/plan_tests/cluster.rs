//! What may be made of a volume, and what is refused.

use super::*;

#[test]
fn another_major_version_is_refused() {
    let facts = Facts {
        pgdata: Pgdata::OtherMajor("17".into()),
        ..booted()
    };
    assert_eq!(
        plan(&facts).unwrap_err().to_string(),
        "/var/lib/postgresql/18/main belongs to PostgreSQL 17; this image is PostgreSQL 18. \
         Nothing was changed.\n\
         HINT: boot it with an image of version 17, or move the data with pg_upgrade or dump and \
         restore"
    );
}

#[test]
fn a_cluster_without_its_wal_is_refused_rather_than_started_empty() {
    for (wal_link, wal_dir) in [
        (WalLink::Linked, WalDir::Absent),
        (WalLink::Linked, WalDir::Empty),
        (WalLink::Missing, WalDir::Absent),
        (
            WalLink::Elsewhere {
                target: "/mnt".into(),
                exists: false,
            },
            WalDir::Empty,
        ),
    ] {
        let facts = Facts {
            wal_link,
            wal_dir,
            ..booted()
        };
        assert!(
            matches!(plan(&facts), Err(Refusal::WalMissing { .. })),
            "{facts:?}"
        );
    }
}

#[test]
fn wal_in_two_places_or_without_a_cluster_is_refused() {
    let two = Facts {
        wal_link: WalLink::Inside,
        ..booted()
    };
    assert!(matches!(plan(&two), Err(Refusal::TwoWals { .. })));
    let orphaned = Facts {
        wal_dir: WalDir::Filled,
        ..fresh()
    };
    assert!(matches!(
        plan(&orphaned),
        Err(Refusal::WalWithoutCluster { .. })
    ));
}

#[test]
fn a_half_made_cluster_is_set_aside_before_another_is_made() {
    let steps = disk(&Facts {
        pgdata: Pgdata::HalfMade,
        ..fresh()
    });
    let position = |words: &str| steps.iter().position(|step| step.starts_with(words));
    assert!(position("set the half-made").unwrap() < position("initdb").unwrap());
}

#[test]
fn what_lies_in_a_half_made_cluster_counts_for_nothing() {
    let layout = Layout::new("/");
    let mut facts = Facts {
        pgdata: Pgdata::HalfMade,
        stamp: Some("db-1".into()),
        ..fresh()
    };
    facts.dirs = wanted_dirs(&layout)
        .into_iter()
        .map(|dir| dir.path)
        .collect();
    let steps = plan(&facts).unwrap().disk;
    let made = |path| {
        steps
            .iter()
            .any(|step| matches!(step, DiskStep::MakeDir(Dir { path: made, .. }) if *made == path))
    };
    assert!(made(layout.confd()));
    assert!(!made(layout.major_dir()));
    assert!(steps.contains(&DiskStep::Stamp("db-1".into())));
}

/// The sink is asked before initdb: a cluster that took the place of a lost one would never be let near
/// the WAL of that.
#[test]
fn a_sink_is_asked_for_a_cluster_where_there_is_none_and_what_it_has_is_not_made_anew() {
    let with_sink = settings(&[
        ("BEYOND_PG_WAL_SINK", "sink:5434"),
        ("BEYOND_PG_REPLICATION_PASSWORD", "secret"),
    ]);
    let asks = |settings: &Settings, facts: &Facts| {
        boot_with(settings, |boot| boot.asks_for_cluster(facts))
    };
    assert!(asks(&with_sink, &fresh()));
    assert!(!asks(&with_sink, &booted()));
    assert!(!asks(&settings(&[]), &fresh()));
    let refused = Facts {
        wal_dir: WalDir::Filled,
        ..fresh()
    };
    assert!(!asks(&with_sink, &refused));

    let has_one = Facts {
        base: Some(wire::sink::Base {
            system_id: "17".into(),
            instance_id: Some("db-1".into()),
            redo_lsn: wire::lsn::Lsn::new(0x0200_0028),
            bytes: 1,
            sha256: String::new(),
        }),
        ..fresh()
    };
    let plan = plan_with(&with_sink, &has_one).unwrap();
    let steps: Vec<String> = plan.disk.iter().map(ToString::to_string).collect();
    let position = |words: &str| steps.iter().position(|step| step == words);
    let taken = position("fetch the cluster from the sink sink:5434, as of 0/2000028");
    assert!(
        taken.unwrap() < position("move pg_wal out of PGDATA").unwrap(),
        "{steps:?}"
    );
    assert_eq!(position("initdb"), None);
}
