//! One change of a substrate at a time, across processes.
//!
//! Docker gives two networks one name and two machines one address without a word, so whoever
//! makes such a thing looks and makes under this lock. It is the kernel's: a killed process
//! holds nothing.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::names::SubstrateName;
use crate::progress::Progress;

/// The right to change one substrate, until dropped.
#[derive(Debug)]
pub struct SubstrateLock {
    held: Flock<File>,
    path: PathBuf,
}

impl Drop for SubstrateLock {
    /// Takes the file away while it is still locked: a substrate that is gone leaves none behind.
    fn drop(&mut self) {
        if is_at(&self.held, &self.path) {
            // Best effort: a file that stays is taken again by the next change.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Whether a path still leads to this file: whoever held the lock before may have removed it, and a
/// lock on a removed file keeps nobody out.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: Metadata| (meta.dev(), meta.ino());
    let ours = file.metadata().map(identity);
    let there = fs::metadata(path).map(identity);
    matches!((ours, there), (Ok(ours), Ok(there)) if ours == there)
}

/// The lock could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot lock substrate {substrate} through {}\nHINT: may this user write there?", path.display())]
pub struct LockError {
    substrate: SubstrateName,
    path: PathBuf,
    source: io::Error,
}

impl SubstrateLock {
    /// Waits for its turn, and says so when there is anything to wait for.
    pub async fn take(
        substrate: &SubstrateName,
        progress: &dyn Progress,
    ) -> Result<Self, LockError> {
        // One file for each user: another user's could not be opened in a sticky folder.
        let user = nix::unistd::getuid();
        let path = std::env::temp_dir().join(format!("fake-substrate.{user}.{substrate}.lock"));
        let failed = |source| LockError {
            substrate: substrate.clone(),
            path: path.clone(),
            source,
        };
        let mut said = false;
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path);
            let held = match Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock) {
                Ok(held) => held,
                Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
                    if !std::mem::replace(&mut said, true) {
                        progress.step(&format!(
                            "Waiting for another change of substrate {substrate} to finish"
                        ));
                    }
                    wait_for(file).await.map_err(failed)?
                }
                Err((_file, errno)) => return Err(failed(errno.into())),
            };
            if is_at(&held, &path) {
                return Ok(Self { held, path });
            }
        }
    }
}

async fn wait_for(file: File) -> io::Result<Flock<File>> {
    let waiting = tokio::task::spawn_blocking(move || Flock::lock(file, FlockArg::LockExclusive));
    match waiting.await {
        Ok(Ok(held)) => Ok(held),
        Ok(Err((_file, errno))) => Err(errno.into()),
        Err(panicked) => Err(io::Error::other(panicked)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::SubstrateLock;
    use crate::names::SubstrateName;
    use crate::progress::Quiet;

    #[tokio::test]
    async fn a_second_change_waits_for_the_first() {
        let name = format!("lock-test-{}", std::process::id()).parse().unwrap();
        let first = SubstrateLock::take(&name, &Quiet).await.unwrap();
        let second = tokio::spawn({
            let name = name.clone();
            async move { SubstrateLock::take(&name, &Quiet).await.map(|_lock| ()) }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_change_that_is_over_leaves_no_file() {
        let name = format!("lock-gone-{}", std::process::id()).parse().unwrap();
        let lock = SubstrateLock::take(&name, &Quiet).await.unwrap();
        let path = lock.path.clone();
        assert!(path.exists());
        drop(lock);
        assert!(!path.exists());
    }

    /// Without this, one that waits on a removed file and one that makes it anew would both go on.
    #[tokio::test]
    async fn of_many_changes_one_goes_on_at_a_time() {
        let name: SubstrateName = format!("lock-many-{}", std::process::id()).parse().unwrap();
        let inside = Arc::new(AtomicUsize::new(0));
        let changes = (0..8).map(|_| {
            let (name, inside) = (name.clone(), Arc::clone(&inside));
            tokio::spawn(async move {
                for _ in 0..20 {
                    let _lock = SubstrateLock::take(&name, &Quiet).await.unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            })
        });
        for change in changes.collect::<Vec<_>>() {
            change.await.unwrap();
        }
    }
}
