//! A volume behind its own archive.

use super::*;

const TARGET: (&str, &str) = ("BEYOND_PG_ARCHIVE_TARGET", "s3://bucket/prefix");

fn asks(extra: &[(&str, &str)], facts: &Facts) -> bool {
    let plan = plan_with(&settings(extra), facts).unwrap();
    plan.bring_up.contains(&BringUpStep::CatchUp)
}

#[test]
fn a_cluster_that_was_there_asks_its_archive_before_postgres_starts() {
    let plan = plan_with(&settings(&[TARGET]), &booted()).unwrap();
    let at = |step| plan.bring_up.iter().position(|one| *one == step);
    assert_eq!(at(BringUpStep::CatchUp), Some(0));
    assert_eq!(at(BringUpStep::StartPostgres), Some(1));
    assert!(!asks(&[], &booted()), "there is no archive");
    assert!(!asks(&[TARGET], &fresh()), "nothing of it is there yet");
}

#[test]
fn what_ends_elsewhere_than_the_archive_does_not_ask_it() {
    let restore = ("BEYOND_PG_RESTORE_TARGET_LSN", "0/3000000");
    assert!(!asks(&[TARGET, restore], &booted()));
    let fork = Facts {
        stamp: Some("parent".into()),
        ..booted()
    };
    assert!(!asks(&[TARGET], &fork));
    let replica = [
        TARGET,
        ("BEYOND_PG_TIER", "replica"),
        ("BEYOND_PG_PRIMARY_CONNINFO", "host=a"),
        ("BEYOND_PG_REPLICATION_PASSWORD", "streams"),
    ];
    assert!(!asks(&replica, &booted()));
}
