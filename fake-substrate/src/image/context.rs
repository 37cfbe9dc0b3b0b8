//! The build context: a tar whose bytes depend on names, contents and the executable bit, and on
//! nothing else. Docker's cache and our own digest then agree between two clones of one revision.

use std::collections::BTreeMap;
use std::path::Path;

use super::digest::sha256;
use super::error::ImageError;

/// Files to send to Docker, by their path in the context.
#[derive(Debug, Default)]
pub(super) struct Context {
    files: BTreeMap<String, File>,
}

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    executable: bool,
}

impl Context {
    /// Adds a file.
    pub(super) fn add(&mut self, path: impl Into<String>, bytes: Vec<u8>, executable: bool) {
        self.files.insert(path.into(), File { bytes, executable });
    }

    /// Adds a file of the workspace, or a folder with all that is in it, under the same path.
    pub(super) fn add_from(&mut self, root: &Path, path: &str) -> Result<(), ImageError> {
        let on_disk = root.join(path);
        let metadata = std::fs::metadata(&on_disk).map_err(ImageError::file("read", &on_disk))?;
        if !metadata.is_dir() {
            let bytes = std::fs::read(&on_disk).map_err(ImageError::file("read", &on_disk))?;
            self.add(path, bytes, is_executable(&metadata));
            return Ok(());
        }
        let entries = std::fs::read_dir(&on_disk).map_err(ImageError::file("read", &on_disk))?;
        for entry in entries {
            let entry = entry.map_err(ImageError::file("read", &on_disk))?;
            self.add_from(
                root,
                &format!("{path}/{}", entry.file_name().to_string_lossy()),
            )?;
        }
        Ok(())
    }

    /// The archive.
    pub(super) fn tar(&self) -> std::io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, file) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(file.bytes.len() as u64);
            header.set_mode(if file.executable { 0o755 } else { 0o644 });
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            archive.append_data(&mut header, path, file.bytes.as_slice())?;
        }
        archive.into_inner()
    }
}

/// Names what an image is made of: the base, what is put on it, and how.
pub(super) fn source_digest(base_id: &str, tar: &[u8]) -> String {
    sha256(format!("{base_id} {}", sha256(tar)).as_bytes())
}

fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::{Context, ImageError, source_digest};

    fn tree(mode: u32) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let scripts = root.path().join("packer/scripts");
        std::fs::create_dir_all(&scripts).unwrap();
        for name in ["02-b.sh", "01-a.sh"] {
            let script = scripts.join(name);
            std::fs::File::create(&script).unwrap();
            std::fs::set_permissions(&script, Permissions::from_mode(mode)).unwrap();
        }
        root
    }

    fn packed(mode: u32) -> Vec<u8> {
        let mut context = Context::default();
        context.add("bin/beyond-pg", b"binary".to_vec(), true);
        context.add_from(tree(mode).path(), "packer").unwrap();
        context.tar().unwrap()
    }

    #[test]
    fn the_same_files_give_the_same_bytes_whatever_their_times_and_umask() {
        assert_eq!(packed(0o755), packed(0o700));
        assert_ne!(
            packed(0o755),
            packed(0o644),
            "the executable bit is part of a script"
        );
    }

    #[test]
    fn the_archive_holds_every_file_in_order_of_its_path() {
        let tar = packed(0o755);
        let mut archive = tar::Archive::new(tar.as_slice());
        let found = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            (
                entry.path().unwrap().display().to_string(),
                entry.header().mode().unwrap(),
            )
        });
        let expected = [
            "bin/beyond-pg",
            "packer/scripts/01-a.sh",
            "packer/scripts/02-b.sh",
        ];
        assert_eq!(
            found.collect::<Vec<_>>(),
            expected.map(|path| (path.to_owned(), 0o755)).to_vec()
        );
    }

    #[test]
    fn the_digest_follows_the_base_and_the_files() {
        let tar = packed(0o755);
        let digest = source_digest("sha256:a", &tar);
        assert_eq!(digest, source_digest("sha256:a", &packed(0o755)));
        assert_ne!(digest, source_digest("sha256:b", &tar));
        assert_ne!(digest, source_digest("sha256:a", &packed(0o644)));
    }

    #[test]
    fn a_missing_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        let error = Context::default()
            .add_from(root.path(), "packer")
            .unwrap_err();
        assert!(
            matches!(&error, ImageError::File { attempted: "read", path, .. } if path.ends_with("packer"))
        );
    }
}
