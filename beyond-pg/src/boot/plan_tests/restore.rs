//! A restore to a moment.

use super::*;
use crate::fork::{Journal, Restored};

const TARGET: [(&str, &str); 2] = [
    ("BEYOND_PG_ARCHIVE_TARGET", "s3://bucket/prefix"),
    ("BEYOND_PG_RESTORE_TARGET_LSN", "0/3000000"),
];

/// The steps that have to do with it.
fn of_the_restore(facts: &Facts) -> Vec<String> {
    let plan = plan_with(&settings(&TARGET), facts).unwrap();
    let disk = plan.disk.iter().map(ToString::to_string);
    let bring_up = plan.bring_up.iter().map(ToString::to_string);
    disk.chain(bring_up)
        .filter(|step| {
            let words = ["fork", "restore", "certificate", "pitr"];
            words.iter().any(|word| step.contains(word))
        })
        .collect()
}

#[test]
fn a_machine_that_is_restored_leaves_its_own_future_and_keeps_its_certificate() {
    let steps = of_the_restore(&booted());
    assert_eq!(
        steps[..3],
        [
            "note that instance db-1 is restored to an earlier state",
            "write 05-pitr.conf",
            "fork: recover onto a timeline of its own",
        ]
    );
    assert_eq!(steps.len(), 2 + Part::ALL.len(), "{steps:?}");
}

#[test]
fn a_restore_that_was_cut_goes_on() {
    let facts = Facts {
        fork: Some(Journal {
            parent: "db-1".into(),
            child: "db-1".into(),
            timeline: 1,
        }),
        ..booted()
    };
    let steps = of_the_restore(&facts);
    assert_eq!(steps.len(), 1 + Part::ALL.len(), "{steps:?}");
}

#[test]
fn a_restore_that_has_ended_is_not_done_again_and_that_of_a_parent_is_none_of_ours() {
    let done_by = |instance: &str| Facts {
        restored: Some(Restored {
            instance: instance.into(),
            target: "LSN 0/3000000".into(),
        }),
        ..booted()
    };
    assert_eq!(of_the_restore(&done_by("db-1")), [""; 0]);
    assert!(!of_the_restore(&done_by("parent")).is_empty());
}

#[test]
fn a_restore_that_cannot_be_is_refused_before_anything_is_touched() {
    let without_archive = plan_with(&settings(&TARGET[1..]), &booted());
    assert_eq!(
        without_archive,
        Err(Refusal::RestoreWithout("BEYOND_PG_ARCHIVE_TARGET"))
    );
    let nothing = plan_with(&settings(&TARGET), &fresh());
    assert!(
        matches!(nothing, Err(Refusal::NothingToRestore { .. })),
        "{nothing:?}"
    );
}

const FROM: (&str, &str) = ("BEYOND_PG_RESTORE_FROM", "s3://bucket/prefix/db-0");

#[test]
fn an_empty_volume_is_filled_with_a_backup_before_anything_else_is_planned() {
    let half_made = Facts {
        pgdata: Pgdata::HalfMade,
        staging: true,
        ..fresh()
    };
    for facts in [fresh(), half_made] {
        let plan = plan_with(&settings(&[FROM]), &facts).unwrap();
        assert_eq!(plan.disk.last(), Some(&DiskStep::FetchBackup));
        assert!(!plan.disk.contains(&DiskStep::InitDb));
        assert_eq!(plan.bring_up, []);
        assert_eq!(facts.staging, plan.disk.contains(&DiskStep::DiscardStaging));
    }
    // Its WAL may be the only copy of something.
    let wal = Facts {
        wal_dir: WalDir::Filled,
        ..fresh()
    };
    let refused = plan_with(&settings(&[FROM]), &wal);
    assert!(matches!(refused, Err(Refusal::WalWithoutCluster { .. })));
    // A cluster that is there stays.
    let plan = plan_with(&settings(&[FROM]), &booted()).unwrap();
    assert!(!plan.disk.contains(&DiskStep::FetchBackup));
}

#[test]
fn a_volume_made_from_a_backup_leaves_whoever_it_was_also_when_that_is_itself() {
    let fetched = Facts {
        fetched: true,
        ..booted()
    };
    for settings in [settings(&[FROM]), settings(&[FROM, TARGET[1]])] {
        let plan = plan_with(&settings, &fetched).unwrap();
        let leaves = |step: &&BringUpStep| matches!(step, BringUpStep::Leave(_));
        assert_eq!(plan.bring_up.iter().filter(leaves).count(), Part::ALL.len());
    }
    // It has been restored there before the backup was taken.
    let again = Facts {
        restored: Some(Restored {
            instance: "db-1".into(),
            target: "LSN 0/3000000".into(),
        }),
        ..fetched
    };
    let plan = plan_with(&settings(&[FROM, TARGET[1]]), &again).unwrap();
    let words: Vec<_> = plan.disk.iter().map(ToString::to_string).collect();
    assert!(
        words.contains(&"write 05-pitr.conf".to_owned()),
        "{words:?}"
    );
}
