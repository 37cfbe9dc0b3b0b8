//! The ledger outside of the machine: a file in which a commit stands, flushed, before its writer goes on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use super::entry::Entry;

/// A ledger that is being written.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    file: Mutex<File>,
}

impl Book {
    pub(super) async fn begin(path: &Path) -> Result<Self> {
        let beginning = || format!("beginning the ledger {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await.with_context(beginning)?;
        }
        let mut options = OpenOptions::new();
        let file = options.create_new(true).append(true).open(path).await;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file.with_context(beginning)?),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down that a commit was acknowledged.
    pub(super) async fn acknowledged(&self, entry: Entry) -> Result<()> {
        let mut file = self.file.lock().await;
        let written = async {
            file.write_all(format!("{entry}\n").as_bytes()).await?;
            file.sync_data().await
        };
        let written = written.await;
        written.with_context(|| format!("writing into the ledger {}", self.path.display()))
    }

    /// What was acknowledged in a round, read from the file.
    pub(super) async fn of_round(&self, round: u64) -> Result<Vec<Entry>> {
        let text = fs::read_to_string(&self.path).await;
        let text = text.with_context(|| format!("reading the ledger {}", self.path.display()))?;
        let mut entries = Vec::new();
        for line in text.lines() {
            let entry: Entry = line.parse()?;
            if entry.commit.round == round {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// Removes it: everything in it was kept.
    pub(super) async fn remove(&self) -> Result<()> {
        let removed = fs::remove_file(&self.path).await;
        removed.with_context(|| format!("removing the ledger {}", self.path.display()))
    }
}
