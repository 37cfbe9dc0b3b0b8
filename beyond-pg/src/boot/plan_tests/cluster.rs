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
