use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::boot::step::{BringUpStep, Dir};
use crate::disk::Volume;
use crate::fork::Part;
use crate::hooks::{Hook, Stage};
use crate::metadata::{Metadata, Source};
use crate::replication::members::Members;
use crate::replication::standing::Marks;
use crate::tls::pair::Flaw;
use crate::tls::pair::tests::bundle;
use crate::tls::source::{Installed, Offer, TlsSource};

mod archive;
mod certificate;
mod cluster;
mod fork;
mod replication;
mod reserve;
mod restore;

const NOW: i64 = 1_800_000_000;

const MANIFEST: &str = r#"
preload = ["pg_stat_statements", "pg_cron"]

[[extension]]
name = "vector"
package = "postgresql-18-pgvector"
version = "0.8.7-1"

[[extension]]
name = "pg_cron"
database = "postgres"

[[extension]]
name = "gone"
"#;

fn settings(extra: &[(&str, &str)]) -> Settings {
    let values = [
        ("POSTGRES_PASSWORD", "secret"),
        ("BEYOND_INSTANCE_ID", "db-1"),
    ]
    .iter()
    .chain(extra)
    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
    .collect();
    let document = Metadata {
        source: Source::Mmds,
        values,
        problems: Vec::new(),
    };
    Settings::from_metadata(&document).unwrap().0
}

const MACHINE: Machine = Machine {
    ram_bytes: 4 << 30,
    vcpus: 2,
};

/// 100 GB, of which so many hundredths are used.
fn filled(percent: u64) -> Volume {
    let total: u64 = 100 << 30;
    let used = total / 100 * percent;
    let (available, reserve) = (total - used, 0);
    Volume {
        total,
        used,
        available,
        reserve,
    }
}

fn fresh() -> Facts {
    Facts {
        pgdata: Pgdata::Absent { empty_dir: false },
        staging: false,
        wal_link: WalLink::Missing,
        wal_dir: WalDir::Absent,
        postmaster_pid: false,
        aside: "/var/lib/postgresql/18/main.half-made.1".into(),
        dirs: BTreeSet::new(),
        files: BTreeMap::new(),
        tls: TlsFacts {
            now: NOW,
            ..TlsFacts::default()
        },
        stamp: None,
        volume: filled(10),
        fork: None,
        restored: None,
        fetched: false,
        forked: false,
        seeding: false,
        rewind: None,
        marks: Marks::default(),
        stale_marks: Vec::new(),
        members: Members::default(),
        passfile: None,
        preload: vec!["pg_stat_statements".into(), "pg_cron".into()],
        extensions: [
            ("vector".to_owned(), "0.8.7".to_owned()),
            ("pg_cron".into(), "1.6".into()),
        ]
        .into(),
        base: None,
        hooks: Vec::new(),
    }
}

/// A volume that was booted before: a cluster with its WAL in place.
fn booted() -> Facts {
    Facts {
        pgdata: Pgdata::Cluster,
        wal_link: WalLink::Linked,
        wal_dir: WalDir::Filled,
        stamp: Some("db-1".into()),
        tls: serving_our_own(),
        volume: Volume {
            reserve: 66 << 20,
            ..filled(50)
        },
        ..fresh()
    }
}

fn serving_our_own() -> TlsFacts {
    let bundle = bundle(NOW);
    TlsFacts {
        own: Offer::Fit(bundle.clone()),
        installed: Some(Installed {
            source: TlsSource::SelfSigned,
            bundle,
        }),
        now: NOW,
        ..TlsFacts::default()
    }
}

fn plan_with(settings: &Settings, facts: &Facts) -> Result<Plan, Refusal> {
    boot_with(settings, |boot| boot.plan(facts))
}

