//! What the process remembers when its container is replaced: one file, whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::registry::Registry;

const FILE: &str = "machines.json";

/// The file of a substrate's machines. It holds passwords, so only its owner may read it.
#[derive(Clone, Debug)]
pub(super) struct StateFile {
    dir: PathBuf,
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder or the file cannot be used.
    #[error("cannot {verb} {}\nHINT: the state folder must exist on a writable volume and belong to the user the substrate runs as", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there and is not what this version wrote.
    #[error("{} is not what this program writes there\nHINT: it is kept as it is; move it away, and `fake-substrate up` makes a new one", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}

impl StateFile {
    pub(super) fn open(dir: PathBuf) -> Result<Self, StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(failed("create", &dir))?;
        Ok(Self { dir })
    }

    /// An absent file is a substrate without machines; a damaged one is an error, since an
    /// empty list would be served to machines as "no password".
    pub(super) fn load(&self) -> Result<Registry, StateError> {
        let path = self.path();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| StateError::Foreign { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Registry::default()),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    pub(super) fn save(&self, registry: &Registry) -> Result<(), StateError> {
        let path = self.path();
        let text = serde_json::to_vec_pretty(registry)
            .map_err(|source| StateError::Foreign { path, source })?;
        write_private(&self.dir, FILE, &text)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }
}

/// Temp file, fsync, rename, fsync of the folder (contract 3). For its owner's eyes alone.
pub(crate) fn write_private(dir: &Path, name: &str, text: &[u8]) -> Result<(), StateError> {
    let path = dir.join(name);
    let temp = dir.join(format!(".{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temp)
        .map_err(failed("create", &temp))?;
    file.write_all(text).map_err(failed("write", &temp))?;
    file.sync_all().map_err(failed("sync", &temp))?;
    fs::rename(&temp, &path).map_err(failed("rename to", &path))?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed("sync", dir))
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { verb, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::admin::{Metadata, Registration};

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let registration = Registration {
            link_local: [169, 254, 10, 1].into(),
            metadata: Metadata::from([("K".into(), "v".into())]),
        };
        registry.register("db", registration).expect("free");
        registry
    }

    #[test]
    fn what_was_saved_is_loaded_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = StateFile::open(dir.path().join("state")).expect("made");
        assert!(state.load().expect("absent is empty") == Registry::default());

        state.save(&registry()).expect("saved");
        assert!(state.load().expect("loaded") == registry());
        let mode = fs::metadata(state.path())
            .expect("it exists")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_save_cut_short_leaves_the_old_state() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = StateFile::open(dir.path().to_owned()).expect("made");
        state.save(&registry()).expect("saved");
        let mut torn = File::create(dir.path().join(".machines.json.new")).expect("made");
        torn.write_all(&[b'{'; 4096])
            .expect("longer than any state here");
        assert!(state.load().expect("loaded") == registry());
        state
            .save(&Registry::default())
            .expect("the torn file is in nobody's way");
        assert!(state.load().expect("loaded") == Registry::default());
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = StateFile::open(dir.path().to_owned()).expect("made");
        let mut file = File::create(state.path()).expect("made");
        file.write_all(b"not json").expect("written");
        let refused = state.load().err().expect("it must not read as empty");
        assert!(matches!(refused, StateError::Foreign { .. }), "{refused}");
        assert_eq!(fs::read(state.path()).expect("kept"), b"not json");
    }
}
