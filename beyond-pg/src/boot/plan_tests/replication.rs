//! A cluster of a primary and replicas.

use super::*;
use crate::replication::members::{Member, Ours};
use crate::replication::seed::Rewind;
use crate::replication::standing::{Mark, Marks};
use crate::replication::upstream::passfile_line;
use crate::settings::Secret;
use wire::lsn::Lsn;

const PASSWORD: (&str, &str) = ("BEYOND_PG_REPLICATION_PASSWORD", "streams");

fn replica() -> Settings {
    settings(&[
        ("BEYOND_PG_TIER", "replica"),
        ("BEYOND_PG_PRIMARY_CONNINFO", "host=a"),
        PASSWORD,
    ])
}

fn primary() -> Settings {
    settings(&[("BEYOND_PG_TIER", "primary"), PASSWORD])
}

/// A standby that was booted before.
fn following() -> Facts {
    let marks = Marks {
        follows: true,
        ..Marks::default()
    };
    let line = passfile_line(&Secret::new(PASSWORD.1));
    Facts {
        marks,
        passfile: Some(Secret::new(line)),
        ..booted()
    }
}

fn steps(settings: &Settings, facts: &Facts) -> Vec<String> {
    let plan = plan_with(settings, facts).unwrap();
    let disk = plan.disk.iter().map(ToString::to_string);
    disk.chain(plan.bring_up.iter().map(ToString::to_string))
        .collect()
}

fn has(steps: &[String], words: &str) -> bool {
    steps.iter().any(|step| step.contains(words))
}

#[test]
fn a_replica_begins_with_a_base_backup_and_writes_nothing_into_it() {
    let plan = plan_with(&replica(), &fresh()).unwrap();
    insta::assert_snapshot!(plan, @"
    1/24 make folder /run/beyond-pg (755)
    2/24 make folder /run/beyond-pg/tls (755)
    3/24 make folder /var/run/postgresql (775)
    4/24 make folder /var/lib/postgresql (755)
    5/24 make folder /var/lib/postgresql/18 (755)
    6/24 put the replication password where Postgres reads it, on tmpfs
    7/24 base backup from the primary
    8/24 make folder /var/lib/postgresql/18/main/conf.d (700)
    9/24 make folder /var/lib/postgresql/18/main/beyond (700)
    10/24 issue a self-signed certificate: there is none
    11/24 write 00-beyond.conf
    12/24 write 01-tuning.conf
    13/24 write 03-replication.conf
    14/24 write 06-tls.conf
    15/24 create 99-user.conf for the user
    16/24 create 99-user-hba.conf for the user
    17/24 write pg_hba.conf
    18/24 write pg_ident.conf
    19/24 write pgbouncer.ini
    20/24 stamp the volume as instance db-1
    21/24 make the reserve file (66 MB)
    22/24 start Postgres
    23/24 start PgBouncer
    24/24 log in as a client would
    ");
}

#[test]
fn a_standby_that_was_booted_before_just_starts() {
    let steps = steps(&replica(), &following());
    for words in [
        "base backup",
        "rejoin",
        "follow",
        "stamp",
        "password",
        "ensure",
    ] {
        assert!(!has(&steps, words), "{words}: {steps:?}");
    }
    let another = Facts {
        passfile: None,
        ..following()
    };
    let steps = replication::steps(&replica(), &another);
    assert!(has(&steps, "put the replication password"), "{steps:?}");
    assert!(!steps.join(" ").contains("streams"), "{steps:?}");
}

#[test]
fn a_base_backup_that_was_cut_begins_again_and_its_wal_is_nobody_elses() {
    let cut = Facts {
        seeding: true,
        wal_dir: WalDir::Filled,
        ..fresh()
    };
    assert!(has(&steps(&replica(), &cut), "base backup"));
    let wal_of_nobody = Facts {
        seeding: false,
        ..cut.clone()
    };
    for (settings, facts) in [(replica(), wal_of_nobody), (primary(), cut)] {
        let refused = plan_with(&settings, &facts);
        assert!(
            matches!(refused, Err(Refusal::WalWithoutCluster { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_former_primary_rejoins_and_everything_of_ours_is_written_anew() {
    let former = Facts {
        postmaster_pid: true,
        ..booted()
    };
    let steps = steps(&replica(), &former);
    let at = |words: &str| {
        let position = steps.iter().position(|step| step.contains(words));
        position.unwrap_or_else(|| panic!("{words}: {steps:?}"))
    };
    assert!(at("put the replication password") < at("rejoin the cluster: rewind"));
    assert!(at("remove the postmaster.pid") < at("rejoin the cluster: rewind"));
    assert!(at("rejoin the cluster: rewind") < at("write 00-beyond.conf"));
    assert!(at("write 03-replication.conf") < at("stamp the volume as instance db-1"));
    assert!(has(&steps, "issue a self-signed certificate"), "{steps:?}");
}

#[test]
fn a_rewind_that_was_cut_is_no_cluster_any_more() {
    for (rewind, words) in [
        (Rewind::Begun, "replace what a rewind that was cut left"),
        (Rewind::Done, "follow the primary after a rewind"),
    ] {
        let facts = Facts {
            rewind: Some(rewind),
            ..booted()
        };
        assert!(has(&steps(&replica(), &facts), words), "{rewind:?}");
    }
}

#[test]
fn a_copy_of_the_primarys_volume_follows_and_leaves_nobody() {
    let copy = Facts {
        stamp: Some("parent".into()),
        ..booted()
    };
    let steps = steps(&replica(), &copy);
    assert!(
        has(&steps, "follow the primary from a copy of its volume"),
        "{steps:?}"
    );
    assert!(
        has(&steps, "stamp the volume as instance db-1"),
        "{steps:?}"
    );
    assert!(!has(&steps, "fork"), "{steps:?}");
}

#[test]
fn a_volume_that_follows_is_not_opened_for_writes_by_another_tier() {
    for settings in [primary(), settings(&[])] {
        let refused = plan_with(&settings, &following()).unwrap_err().to_string();
        assert!(refused.contains("follows a primary"), "{refused}");
        assert!(refused.contains("ask it to `promote`"), "{refused}");
    }
}

#[test]
fn a_primary_that_was_outranked_is_refused_before_the_first_step() {
    let other = Member {
        system_id: "7".into(),
        instance_id: Some("db-2".into()),
        timeline: 2,
        in_recovery: false,
        flushed_lsn: None,
        slot: None,
    };
    let members = Members {
        ours: Some(Ours {
            system_id: "7".into(),
            timeline: 1,
            clean: true,
            end: Lsn::new(1 << 24),
        }),
        others: vec![other],
    };
    let facts = Facts {
        members,
        ..booted()
    };
    let refused = plan_with(&primary(), &facts).unwrap_err().to_string();
    assert!(refused.starts_with("instance db-2 of this cluster went on to timeline 2"));
}

#[test]
fn a_primary_makes_the_role_and_lets_it_rewind() {
    let steps = steps(&primary(), &booted());
    assert!(
        has(&steps, "ensure the role beyond_replication"),
        "{steps:?}"
    );
    assert!(
        has(&steps, "ensure that beyond_replication can rewind"),
        "{steps:?}"
    );
}

#[test]
fn records_that_have_had_their_time_go() {
    let facts = Facts {
        stale_marks: vec![Mark::Promoted, Mark::SyncStandbys],
        passfile: Some(Secret::new("x")),
        ..booted()
    };
    let steps = steps(&primary(), &facts);
    for words in [
        "forget a promotion",
        "forget standby names",
        "remove the replication password",
    ] {
        assert!(has(&steps, words), "{words}: {steps:?}");
    }
}
