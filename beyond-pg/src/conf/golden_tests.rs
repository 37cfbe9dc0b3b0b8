//! Whole trees of what Postgres and PgBouncer read, one folder for each named machine.
//!
//! A byte that changes here changes on every database at its next boot, so the review reads the
//! diff of these files. `UPDATE_GOLDEN=1 cargo test -p beyond-pg golden` rewrites them. A golden
//! proves sameness; that the server accepts the trees is an end-to-end scenario.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{ConfFile, ConfInputs, Owner};
use crate::layout::Layout;
use crate::machine::Machine;
use crate::metadata::{Metadata, Source};
use crate::settings::Settings;

/// A machine as metadata and size describe it.
struct Profile {
    name: &'static str,
    ram_mb: u64,
    vcpus: u32,
    metadata: &'static [(&'static str, &'static str)],
    platform_certificate: bool,
}

const fn sized(name: &'static str, ram_mb: u64, vcpus: u32) -> Profile {
    Profile {
        name,
        ram_mb,
        vcpus,
        metadata: &[],
        platform_certificate: false,
    }
}

const SINK: [(&str, &str); 2] = [
    ("BEYOND_PG_WAL_SINK", "10.0.0.5:9000"),
    (
        "BEYOND_PG_REPLICATION_PASSWORD",
        "golden-replication-secret",
    ),
];

const PROFILES: &[Profile] = &[
    sized("single-512m-1cpu", 512, 1),
    sized("single-4g-2cpu", 4 << 10, 2),
    sized("single-64g-16cpu", 64 << 10, 16),
    sized("single-256g-64cpu", 256 << 10, 64),
    Profile {
        metadata: &[("BEYOND_VOLUME_EPHEMERAL", "true")],
        ..sized("ephemeral-4g-2cpu", 4 << 10, 2)
    },
    Profile {
        metadata: &SINK,
        ..sized("sync-sink-4g-2cpu", 4 << 10, 2)
    },
    Profile {
        metadata: &[
            ("BEYOND_PG_TIER", "primary"),
            (
                "BEYOND_PG_REPLICATION_PASSWORD",
                "golden-replication-secret",
            ),
            ("BEYOND_PG_SYNC_STANDBYS", "replica-a, replica-b"),
            ("BEYOND_PG_DIRECT_LISTEN", "*"),
        ],
        platform_certificate: true,
        ..sized("primary-4g-2cpu", 4 << 10, 2)
    },
    Profile {
        metadata: &[
            ("BEYOND_INSTANCE_ID", "replica-a"),
            ("BEYOND_PG_TIER", "replica"),
            (
                "BEYOND_PG_REPLICATION_PASSWORD",
                "golden-replication-secret",
            ),
            (
                "BEYOND_PG_PRIMARY_CONNINFO",
                "host=10.0.0.4 port=5433 user=replicator",
            ),
        ],
        ..sized("replica-4g-2cpu", 4 << 10, 2)
    },
    Profile {
        metadata: &[
            SINK[0],
            SINK[1],
            ("BEYOND_PG_RESTORE_TARGET_TIME", "2026-01-31 12:00:00+00"),
        ],
        ..sized("recover-4g-2cpu", 4 << 10, 2)
    },
];

const PASSWORD: &str = "golden-superuser-secret";

impl Profile {
    fn settings(&self) -> Settings {
        let password = [("POSTGRES_PASSWORD", PASSWORD)];
        let values = password.iter().chain(self.metadata);
        let values = values
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let metadata = Metadata {
            source: Source::Mmds,
            values,
            problems: Vec::new(),
        };
        Settings::from_metadata(&metadata).unwrap().0
    }

    /// Path below the root and text of every file that exists on this machine.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let layout = Layout::new("/");
        let preload = [
            "pg_stat_statements",
            "auto_explain",
            "pg_cron",
            "pg_prewarm",
        ];
        let inputs = ConfInputs {
            settings: &self.settings(),
            machine: Machine {
                ram_bytes: self.ram_mb << 20,
                vcpus: self.vcpus,
            },
            volume_bytes: 100 << 30,
            preload: &preload.map(str::to_owned),
            client_ca: self.platform_certificate,
            restores: self.settings().restore.is_some(),
            layout: &layout,
        };
        let file = |file: ConfFile| {
            let path = file.path(&layout).strip_prefix("/").unwrap().to_owned();
            Some((path, file.render(&inputs)?))
        };
        ConfFile::ALL.into_iter().filter_map(file).collect()
    }
}

fn read_tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut tree = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)
            .into_iter()
            .flatten()
            .map(Result::unwrap)
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                tree.insert(path.strip_prefix(folder).unwrap().to_owned(), text);
            }
        }
    }
    tree
}

#[expect(
    clippy::disallowed_methods,
    reason = "a golden in the checkout need not be atomic"
)]
fn write_tree(folder: &Path, tree: &BTreeMap<PathBuf, String>) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    for (path, text) in tree {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Whether goldens are rewritten rather than compared.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's own switch, not a setting"
)]
pub(crate) fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

#[test]
fn every_named_machine_reads_exactly_its_golden_tree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let named = |profile: &Profile| {
        let name = Path::new(profile.name);
        profile
            .tree()
            .into_iter()
            .map(|(path, text)| (name.join(path), text))
    };
    let rendered: BTreeMap<_, _> = PROFILES.iter().flat_map(named).collect();
    if updating() {
        write_tree(&folder, &rendered);
    }
    let golden = read_tree(&folder);
    let paths = |tree: &BTreeMap<PathBuf, String>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        paths(&rendered),
        paths(&golden),
        "which files exist; UPDATE_GOLDEN=1 rewrites"
    );
    for (path, text) in &rendered {
        let path_shown = path.display();
        assert!(
            *text == golden[path],
            "{path_shown} differs, UPDATE_GOLDEN=1 rewrites; now:\n{text}"
        );
    }
}

#[test]
fn no_secret_is_in_any_file() {
    for profile in PROFILES {
        for (path, text) in profile.tree() {
            for secret in [PASSWORD, "golden-replication-secret"] {
                assert!(
                    !text.contains(secret),
                    "{}: {}",
                    profile.name,
                    path.display()
                );
            }
        }
    }
}

#[test]
fn no_machine_turns_off_what_keeps_a_database_whole() {
    for profile in PROFILES {
        for (path, text) in profile.tree() {
            for setting in ["fsync = off", "full_page_writes = off"] {
                assert!(
                    !text.contains(setting),
                    "{}: {}",
                    profile.name,
                    path.display()
                );
            }
        }
    }
}

#[test]
fn what_include_dir_reads_is_settings_only() {
    let layout = Layout::new("/");
    let read: Vec<_> = ConfFile::ALL
        .into_iter()
        .map(|file| file.path(&layout))
        .filter(|path| path.parent() == Some(&layout.confd()))
        .collect();
    assert!(
        read.iter()
            .all(|path| !path.to_string_lossy().contains("hba")),
        "{read:?}"
    );
    assert_eq!(read.len(), 7);
    assert!(
        read.is_sorted(),
        "the number decides who overrides whom: {read:?}"
    );
}

#[test]
fn a_users_file_is_created_empty_and_everything_else_is_ours() {
    for profile in PROFILES {
        let tree = profile.tree();
        let layout = Layout::new("/");
        for file in ConfFile::ALL
            .into_iter()
            .filter(|file| file.owner() == Owner::User)
        {
            assert_eq!(tree[file.path(&layout).strip_prefix("/").unwrap()], "");
        }
    }
}