fn boot_with<T>(settings: &Settings, ask: impl FnOnce(&Boot<'_>) -> T) -> T {
    ask(&Boot {
        settings,
        machine: &MACHINE,
        manifest: &Manifest::parse(MANIFEST).unwrap(),
        layout: &Layout::new("/"),
        holds_volume: true,
    })
}

fn plan(facts: &Facts) -> Result<Plan, Refusal> {
    plan_with(&settings(&[]), facts)
}

fn disk(facts: &Facts) -> Vec<String> {
    plan(facts)
        .unwrap()
        .disk
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_first_boot_makes_everything_in_this_order() {
    insta::assert_snapshot!(plan(&fresh()).unwrap(), @"
     1/28 make folder /run/beyond-pg (755)
     2/28 make folder /run/beyond-pg/tls (755)
     3/28 make folder /var/run/postgresql (775)
     4/28 make folder /var/lib/postgresql (755)
     5/28 make folder /var/lib/postgresql/18 (755)
     6/28 initdb
     7/28 move pg_wal out of PGDATA
     8/28 link pg_wal
     9/28 make folder /var/lib/postgresql/18/main/conf.d (700)
     10/28 make folder /var/lib/postgresql/18/main/beyond (700)
     11/28 issue a self-signed certificate: there is none
     12/28 write 00-beyond.conf
     13/28 write 01-tuning.conf
     14/28 write 06-tls.conf
     15/28 create 99-user.conf for the user
     16/28 create 99-user-hba.conf for the user
     17/28 write pg_hba.conf
     18/28 write pg_ident.conf
     19/28 write pgbouncer.ini
     20/28 stamp the volume as instance db-1
     21/28 make the reserve file (66 MB)
     22/28 start Postgres
     23/28 start PgBouncer
     24/28 ensure the superuser's password
     25/28 ensure the pooler's role and auth_query function
     26/28 ensure extension vector 0.8.7 in postgres
     27/28 ensure extension pg_cron 1.6 in postgres
     28/28 log in as a client would
    ");
}

/// A volume that was booted before by this image on a machine of this size.
fn settled(layout: &Layout) -> Facts {
    let mut facts = booted();
    facts.dirs = wanted_dirs(layout)
        .into_iter()
        .map(|dir| dir.path)
        .collect();
    for step in plan(&facts).unwrap().disk {
        let (file, text) = match step {
            DiskStep::Write { file, text } => (file, text),
            DiskStep::CreateForUser(file) => (file, String::new()),
            step => panic!("{step}"),
        };
        let state = FileState::Present {
            text,
            right_mode_and_owner: true,
        };
        facts.files.insert(file, state);
    }
    facts
}

#[test]
fn a_volume_that_is_as_it_should_be_needs_nothing() {
    let facts = settled(&Layout::new("/"));
    assert_eq!(disk(&facts), Vec::<String>::new());
}

#[test]
fn a_conf_file_with_a_foreign_mode_is_written_again_and_a_users_is_not() {
    let mut facts = booted();
    for file in ConfFile::ALL {
        let text = "work_mem = '1GB'".to_owned();
        facts.files.insert(
            file,
            FileState::Present {
                text,
                right_mode_and_owner: false,
            },
        );
    }
    let steps = disk(&facts);
    assert!(
        steps.contains(&"write 00-beyond.conf".to_owned()),
        "{steps:?}"
    );
    assert!(
        steps.contains(&"remove 02-durability.conf".to_owned()),
        "{steps:?}"
    );
    assert!(
        !steps.iter().any(|step| step.contains("99-user")),
        "{steps:?}"
    );
}

#[test]
fn a_pid_file_is_stale_only_for_whoever_holds_the_volume() {
    let facts = Facts {
        postmaster_pid: true,
        ..booted()
    };
    assert!(disk(&facts).contains(&DiskStep::RemoveStalePid.to_string()));
    let beside = Boot {
        settings: &settings(&[]),
        machine: &MACHINE,
        manifest: &Manifest::parse(MANIFEST).unwrap(),
        layout: &Layout::new("/"),
        holds_volume: false,
    };
    assert!(
        !beside
            .plan(&facts)
            .unwrap()
            .disk
            .contains(&DiskStep::RemoveStalePid)
    );
}

#[test]
fn an_extension_goes_where_the_manifest_says_and_one_the_image_lacks_goes_nowhere() {
    let plan = plan_with(&settings(&[("POSTGRES_DATABASE", "app")]), &booted()).unwrap();
    let items: Vec<String> = plan.bring_up.iter().map(ToString::to_string).collect();
    assert!(
        items.contains(&"ensure database app".to_owned()),
        "{items:?}"
    );
    assert!(
        items.contains(&"ensure extension vector 0.8.7 in app".to_owned()),
        "{items:?}"
    );
    assert!(
        items.contains(&"ensure extension pg_cron 1.6 in postgres".to_owned()),
        "{items:?}"
    );
    assert!(!items.iter().any(|item| item.contains("gone")), "{items:?}");
}

#[test]
fn hooks_run_before_postgres_starts_and_after_everything_is_made_true() {
    let hook = |stage, name: &str| Hook {
        stage,
        name: name.to_owned(),
    };
    let facts = Facts {
        hooks: vec![
            hook(Stage::PreStart, "10-a"),
            hook(Stage::PreStart, "20-b"),
            hook(Stage::PostStart, "10-c"),
        ],
        ..booted()
    };
    let plan = plan_with(&settings(&[]), &facts).unwrap();
    let steps: Vec<String> = plan.bring_up.iter().map(ToString::to_string).collect();
    let at = |words: &str| steps.iter().position(|step| step == words).unwrap();
    assert_eq!(at("run hook pre-start.d/10-a"), 0);
    assert_eq!(at("run hook pre-start.d/20-b"), 1);
    assert_eq!(at("start Postgres"), 2);
    assert_eq!(at("run hook post-start.d/10-c"), steps.len() - 2);
    assert_eq!(at("log in as a client would"), steps.len() - 1);
}
