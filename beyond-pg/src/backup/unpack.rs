//! A backup out of the archive into a folder: the stream is taken for hostile, and every file is compared with
//! the manifest as it ends. The folder is nobody's PGDATA until all of it was.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lz4_flex::frame::FrameDecoder;
use thiserror::Error;

use crate::backup::manifest::{self, Manifest};
use crate::backup::tar::{Entry, EntryPath, Kind, Reader, TarError, Visit};
use crate::backup::witness::{Finding, Running, compare};

/// What is unpacked at once.
const PIECE: usize = 256 << 10;

#[derive(Debug, Error)]
pub(crate) enum UnpackError {
    #[error(transparent)]
    Finding(#[from] Finding),
    #[error("it is no lz4 frame")]
    Frame(#[source] io::Error),
    #[error("writing {path}")]
    Write { path: PathBuf, source: io::Error },
}

impl From<TarError> for UnpackError {
    fn from(error: TarError) -> UnpackError {
        Finding::from(error).into()
    }
}

/// Unpacks `packed` into the empty folder `root`.
pub(crate) fn unpack(
    packed: impl Read,
    manifest: &Manifest,
    root: &Path,
) -> Result<(), UnpackError> {
    let (mut frame, mut reader) = (FrameDecoder::new(packed), Reader::new());
    let mut unpacking = Unpacking {
        manifest,
        root,
        file: None,
        files: 0,
    };
    let mut piece = vec![0; PIECE];
    loop {
        let read = frame.read(&mut piece).map_err(UnpackError::Frame)?;
        if read == 0 {
            break;
        }
        reader.push(&piece[..read], &mut unpacking)?;
    }
    reader.finish()?;
    let files = unpacking.files;
    // None came twice: each was created anew.
    if files < manifest.files.len() {
        let missing = |path: &&EntryPath| !path.below(root).is_file();
        let missing = manifest.files.keys().find(missing);
        return Err(missing
            .map_or(Finding::NoManifest, |path| Finding::Missing(path.clone()))
            .into());
    }
    Ok(())
}

struct Unpacking<'a> {
    manifest: &'a Manifest,
    root: &'a Path,
    file: Option<Written>,
    files: usize,
}

struct Written {
    path: EntryPath,
    place: PathBuf,
    file: File,
    running: Running,
}

impl Visit for Unpacking<'_> {
    type Error = UnpackError;

    fn entry(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        let place = entry.path.below(self.root);
        let failed = |source| UnpackError::Write {
            path: place.clone(),
            source,
        };
        let Kind::File { bytes } = entry.kind else {
            return folder(&place).map_err(failed);
        };
        if !entry.path.is(manifest::NAME) {
            let path = entry.path.clone();
            let expected = self.manifest.files.get(&path).map(|sum| sum.bytes);
            let expected = expected.ok_or_else(|| Finding::Extra(path.clone()))?;
            if expected != bytes {
                let found = bytes;
                return Err(Finding::Size {
                    path,
                    expected,
                    found,
                }
                .into());
            }
        }
        if let Some(parent) = place.parent() {
            folder(parent).map_err(failed)?;
        }
        // Nobody but the server reads it, whatever the stream says.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(entry.mode & 0o700 | 0o600)
            .open(&place)
            .map_err(failed)?;
        self.file = Some(Written {
            path: entry.path.clone(),
            place,
            file,
            running: Running::default(),
        });
        Ok(())
    }

    fn content(&mut self, piece: &[u8]) -> Result<(), UnpackError> {
        if let Some(written) = &mut self.file {
            written.running.add(piece);
            written
                .file
                .write_all(piece)
                .map_err(|source| UnpackError::Write {
                    path: written.place.clone(),
                    source,
                })?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), UnpackError> {
        let Some(written) = self.file.take() else {
            return Ok(());
        };
        if !written.path.is(manifest::NAME) {
            compare(self.manifest, &written.path, written.running.sum())?;
            self.files += 1;
        }
        Ok(())
    }
}

fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use lz4_flex::frame::FrameEncoder;

    use super::*;
    use crate::backup::manifest::forge::manifest as text_of;
    use crate::backup::tar::forge::{header, stream};
    use crate::backup::witness::tests::backup;

    const FILES: [(&str, &[u8]); 4] = [
        ("backup_label", b"START WAL LOCATION"),
        ("base/", b""),
        ("base/1/1259", &[7; 70_000]),
        ("pg_wal/", b""),
    ];

    fn packed(stream: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::new(Vec::new());
        encoder.write_all(stream).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(stream: &[u8], root: &Path) -> Result<(), UnpackError> {
        let manifest = Manifest::parse(&text_of(&FILES)).unwrap();
        unpack(packed(stream).as_slice(), &manifest, root)
    }

    #[test]
    fn a_backup_becomes_a_folder_that_only_its_owner_reads() {
        let root = tempfile::tempdir().unwrap();
        unpacked(&backup(&FILES, &FILES), root.path()).unwrap();
        let file = root.path().join("base/1/1259");
        assert_eq!(std::fs::read(&file).unwrap(), FILES[2].1);
        assert!(root.path().join("pg_wal").is_dir());
        assert!(root.path().join(manifest::NAME).is_file());
        for (path, mode) in [(file, 0o600), (root.path().join("base"), 0o700)] {
            let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{}", path.display());
        }
    }

    #[test]
    fn a_stream_that_is_not_what_the_manifest_says_is_refused() {
        let refused = |stream: &[u8]| {
            let root = tempfile::tempdir().unwrap();
            unpacked(stream, root.path()).unwrap_err().to_string()
        };
        let with = |at: usize, name, content| {
            let mut files = FILES;
            files[at] = (name, content);
            refused(&backup(&files, &FILES))
        };
        assert!(with(2, "base/1/1259", &[8; 70_000]).contains("other content"));
        assert!(with(2, "base/1/1259", &[7; 69_999]).contains("has 69999 bytes"));
        assert!(with(2, "base/1/1260", &[7; 70_000]).contains("does not know"));
        assert!(refused(&backup(&FILES[..2], &FILES)).contains("lacks base/1/1259"));
        let twice = [FILES[0], FILES[0]];
        assert!(refused(&backup(&twice, &FILES)).contains("writing"));
        let whole = backup(&FILES, &FILES);
        assert!(refused(&whole[..whole.len() / 2]).contains("ends in the middle"));
    }

    #[test]
    fn nothing_is_ever_written_outside_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let link = [header("base", b'2', 0), stream(&[("base/x", b"x")])].concat();
        for hostile in [
            stream(&[("../x", b"x")]),
            stream(&[("/tmp/../x", b"x")]),
            link,
        ] {
            unpacked(&hostile, &inside).unwrap_err();
            assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
            assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 0);
        }
    }
}
