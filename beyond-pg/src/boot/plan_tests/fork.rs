//! A volume that is a copy of another instance's.

use super::*;
use crate::fork::Journal;

/// The steps that have to do with leaving a parent.
fn of_the_fork(facts: &Facts) -> Vec<String> {
    let plan = plan(facts).unwrap();
    let disk = plan.disk.iter().map(ToString::to_string);
    let bring_up = plan.bring_up.iter().map(ToString::to_string);
    disk.chain(bring_up)
        .filter(|step| {
            let words = ["fork", "certificate", "stamp", "start Postgres"];
            words.iter().any(|word| step.contains(word))
        })
        .collect()
}

fn leaving(parent: &str, child: &str) -> Journal {
    Journal {
        parent: parent.into(),
        child: child.into(),
        timeline: 1,
    }
}

#[test]
fn a_copy_of_another_instances_volume_leaves_its_parent_before_anything_else_is_started() {
    let facts = Facts {
        stamp: Some("parent".into()),
        ..booted()
    };
    assert_eq!(
        of_the_fork(&facts),
        [
            "discard the parent's certificate and key",
            "note that instance db-1 is a fork of parent",
            "issue a self-signed certificate: there is none",
            "fork: recover onto a timeline of its own",
            "fork: drop the parent's replication slots",
            "fork: reset what leads to the parent's peers",
            "fork: disable subscriptions and pause jobs",
            "fork: take the password of its own metadata",
            "fork: stamp the volume as its own",
            "start Postgres",
        ]
    );
}

#[test]
fn a_certificate_that_the_user_manages_is_the_forks_as_well() {
    let tls = TlsFacts {
        user: Offer::Fit(bundle(NOW)),
        ..fresh().tls
    };
    let facts = Facts {
        stamp: Some("parent".into()),
        tls,
        ..booted()
    };
    let steps = of_the_fork(&facts);
    assert_eq!(steps[0], "note that instance db-1 is a fork of parent");
    assert!(
        !steps.iter().any(|step| step.starts_with("discard")),
        "{steps:?}"
    );
}

#[test]
fn a_fork_that_was_cut_goes_on_leaving_and_keeps_the_certificate_it_made() {
    let facts = Facts {
        stamp: Some("parent".into()),
        fork: Some(leaving("parent", "db-1")),
        ..booted()
    };
    let steps = of_the_fork(&facts);
    assert_eq!(steps.len(), Part::ALL.len() + 1, "{steps:?}");
    assert_eq!(steps[0], "fork: recover onto a timeline of its own");
}

#[test]
fn a_fork_of_a_fork_that_was_cut_leaves_on_its_own_account() {
    let facts = Facts {
        stamp: Some("parent".into()),
        fork: Some(leaving("parent", "sibling")),
        ..booted()
    };
    assert!(
        of_the_fork(&facts).contains(&"note that instance db-1 is a fork of parent".to_owned())
    );
}

#[test]
fn a_fork_that_has_left_forgets_its_journal_and_is_an_ordinary_machine() {
    let facts = Facts {
        fork: Some(leaving("parent", "db-1")),
        ..booted()
    };
    assert_eq!(
        of_the_fork(&facts),
        [
            "forget the journal of a fork that is over",
            "start Postgres"
        ]
    );
}
