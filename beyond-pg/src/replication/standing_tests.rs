use super::*;
use crate::metadata::{Metadata, Source};
use crate::settings::Tier;

fn settings(extra: &[(&str, &str)]) -> Settings {
    let values = [
        ("POSTGRES_PASSWORD", "x"),
        ("BEYOND_INSTANCE_ID", "b"),
        ("BEYOND_PG_REPLICATION_PASSWORD", "y"),
        ("BEYOND_PG_PRIMARY_CONNINFO", "host=a,b port=5433,5433"),
    ];
    let values = values.iter().chain(extra);
    let values = values
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let document = Metadata {
        source: Source::Mmds,
        values,
        problems: Vec::new(),
    };
    Settings::from_metadata(&document).unwrap().0
}

fn replica() -> Settings {
    settings(&[("BEYOND_PG_TIER", "replica")])
}

fn primary(standbys: &str) -> Settings {
    settings(&[
        ("BEYOND_PG_TIER", "primary"),
        ("BEYOND_PG_SYNC_STANDBYS", standbys),
    ])
}

fn promoted_as(instance: &str, follows: bool) -> Marks {
    let end = PromotionEnd {
        timeline: 2,
        lsn: Lsn::new(0x500_0000),
    };
    Marks {
        follows,
        promoted: Some(Promoted {
            instance: instance.to_owned(),
            end: Some(end),
        }),
        sync: None,
    }
}

fn set(over: &[&str], names: &[&str]) -> Marks {
    let names_of = |names: &[&str]| -> Vec<StandbyName> {
        let parse = |name: &&str| StandbyName::parse(name).unwrap();
        names.iter().map(parse).collect()
    };
    Marks {
        sync: Some(SyncStandbys {
            instance: Some("b".to_owned()),
            over: names_of(over),
            names: names_of(names),
        }),
        ..Marks::default()
    }
}

#[test]
fn a_promoted_replica_writes_though_its_metadata_still_calls_it_a_replica() {
    let mut told = replica();
    let stale = promoted_as("b", false).apply(&mut told, false);
    assert_eq!((told.role.tier(), stale), (Tier::Primary, vec![]));
    assert_eq!(told.sync_names(), None);
    let Role::Primary { members, .. } = &told.role else {
        panic!("{told:?}");
    };
    assert!(members.is_some(), "it asks the others at its next boot");
}

#[test]
fn a_promotion_that_did_not_end_or_was_anothers_or_is_outranked_leaves_a_replica() {
    for (marks, outranked, stale) in [
        (promoted_as("b", true), false, vec![]),
        (promoted_as("a", false), false, vec![Mark::Promoted]),
        (promoted_as("b", false), true, vec![Mark::Promoted]),
    ] {
        let mut told = replica();
        assert_eq!(marks.apply(&mut told, outranked), stale, "{marks:?}");
        assert_eq!(told.role.tier(), Tier::Replica, "{marks:?}");
    }
}

#[test]
fn a_promotion_has_had_its_time_once_the_metadata_knows_of_it() {
    let mut told = primary("c");
    let stale = promoted_as("b", false).apply(&mut told, false);
    assert_eq!(stale, [Mark::Promoted]);
    assert_eq!(told.sync_names().unwrap(), "ANY 1 (\"c\")");
}

#[test]
fn names_that_were_set_are_in_force_until_the_metadata_names_others() {
    let mut told = primary("a");
    assert_eq!(set(&["a"], &["c", "d"]).apply(&mut told, false), []);
    assert_eq!(told.sync_names().unwrap(), "ANY 1 (\"c\", \"d\")");

    let mut nobody = primary("a");
    assert_eq!(set(&["a"], &[]).apply(&mut nobody, false), []);
    assert_eq!(nobody.sync_names(), None);

    let mut told_anew = primary("e");
    let stale = set(&["a"], &["c"]).apply(&mut told_anew, false);
    assert_eq!(stale, [Mark::SyncStandbys]);
    assert_eq!(told_anew.sync_names().unwrap(), "ANY 1 (\"e\")");
}

#[test]
fn names_that_were_set_on_a_promoted_replica_stay_with_it() {
    let mut told = replica();
    let marks = Marks {
        promoted: promoted_as("b", false).promoted,
        ..set(&[], &["a"])
    };
    assert_eq!(marks.apply(&mut told, false), []);
    assert_eq!(told.sync_names().unwrap(), "ANY 1 (\"a\")");
}

#[test]
fn a_copy_does_not_wait_for_whom_its_parent_waits() {
    let mut told = primary("a");
    told.instance_id = None;
    assert_eq!(
        set(&["a"], &["c"]).apply(&mut told, false),
        [Mark::SyncStandbys]
    );
}

/// Commits that waited for somebody do not come to wait for nobody.
#[test]
fn a_record_with_a_name_that_is_none_is_no_record() {
    let record = |name| format!(r#"{{"instance":"b","over":[],"names":["{name}"]}}"#);
    serde_json::from_str::<SyncStandbys>(&record("c")).unwrap();
    for name in ["*", "", "a b"] {
        serde_json::from_str::<SyncStandbys>(&record(name)).unwrap_err();
    }
}

#[test]
fn those_whom_commits_waited_for_are_the_names_in_force_but_for_our_own() {
    let told = primary("b,c,d");
    let names = |marks: &Marks, settings: &Settings| -> Vec<String> {
        let names = marks.standbys(settings);
        names.iter().map(|name| name.as_str().to_owned()).collect()
    };
    assert_eq!(names(&Marks::default(), &told), ["c", "d"]);
    assert_eq!(names(&set(&["b", "c", "d"], &["d"]), &told), ["d"]);
    // A record over other names has had its time.
    assert_eq!(names(&set(&["c"], &["e"]), &told), ["c", "d"]);
    // A promoted one waits for nobody until it is told.
    assert!(names(&promoted_as("b", false), &replica()).is_empty());
    let told_since = Marks {
        sync: set(&[], &["c"]).sync,
        ..promoted_as("b", false)
    };
    assert_eq!(names(&told_since, &replica()), ["c"]);
}
