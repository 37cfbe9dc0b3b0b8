//! Changes to the file system that survive a power cut whole or not at all.
//!
//! A file that was only written may come back from a host loss as a run of NUL bytes (substrate B.3),
//! so nothing here returns before the file and the folder that names it are on disk.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::chown;
use thiserror::Error;

use crate::sys::user::Account;

/// What was tried, and on what.
#[derive(Debug, Error)]
#[error("{tried} {path}")]
pub(crate) struct FsError {
    tried: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FsError {
    pub(super) fn on(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FsError {
        let path = path.to_owned();
        move |source| FsError {
            tried,
            path,
            source,
        }
    }
}

impl FsError {
    /// The file system is full, or the user's share of it.
    pub(crate) fn is_out_of_space(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// Replaces `path` by `bytes`: a reader, or the next boot, sees the old file or the new one.
pub(crate) fn write_atomic(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Account,
) -> Result<(), FsError> {
    let temporary = sibling(path, ".tmp");
    // Left behind by a boot that was cut: create_new below must not fail on it.
    remove_if_present(&temporary)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .map_err(FsError::on("creating", &temporary))?;
    file.write_all(bytes)
        .map_err(FsError::on("writing", &temporary))?;
    // The mode again: open(2) applies the umask.
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(FsError::on("setting the mode of", &temporary))?;
    give(&temporary, owner)?;
    file.sync_all()
        .map_err(FsError::on("flushing", &temporary))?;
    rename(&temporary, path)
}

/// Makes `path` a file of so many bytes, each of which has its place on the disk: removing it makes that
/// much room. Replaces what was there; when there is not enough room, nothing stays behind.
pub(crate) fn allocate(path: &Path, bytes: u64, mode: u32, owner: Account) -> Result<(), FsError> {
    let temporary = sibling(path, ".tmp");
    remove_if_present(&temporary)?;
    let filled = fill(&temporary, bytes, mode, owner);
    if filled.is_err() {
        // The first failure is the one to tell.
        drop(remove_if_present(&temporary));
    }
    filled?;
    rename(&temporary, path)
}

fn fill(path: &Path, bytes: u64, mode: u32, owner: Account) -> Result<(), FsError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(FsError::on("creating", path))?;
    give(path, owner)?;
    let length = i64::try_from(bytes).unwrap_or(i64::MAX);
    nix::fcntl::posix_fallocate(&file, 0, length)
        .map_err(|errno| FsError::on("taking room on the volume for", path)(errno.into()))?;
    file.sync_all().map_err(FsError::on("flushing", path))
}

/// Adds to a file that its name says is not finished; whoever finishes it flushes it.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(FsError::on("writing", path))
}

/// Gives up what of a file is beyond `bytes`.
pub(crate) fn shrink(path: &Path, bytes: u64) -> Result<(), FsError> {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(FsError::on("opening", path))?;
    file.set_len(bytes)
        .map_err(FsError::on("shrinking", path))?;
    file.sync_all().map_err(FsError::on("flushing", path))
}

/// Overwrites a file with as many bytes as it has, which takes no room. Not atomic: for when
/// [`write_atomic`] has none.
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let mut file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(FsError::on("opening", path))?;
    file.write_all(bytes)
        .map_err(FsError::on("overwriting", path))?;
    file.sync_all().map_err(FsError::on("flushing", path))
}

/// Creates `path` with nothing in it, unless it exists: then it is not touched.
pub(crate) fn create_if_absent(path: &Path, mode: u32, owner: Account) -> Result<(), FsError> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    write_atomic(path, b"", mode, owner)
}

/// Makes the folder and sets its mode and owner, also when it was there.
pub(crate) fn make_dir(path: &Path, mode: u32, owner: Account) -> Result<(), FsError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(FsError {
                tried: "making the folder",
                path: path.to_owned(),
                source: error,
            });
        }
        _ => {}
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(FsError::on("setting the mode of", path))?;
    give(path, owner)?;
    sync_dir(parent(path))
}

