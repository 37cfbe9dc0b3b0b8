//! One machine at a time on a volume, as far as one kernel can see.
//!
//! A stale `postmaster.pid` is removed at boot (facts D 67), which would let a second machine on the
//! same volume start a second postmaster. This lock is what makes the removal safe: it is held by
//! PID 1 for as long as it lives and goes with it, whatever kills it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

/// Held while it lives.
#[derive(Debug)]
pub(crate) struct VolumeLock {
    _file: Flock<File>,
}

#[derive(Debug, Error)]
pub(crate) enum LockError {
    #[error("opening the volume's lock {path}")]
    Open {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("locking {path}")]
    Lock { path: PathBuf, source: nix::Error },
}

impl VolumeLock {
    /// Takes the lock, or answers `None` when another machine or process holds it.
    pub(crate) fn take(path: &Path) -> Result<Option<VolumeLock>, LockError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|source| LockError::Open {
                path: path.to_owned(),
                source,
            })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Some(VolumeLock { _file: held })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, source)) => Err(LockError::Lock {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_machine_is_turned_away_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = VolumeLock::take(&path).unwrap();
        assert!(first.is_some());
        assert!(VolumeLock::take(&path).unwrap().is_none());
        drop(first);
        assert!(VolumeLock::take(&path).unwrap().is_some());
    }
}
