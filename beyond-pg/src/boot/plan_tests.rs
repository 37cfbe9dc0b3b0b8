use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::boot::step::Dir;
use crate::disk::Volume;
use crate::hooks::Hook;
use crate::metadata::{Metadata, Source};
use crate::tls::pair::Flaw;
use crate::tls::pair::tests::bundle;
use crate::tls::source::{Installed, Offer, TlsSource};

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
        forked: false,
        preload: vec!["pg_stat_statements".into(), "pg_cron".into()],
        extensions: [
            ("vector".to_owned(), "0.8.7".to_owned()),
            ("pg_cron".into(), "1.6".into()),
        ]
        .into(),
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
            reserve: 64 << 20,
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
    Boot {
        settings,
        machine: &MACHINE,
        manifest: &Manifest::parse(MANIFEST).unwrap(),
        layout: &Layout::new("/"),
        holds_volume: true,
    }
    .plan(facts)
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
     21/28 make the reserve file (64 MB)
     22/28 start Postgres
     23/28 start PgBouncer
     24/28 ensure the superuser's password
     25/28 ensure the pooler's role and auth_query function
     26/28 ensure extension vector 0.8.7 in postgres
     27/28 ensure extension pg_cron 1.6 in postgres
     28/28 log in as a client would
    ");
}

#[test]
fn a_certificate_is_installed_before_any_file_names_its_ca() {
    let tls = TlsFacts {
        platform: Offer::Fit(bundle(NOW)),
        ..fresh().tls
    };
    let steps = disk(&Facts { tls, ..booted() });
    let position = |words: &str| steps.iter().position(|step| step == words);
    let installed = position("install the platform's certificate").unwrap();
    assert!(installed < position("write 06-tls.conf").unwrap());
    assert!(installed > position("make folder /run/beyond-pg/tls (755)").unwrap());
}

#[test]
fn a_users_flawed_files_are_not_overwritten_by_one_of_our_own() {
    let tls = TlsFacts {
        user: Offer::Flawed(Flaw::KeyDoesNotMatch),
        ..fresh().tls
    };
    let words = "issue a self-signed certificate for this boot: there is none";
    assert!(disk(&Facts { tls, ..booted() }).contains(&words.to_owned()));
}

#[test]
fn a_running_machine_does_what_a_boot_would_do_about_its_certificate_and_nothing_else() {
    let layout = Layout::new("/");
    let right = |client_ca| FileState::Present {
        text: conf::tls_text(&layout, client_ca),
        right_mode_and_owner: true,
    };
    let steps = |tls: &TlsFacts, conf: &FileState| -> Vec<String> {
        let steps = certificate(&layout, tls, conf);
        steps.iter().map(ToString::to_string).collect()
    };
    let own = serving_our_own();
    assert_eq!(steps(&own, &right(false)), [""; 0]);
    assert_eq!(steps(&own, &right(true)), ["write 06-tls.conf"]);
    let platform = TlsFacts {
        platform: Offer::Fit(bundle(NOW)),
        ..own
    };
    assert_eq!(
        steps(&platform, &right(false)),
        ["install the platform's certificate"]
    );
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

fn leaving(parent: &str, child: &str) -> fork::Journal {
    fork::Journal {
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
fn on_a_full_volume_the_reserve_makes_room_before_anything_is_written() {
    let full = Volume {
        reserve: 64 << 20,
        ..filled(100)
    };
    let steps = disk(&Facts {
        volume: full,
        ..booted()
    });
    assert_eq!(steps[0], "release the reserve file: the volume is full");
    assert!(
        !steps
            .iter()
            .any(|step| step.starts_with("make the reserve"))
    );
}

#[test]
fn a_full_volume_that_is_as_it_should_be_gets_nothing_written_to_it() {
    let layout = Layout::new("/");
    let as_it_should_be = settled(&layout);
    let facts = Facts {
        volume: filled(100),
        ..as_it_should_be
    };
    assert_eq!(disk(&facts), Vec::<String>::new());
}

#[test]
fn the_reserve_is_made_where_it_is_missing_and_there_is_room() {
    let step = "make the reserve file (64 MB)".to_owned();
    for (percent, made) in [(50, true), (84, true), (85, false), (100, false)] {
        let volume = filled(percent);
        let steps = disk(&Facts { volume, ..booted() });
        assert_eq!(steps.contains(&step), made, "at {percent} %");
    }
}

#[test]
fn beside_a_running_server_the_reserve_is_not_released() {
    let settings = settings(&[]);
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let layout = Layout::new("/");
    let facts = Facts {
        volume: Volume {
            reserve: 64 << 20,
            ..filled(100)
        },
        ..booted()
    };
    for holds_volume in [true, false] {
        let boot = Boot {
            settings: &settings,
            machine: &MACHINE,
            manifest: &manifest,
            layout: &layout,
            holds_volume,
        };
        let steps = boot.plan(&facts).unwrap().disk;
        assert_eq!(steps.contains(&DiskStep::ReleaseReserve), holds_volume);
    }
}

#[test]
fn what_is_not_built_yet_is_refused_before_anything_is_touched() {
    let refusal = plan_with(
        &settings(&[("BEYOND_PG_ARCHIVE_TARGET", "s3://bucket/prefix")]),
        &fresh(),
    );
    let Err(Refusal::Unsupported(words)) = refusal else {
        panic!("{refusal:?}")
    };
    assert!(words.contains("BEYOND_PG_ARCHIVE_TARGET"), "{words}");
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
