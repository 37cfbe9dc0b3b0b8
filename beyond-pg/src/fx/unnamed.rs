//! A file that is on disk before it has a name: whoever dies meanwhile leaves nothing behind.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc::O_TMPFILE;
use nix::unistd::{fchown, linkat};

use crate::fx::fs::{FsError, remove_if_present, sibling};
use crate::sys::user::Account;

#[derive(Debug)]
pub(crate) struct Unnamed(File);

impl Unnamed {
    /// Written and flushed, on the file system of that folder; not every file system has such files.
    pub(crate) fn write(
        folder: &Path,
        bytes: &[u8],
        mode: u32,
        owner: Account,
    ) -> io::Result<Unnamed> {
        let mut file = OpenOptions::new()
            .write(true)
            .mode(mode)
            .custom_flags(O_TMPFILE)
            .open(folder)?;
        file.write_all(bytes)?;
        // The mode again: open(2) applies the umask.
        file.set_permissions(Permissions::from_mode(mode))?;
        fchown(&file, Some(owner.uid), Some(owner.gid))?;
        file.sync_all()?;
        Ok(Unnamed(file))
    }

    /// Puts it where a file is replaced at once if there is one. The name is flushed by whoever depends on it.
    pub(crate) fn put(self, path: &Path) -> Result<(), FsError> {
        let temporary = sibling(path, ".tmp");
        remove_if_present(&temporary)?;
        let ours = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        linkat(
            AT_FDCWD,
            ours.as_str(),
            AT_FDCWD,
            &temporary,
            AtFlags::AT_SYMLINK_FOLLOW,
        )
        .map_err(|errno| FsError::on("naming", &temporary)(errno.into()))?;
        fs::rename(&temporary, path).map_err(FsError::on("renaming to", path))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests lay files out")]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_file_without_a_name_is_seen_by_nobody_and_then_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        let write = |bytes| Unnamed::write(dir.path(), bytes, 0o640, Account::current()).unwrap();
        let (first, forgotten) = (write(b"first"), write(b"forgotten"));
        assert!(names(dir.path()).is_empty());
        drop(forgotten);
        fs::write(dir.path().join("segment.tmp"), "of one that was cut").unwrap();
        fs::write(&path, "an earlier one").unwrap();
        first.put(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(names(dir.path()), ["segment"]);
    }
}
