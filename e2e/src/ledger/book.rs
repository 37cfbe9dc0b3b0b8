//! The file in which a commit stands, flushed, before its writer goes on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use super::entry::Entry;

/// A book that is being written.
#[derive(Debug)]
pub(crate) struct Book {
    path: PathBuf,
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    file: File,
    entries: usize,
}

impl Book {
    /// Goes on with the one that is there, or begins one. A last line that was torn is taken off: it was not
    /// flushed, and so nobody relied on it.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let opening = || format!("opening the ledger {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await.with_context(opening)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true);
        let file = options.open(path).await.with_context(opening)?;
        let text = fs::read_to_string(path).await.with_context(opening)?;
        let whole = whole_lines(&text);
        file.set_len(whole.len() as u64)
            .await
            .with_context(opening)?;
        let entries = entries_in(whole).with_context(opening)?.len();
        Ok(Self {
            path: path.to_owned(),
            pages: Mutex::new(Pages { file, entries }),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many entries there are.
    pub(crate) async fn entries(&self) -> usize {
        self.pages.lock().await.entries
    }

    /// Writes down that a commit was acknowledged.
    pub(crate) async fn acknowledged(&self, entry: Entry) -> Result<()> {
        let mut pages = self.pages.lock().await;
        let written = async {
            pages
                .file
                .write_all(format!("{entry}\n").as_bytes())
                .await?;
            pages.file.sync_data().await
        };
        let written = written.await;
        written.with_context(|| format!("writing into the ledger {}", self.path.display()))?;
        pages.entries += 1;
        Ok(())
    }

    /// Removes it: everything in it was kept.
    pub(crate) async fn remove(&self) -> Result<()> {
        let removed = fs::remove_file(&self.path).await;
        removed.with_context(|| format!("removing the ledger {}", self.path.display()))
    }
}

/// What stands in a book.
pub(crate) async fn read(path: &Path) -> Result<Vec<Entry>> {
    let reading = || format!("reading the ledger {}", path.display());
    let text = fs::read_to_string(path).await.with_context(reading)?;
    entries_in(whole_lines(&text)).with_context(reading)
}

/// Without a last line that has no end.
fn whole_lines(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..=end])
}

fn entries_in(text: &str) -> Result<Vec<Entry>> {
    text.lines().map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::{entries_in, whole_lines};

    #[test]
    fn a_torn_last_line_is_none_and_a_torn_line_before_it_is_an_error() {
        let torn = "1 0 1 3 0\n1 0 2 5 1\n1 0 3 1";
        assert_eq!(entries_in(whole_lines(torn)).unwrap().len(), 2);
        assert_eq!(whole_lines("1 0 1"), "");
        assert!(entries_in(whole_lines("1 0 1\n1 0 2 5 1\n")).is_err());
    }
}
