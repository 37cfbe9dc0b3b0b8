//! A boot that is cut after any of its disk steps, or in the middle of initdb, is finished by the
//! next one: the same tree, nothing left to do. Real files in a temporary folder; only initdb is a
//! stand-in, as the end-to-end scenario plays the same story with the real one.

#![expect(
    clippy::disallowed_methods,
    reason = "the test lays out an image and a volume"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::boot::apply::{Disk, unheard};
use crate::boot::facts::{Owners, observe};
use crate::boot::plan::Boot;
use crate::boot::step::Plan;
use crate::layout::Layout;
use crate::machine::Machine;
use crate::manifest::Manifest;
use crate::metadata::{Metadata, Source};
use crate::settings::Settings;
use crate::sys::user::Account;

const NOW: i64 = 1_800_000_000;

const INITDB: &str = r#"#!/bin/sh
for dir; do case "$previous" in --pgdata) data=$dir;; esac; previous=$dir; done
mkdir "$data/global" "$data/pg_wal"
echo 18 >"$data/PG_VERSION"
echo control >"$data/global/pg_control"
[ -e "$0.dies" ] && exit 1
echo wal >"$data/pg_wal/000000010000000000000001"
"#;

struct Volume {
    _dir: tempfile::TempDir,
    layout: Layout,
    settings: Settings,
    manifest: Manifest,
}

impl Volume {
    fn new() -> Volume {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        for folder in [layout.volume(), layout.bin(""), layout.etc_postgres()] {
            fs::create_dir_all(folder).unwrap();
        }
        for parent in [
            layout.pgbouncer_ini(),
            layout.socket_dir(),
            layout.run_dir(),
        ] {
            fs::create_dir_all(parent.parent().unwrap()).unwrap();
        }
        fs::write(layout.bin("initdb"), INITDB).unwrap();
        fs::set_permissions(layout.bin("initdb"), fs::Permissions::from_mode(0o755)).unwrap();
        let values = [
            ("POSTGRES_PASSWORD", "secret"),
            ("BEYOND_INSTANCE_ID", "db-1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let document = Metadata {
            source: Source::Mmds,
            values,
            problems: Vec::new(),
        };
        Volume {
            _dir: dir,
            layout,
            settings: Settings::from_metadata(&document).unwrap().0,
            manifest: Manifest::parse("").unwrap(),
        }
    }

    fn owners() -> Owners {
        Owners {
            root: Account::current(),
            postgres: Account::current(),
        }
    }

    fn plan(&self) -> Plan {
        let facts = observe(&self.layout, &self.manifest, Volume::owners(), NOW).unwrap();
        Boot {
            settings: &self.settings,
            machine: &Machine {
                ram_bytes: 4 << 30,
                vcpus: 2,
            },
            manifest: &self.manifest,
            layout: &self.layout,
            holds_volume: true,
        }
        .plan(&facts)
        .unwrap()
    }

    /// Applies the first `steps` of the plan.
    async fn boot(&self, steps: usize) {
        let disk = Disk {
            layout: &self.layout,
            owners: Volume::owners(),
            now: NOW,
            say: &unheard,
            restore: None,
        };
        for step in self.plan().disk.iter().take(steps) {
            disk.apply(step).await.unwrap();
        }
    }

    /// Every path of the volume with its kind, mode and content. Keys differ from boot to boot by
    /// design: of a certificate only its presence counts. The reserve file is blocks without content.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        collect(&self.layout.volume(), self.layout.root(), &mut tree);
        tree
    }
}

fn collect(path: &Path, root: &Path, tree: &mut BTreeMap<String, String>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let name = path.strip_prefix(root).unwrap().display().to_string();
    let what = if meta.is_symlink() {
        let target = fs::read_link(path).unwrap();
        format!("-> {}", target.strip_prefix(root).unwrap().display())
    } else if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), root, tree);
        }
        format!("{:o}", meta.permissions().mode())
    } else if name.contains("server.") {
        format!("{:o} a certificate or key", meta.permissions().mode())
    } else if name.ends_with(".reserve") {
        format!("{:o} {} bytes", meta.permissions().mode(), meta.len())
    } else {
        let text = fs::read_to_string(path).unwrap();
        // The root is part of paths in the conf files.
        let text = text.replace(&root.display().to_string(), "");
        format!("{:o} {text}", meta.permissions().mode())
    };
    tree.insert(name, what);
}

#[tokio::test]
async fn a_boot_cut_after_any_step_is_finished_by_the_next_one() {
    let whole = Volume::new();
    whole.boot(usize::MAX).await;
    let steps = Volume::new().plan().disk.len();
    assert!(steps > 10, "a first boot has more than {steps} steps");
    for cut in 0..steps {
        let volume = Volume::new();
        volume.boot(cut).await;
        volume.boot(usize::MAX).await;
        assert_eq!(volume.tree(), whole.tree(), "cut after step {cut}");
        assert_eq!(volume.plan().disk, [], "cut after step {cut}");
    }
}

#[tokio::test]
async fn an_initdb_that_dies_halfway_leaves_no_cluster_and_the_next_boot_makes_one() {
    let volume = Volume::new();
    let dies = volume.layout.bin("initdb.dies");
    fs::write(&dies, "").unwrap();
    let disk = Disk {
        layout: &volume.layout,
        owners: Volume::owners(),
        now: NOW,
        say: &unheard,
        restore: None,
    };
    let mut failed = false;
    for step in volume.plan().disk {
        if disk.apply(&step).await.is_err() {
            failed = true;
            break;
        }
    }
    assert!(failed, "the stand-in for initdb died");
    assert!(
        !volume.layout.pgdata().exists(),
        "a cluster that is not whole has no name"
    );
    assert!(volume.layout.initdb_staging().exists());

    fs::remove_file(dies).unwrap();
    volume.boot(usize::MAX).await;
    let whole = Volume::new();
    whole.boot(usize::MAX).await;
    assert_eq!(volume.tree(), whole.tree());
}