/// Renames within one file system and flushes both folders.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), FsError> {
    fs::rename(from, to).map_err(FsError::on("renaming into place", to))?;
    sync_dir(parent(to))?;
    if parent(from) != parent(to) {
        sync_dir(parent(from))?;
    }
    Ok(())
}

/// Makes `link` a symbolic link to `target`, replacing a link that was there.
pub(crate) fn link(target: &Path, link: &Path, owner: Account) -> Result<(), FsError> {
    let temporary = sibling(link, ".tmp");
    remove_if_present(&temporary)?;
    symlink(target, &temporary).map_err(FsError::on("linking", &temporary))?;
    nix::unistd::fchownat(
        nix::fcntl::AT_FDCWD,
        &temporary,
        Some(owner.uid),
        Some(owner.gid),
        nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .map_err(|errno| FsError::on("giving to postgres", &temporary)(errno.into()))?;
    rename(&temporary, link)
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove_if_present(path: &Path) -> Result<(), FsError> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FsError {
            tried: "removing",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Removes a file of a folder; neither has to be there.
pub(crate) fn remove_if_present_in(folder: &Path, name: &str) -> Result<(), FsError> {
    if folder.is_dir() {
        remove_if_present(&folder.join(name))?;
    }
    Ok(())
}

/// Removes a folder and all below it; one that is not there is fine.
pub(crate) fn remove_tree_if_present(path: &Path) -> Result<(), FsError> {
    match fs::remove_dir_all(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FsError {
            tried: "removing the tree",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Flushes the whole file system that holds `path`: one call for the thousands of files of an initdb.
pub(crate) fn sync_filesystem(path: &Path) -> Result<(), FsError> {
    let folder = File::open(path).map_err(FsError::on("opening", path))?;
    nix::unistd::syncfs(folder)
        .map_err(|errno| FsError::on("flushing the file system of", path)(errno.into()))
}

fn sync_dir(path: &Path) -> Result<(), FsError> {
    let folder = File::open(path).map_err(FsError::on("opening the folder", path))?;
    folder
        .sync_all()
        .map_err(FsError::on("flushing the folder", path))
}

fn give(path: &Path, owner: Account) -> Result<(), FsError> {
    chown(path, Some(owner.uid), Some(owner.gid))
        .map_err(|errno| FsError::on("giving to its owner", path)(errno.into()))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new("/"))
}

pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests lay files out")]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_write_replaces_the_whole_file_and_sets_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.conf");
        write_atomic(&path, b"first, and longer", 0o600, Account::current()).unwrap();
        write_atomic(&path, b"second", 0o640, Account::current()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_temporary_file_left_by_a_cut_boot_does_not_stop_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.conf.tmp"), b"half").unwrap();
        write_atomic(
            &dir.path().join("a.conf"),
            b"whole",
            0o600,
            Account::current(),
        )
        .unwrap();
        assert_eq!(fs::read(dir.path().join("a.conf")).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_user_file_that_exists_is_never_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("99-user.conf");
        fs::write(&path, b"work_mem = '1GB'\n").unwrap();
        create_if_absent(&path, 0o600, Account::current()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"work_mem = '1GB'\n");
    }

    #[test]
    fn an_allocated_file_has_all_its_blocks_and_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        fs::write(dir.path().join("reserve.tmp"), b"of a boot that was cut").unwrap();
        allocate(&path, 1 << 20, 0o600, Account::current()).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.len(), meta.mode() & 0o777), (1 << 20, 0o600));
        assert!(meta.blocks() * 512 >= 1 << 20, "{} blocks", meta.blocks());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_finds_no_room_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let error = allocate(&path, i64::MAX as u64, 0o600, Account::current()).unwrap_err();
        assert!(error.to_string().starts_with("taking room"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn overwriting_keeps_the_file_and_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        fs::write(&path, b"one").unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        overwrite(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    }

    #[test]
    fn a_link_is_replaced_in_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("pg_wal");
        link(Path::new("/old"), &at, Account::current()).unwrap();
        link(Path::new("/new"), &at, Account::current()).unwrap();
        assert_eq!(fs::read_link(&at).unwrap(), Path::new("/new"));
    }
}
