//! The configuration that the renderer is held to, read by the server that it is for.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use e2e::{Outcome, scenario};

/// The machines of contract 5, and a quarter of their memory, which shared_buffers takes.
const PROFILES: [(&str, u64); 4] = [
    ("single-512m-1cpu", 128 << 20),
    ("single-4g-2cpu", 1 << 30),
    ("single-64g-16cpu", 16 << 30),
    ("single-256g-64cpu", 64 << 30),
];

/// A golden file proves that a text stays the same; only the server knows whether it is valid.
#[tokio::test]
async fn the_golden_conf_trees_load_without_an_error() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().boot().await?.stop().await?;
        for (profile, shared_buffers) in PROFILES {
            let loaded = db
                .loads_conf(&golden(profile)?)
                .await
                .with_context(|| profile.to_owned())?;
            ensure!(
                loaded.errors.is_empty(),
                "{profile}: {}",
                loaded.errors.join("\n")
            );
            ensure!(loaded.settings > 60, "{profile}: {loaded:?}");
            ensure!(
                loaded.shared_buffers == shared_buffers,
                "{profile}: {loaded:?}"
            );
        }
        Ok(())
    })
    .await
}

/// Every file of one profile: where it is in a machine, and what is in it.
fn golden(profile: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../beyond-pg/tests/golden")
        .join(profile);
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let inside = format!("/{}", path.strip_prefix(&root)?.display());
                files.push((inside, std::fs::read(&path)?));
            }
        }
    }
    Ok(files)
}
