//! One change of a substrate at a time, across processes.
//!
//! Docker gives two networks one name and two machines one address without a word, so whoever
//! makes such a thing looks and makes under this lock. It is the kernel's: a killed process
//! holds nothing.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};

use crate::names::SubstrateName;
use crate::progress::Progress;

/// The right to change one substrate, until dropped.
#[derive(Debug)]
pub struct SubstrateLock {
    _held: Flock<File>,
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
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = match Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(Self { _held: held }),
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => file,
            Err((_file, errno)) => return Err(failed(errno.into())),
        };
        progress.step(&format!(
            "Waiting for another change of substrate {substrate} to finish"
        ));
        let waiting =
            tokio::task::spawn_blocking(move || Flock::lock(file, FlockArg::LockExclusive));
        match waiting.await {
            Ok(Ok(held)) => Ok(Self { _held: held }),
            Ok(Err((_file, errno))) => Err(failed(errno.into())),
            Err(panicked) => Err(failed(io::Error::other(panicked))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SubstrateLock;
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
}
