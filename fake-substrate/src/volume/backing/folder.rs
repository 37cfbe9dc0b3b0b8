//! Folders as local SSD and as object storage.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::{Arena, Journal, Listed, ObjectError, Objects, Tag};
use crate::image::digest::sha256;

/// A host's own folder, held by one process at a time.
#[derive(Debug)]
pub struct Local {
    /// The blocks.
    pub arena: FolderArena,
    /// The journal.
    pub journal: FolderJournal,
}

/// Opens a host's folder, made when it is missing. Fails while another process has it.
pub fn open(folder: &Path) -> io::Result<Local> {
    std::fs::create_dir_all(folder)?;
    let lock = create(&folder.join("lock"))?;
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
    let lock = lock.map_err(|(_file, errno)| io::Error::from(errno))?;
    Ok(Local {
        arena: FolderArena {
            file: create(&folder.join("arena"))?,
            _lock: lock,
        },
        journal: FolderJournal {
            file: create(&folder.join("journal"))?,
            folder: folder.to_owned(),
            length: 0,
        },
    })
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// One sparse file.
///
/// Nothing is ever fsynced here: this machine plays the SSD of another one, which loses what it has
/// when it is told to. What a killed process wrote, the kernel still has.
#[derive(Debug)]
pub struct FolderArena {
    file: File,
    _lock: Flock<File>,
}

impl Arena for FolderArena {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => {
                    // Beyond the end of the file: written by nobody.
                    buffer[filled..].fill(0);
                    return Ok(());
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    #[cfg(target_os = "linux")]
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        use nix::fcntl::{FallocateFlags, fallocate};
        let signed = |figure: u64| i64::try_from(figure).map_err(io::Error::other);
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        Ok(fallocate(
            &self.file,
            flags,
            signed(offset)?,
            signed(length)?,
        )?)
    }

    #[cfg(not(target_os = "linux"))]
    fn discard(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }
}

/// One file that grows, and is replaced by a shorter one now and then.
#[derive(Debug)]
pub struct FolderJournal {
    file: File,
    folder: PathBuf,
    length: u64,
}

impl Journal for FolderJournal {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        self.length = bytes.len() as u64;
        Ok(bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.length = length;
        Ok(())
    }

    fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(frame, self.length) {
            // Half a frame in front of the next one would end the journal there.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += frame.len() as u64;
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join("journal");
        self.file = replace(&path, &self.folder.join("journal.new"), bytes)?;
        self.length = bytes.len() as u64;
        Ok(())
    }

    fn length(&self) -> u64 {
        self.length
    }
}

/// Temp file, fsync, rename, fsync of the folder (contract 3).
fn replace(path: &Path, temp: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let mut file = options.open(temp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(temp, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// A folder as bucket: a key is a path. Several hosts may share it.
#[derive(Debug)]
pub struct FolderObjects {
    folder: PathBuf,
}

impl FolderObjects {
    /// Opens it, made when it is missing.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// The only replaced objects are roots; comparing and storing one is a single step for everybody
    /// who shares the folder.
    fn locked(&self) -> io::Result<Flock<File>> {
        let file = create(&self.folder.join(".lock"))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive);
        lock.map_err(|(_file, errno)| io::Error::from(errno))
    }

    fn store(&self, key: &str, body: &[u8]) -> io::Result<()> {
        let path = self.folder.join(key);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        replace(&path, &path.with_extension("new"), body).map(|_file| ())
    }

    fn version(&self, key: &str) -> io::Result<Option<(Vec<u8>, Tag)>> {
        let body = absent_is_none(std::fs::read(self.folder.join(key)))?;
        Ok(body.map(|body| {
            let tag = sha256(&body);
            (body, tag)
        }))
    }
}

fn failed(verb: &'static str, key: &str) -> impl FnOnce(io::Error) -> ObjectError {
    let key = key.to_owned();
    move |source| ObjectError::Io { verb, key, source }
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Objects for FolderObjects {
    fn put(&self, key: &str, body: &[u8]) -> Result<(), ObjectError> {
        self.store(key, body).map_err(failed("put", key))
    }

    fn replace(&self, key: &str, body: &[u8], expected: Option<&str>) -> Result<Tag, ObjectError> {
        let _lock = self.locked().map_err(failed("put", key))?;
        let there = self.version(key).map_err(failed("put", key))?;
        if there.as_ref().map(|(_body, tag)| tag.as_str()) != expected {
            return Err(ObjectError::Conflict {
                key: key.to_owned(),
            });
        }
        self.store(key, body).map_err(failed("put", key))?;
        Ok(sha256(body))
    }

    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Tag)>, ObjectError> {
        self.version(key).map_err(failed("get", key))
    }

    fn get_range(&self, key: &str, from: u64, length: u64) -> Result<Option<Vec<u8>>, ObjectError> {
        let read = || -> io::Result<Option<Vec<u8>>> {
            let Some(file) = absent_is_none(File::open(self.folder.join(key)))? else {
                return Ok(None);
            };
            let there = file.metadata()?.len().saturating_sub(from).min(length);
            let mut bytes = vec![0; usize::try_from(there).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, from)?;
            Ok(Some(bytes))
        };
        read().map_err(failed("get", key))
    }

    fn delete(&self, key: &str) -> Result<(), ObjectError> {
        let deleted = absent_is_none(std::fs::remove_file(self.folder.join(key)));
        deleted.map(|_there| ()).map_err(failed("delete", key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, ObjectError> {
        let list = || -> io::Result<Vec<Listed>> {
            let mut listed = Vec::new();
            let Some(entries) = absent_is_none(std::fs::read_dir(self.folder.join(prefix)))? else {
                return Ok(listed);
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                // One that is gone by now was removed by another host.
                let there = absent_is_none(entry.metadata())?;
                let there = there.filter(|_file| !name.ends_with(".new"));
                listed.extend(there.map(|file| Listed {
                    key: format!("{prefix}{name}"),
                    bytes: file.len(),
                }));
            }
            listed.sort_by(|one, other| one.key.cmp(&other.key));
            Ok(listed)
        };
        list().map_err(failed("list", prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena as _, FolderObjects, Journal as _, ObjectError, Objects as _, open};

    #[test]
    fn a_host_s_folder_is_held_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        assert!(open(folder.path()).is_err());
        drop(first);
        assert!(open(folder.path()).is_ok());
    }

    #[test]
    fn the_arena_reads_zeroes_beyond_its_end_and_where_it_was_discarded() {
        let folder = tempfile::tempdir().unwrap();
        let local = open(folder.path()).unwrap();
        local.arena.write(0, &[7; 8192]).unwrap();
        local.arena.discard(0, 4096).unwrap();
        let mut buffer = [1; 12_288];
        local.arena.read(0, &mut buffer).unwrap();
        assert_eq!(buffer[4096..8192], [7; 4096]);
        assert_eq!(buffer[8192..], [0; 4096]);
        #[cfg(target_os = "linux")]
        assert_eq!(buffer[..4096], [0; 4096]);
    }

    #[test]
    fn a_journal_is_read_back_with_what_was_appended_after_it_was_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open(folder.path()).unwrap().journal;
        journal.append(b"old").unwrap();
        journal.replace(b"new").unwrap();
        journal.append(b" and more").unwrap();
        journal.truncate(7).unwrap();
        let mut again = open(folder.path()).unwrap().journal;
        assert_eq!(again.read().unwrap(), b"new and");
        assert_eq!(again.length(), 7);
    }

    #[test]
    fn an_object_is_replaced_only_by_whoever_knows_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let objects = FolderObjects::open(folder.path()).unwrap();
        let conflict = |result| matches!(result, Err(ObjectError::Conflict { .. }));
        assert!(conflict(objects.replace("roots/a", b"1", Some("guess"))));
        let first = objects.replace("roots/a", b"1", None).unwrap();
        assert!(conflict(objects.replace("roots/a", b"2", None)));
        let second = objects.replace("roots/a", b"2", Some(&first)).unwrap();
        assert!(conflict(objects.replace("roots/a", b"3", Some(&first))));
        assert_eq!(
            objects.get("roots/a").unwrap(),
            Some((b"2".to_vec(), second))
        );
    }

    #[test]
    fn a_range_ends_where_the_object_ends() {
        let folder = tempfile::tempdir().unwrap();
        let objects = FolderObjects::open(folder.path()).unwrap();
        objects.put("packs/1", b"0123456789").unwrap();
        let range = |from, length| objects.get_range("packs/1", from, length).unwrap().unwrap();
        assert_eq!(range(8, 5), b"89");
        assert_eq!(range(20, 5), b"");
        assert_eq!(objects.get_range("packs/2", 0, 1).unwrap(), None);
        let listed = objects.list("packs/").unwrap();
        assert_eq!((listed.len(), listed[0].key.as_str()), (1, "packs/1"));
        objects.delete("packs/1").unwrap();
        objects.delete("packs/1").unwrap();
        assert!(objects.list("packs/").unwrap().is_empty());
    }
}
