//! What the files of a tar stream came to, against what the manifest says: the check of
//! `pg_verifybackup`, which reads folders alone, done while the stream goes by. Pure.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::backup::manifest::{self, Manifest, ManifestError, Sum};
use crate::backup::tar::{Entry, EntryPath, Kind, Reader, TarError, Visit};

/// A manifest is about 200 bytes for each file.
const LONGEST_MANIFEST: usize = 256 << 20;
/// What all paths of a stream may take: whoever has more files has another problem.
const MOST_PATHS: usize = 256 << 20;

/// How a stream differs from a backup.
#[derive(Debug, Error)]
pub(crate) enum Finding {
    #[error(transparent)]
    Tar(#[from] TarError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the stream has no {} at its end", manifest::NAME)]
    NoManifest,
    #[error("the stream has two files {0}")]
    Twice(EntryPath),
    #[error("the stream has more names than anybody has files")]
    TooMany,
    #[error("{path} has {found} bytes, and {expected} by the manifest")]
    Size {
        path: EntryPath,
        expected: u64,
        found: u64,
    },
    #[error("{path} has other content than the manifest says")]
    Content { path: EntryPath },
    #[error("the stream has a file {0} that the manifest does not know")]
    Extra(EntryPath),
    #[error("the stream lacks {0}, which the manifest has")]
    Missing(EntryPath),
}

/// The sum of a file as it goes by.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Running {
    bytes: u64,
    crc32c: u32,
}

impl Running {
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, piece);
    }

    pub(crate) fn sum(self) -> Sum {
        Sum {
            bytes: self.bytes,
            crc32c: self.crc32c,
        }
    }
}

/// Whether a file is what the manifest has of it.
pub(crate) fn compare(manifest: &Manifest, path: &EntryPath, found: Sum) -> Result<(), Finding> {
    let path = path.clone();
    match manifest.files.get(&path) {
        None => Err(Finding::Extra(path)),
        Some(expected) if expected.bytes != found.bytes => Err(Finding::Size {
            path,
            expected: expected.bytes,
            found: found.bytes,
        }),
        Some(expected) if expected.crc32c != found.crc32c => Err(Finding::Content { path }),
        Some(_same) => Ok(()),
    }
}

/// Watches a stream whose manifest comes last.
#[derive(Debug)]
pub(crate) struct Witness {
    reader: Reader,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    files: BTreeMap<EntryPath, Sum>,
    paths: usize,
    manifest: Option<Vec<u8>>,
    under_way: Option<(EntryPath, Running)>,
}

/// A stream that is a whole backup.
#[derive(Debug)]
pub(crate) struct Witnessed {
    pub(crate) manifest: Manifest,
    /// As Postgres wrote it.
    pub(crate) text: Vec<u8>,
}

impl Witness {
    pub(crate) fn new() -> Witness {
        Witness {
            reader: Reader::new(),
            seen: Seen::default(),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Finding> {
        self.reader.push(bytes, &mut self.seen)
    }

    /// Whether the manifest has begun, which Postgres writes when the backup has ended.
    pub(crate) fn sees_manifest(&self) -> bool {
        self.seen.manifest.is_some()
    }

    /// The stream has ended: whether it is a whole backup.
    pub(crate) fn finish(self) -> Result<Witnessed, Finding> {
        self.reader.finish()?;
        let text = self.seen.manifest.ok_or(Finding::NoManifest)?;
        let manifest = Manifest::parse(&text)?;
        for (path, found) in &self.seen.files {
            compare(&manifest, path, *found)?;
        }
        let missing = |path: &&EntryPath| !self.seen.files.contains_key(path);
        match manifest.files.keys().find(missing) {
            Some(path) => Err(Finding::Missing(path.clone())),
            None => Ok(Witnessed { manifest, text }),
        }
    }
}

impl Visit for Seen {
    type Error = Finding;

    fn entry(&mut self, entry: &Entry) -> Result<(), Finding> {
        let path = &entry.path;
        match entry.kind {
            Kind::Folder => {}
            Kind::File { .. } if path.is(manifest::NAME) && self.manifest.is_some() => {
                return Err(Finding::Twice(path.clone()));
            }
            Kind::File { .. } if path.is(manifest::NAME) => self.manifest = Some(Vec::new()),
            Kind::File { .. } => {
                self.paths += path.len();
                if self.paths > MOST_PATHS {
                    return Err(Finding::TooMany);
                }
                self.under_way = Some((path.clone(), Running::default()));
            }
        }
        Ok(())
    }

    fn content(&mut self, piece: &[u8]) -> Result<(), Finding> {
        match (&mut self.under_way, &mut self.manifest) {
            (Some((_, running)), _) => running.add(piece),
            (None, Some(text)) if text.len() + piece.len() <= LONGEST_MANIFEST => {
                text.extend_from_slice(piece);
            }
            (None, _) => return Err(Finding::TooMany),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Finding> {
        let Some((path, running)) = self.under_way.take() else {
            return Ok(());
        };
        match self.files.insert(path.clone(), running.sum()) {
            None => Ok(()),
            Some(_before) => Err(Finding::Twice(path)),
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn witness(stream: &[u8]) -> Result<Witnessed, Finding> {
    let mut witness = Witness::new();
    witness.push(stream)?;
    witness.finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backup::{manifest::forge::manifest, tar::forge::stream};

    const FILES: [(&str, &[u8]); 4] = [
        ("backup_label", b"START WAL LOCATION"),
        ("base/", b""),
        ("base/1/1259", &[7; 8192]),
        ("global/pg_control", &[1; 600]),
    ];

    /// A backup of these files whose manifest is of those.
    pub(crate) fn backup(files: &[(&str, &[u8])], listed: &[(&str, &[u8])]) -> Vec<u8> {
        let manifest = manifest(listed);
        let files = [files, &[(manifest::NAME, manifest.as_slice())]].concat();
        stream(&files)
    }

    #[test]
    fn a_whole_backup_is_what_its_manifest_says() {
        let witnessed = witness(&backup(&FILES, &FILES)).unwrap();
        assert_eq!(witnessed.manifest.files.len(), 3);
        assert_eq!(witnessed.text, manifest(&FILES));
    }

    #[test]
    fn every_way_to_differ_from_the_manifest_is_found() {
        let found = |files: &[(&str, &[u8])]| witness(&backup(files, &FILES)).unwrap_err();
        let with = |at: usize, name, content| {
            let mut files = FILES;
            files[at] = (name, content);
            found(&files)
        };
        assert!(matches!(
            with(2, "base/1/1259", &[7; 8191]),
            Finding::Size { .. }
        ));
        assert!(matches!(
            with(2, "base/1/1259", &[8; 8192]),
            Finding::Content { .. }
        ));
        assert!(matches!(
            with(2, "base/1/1260", &[7; 8192]),
            Finding::Extra(_)
        ));
        assert!(matches!(found(&FILES[..3]), Finding::Missing(_)));
        assert!(matches!(found(&[FILES[0], FILES[0]]), Finding::Twice(_)));
        let bare = witness(&stream(&FILES)).unwrap_err();
        assert!(matches!(bare, Finding::NoManifest));
    }

    proptest! {
        #[test]
        fn a_backup_with_one_byte_changed_or_cut_is_never_taken(
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
            cut in any::<bool>(),
        ) {
            let mut stream = backup(&FILES, &FILES);
            let whole = witness(&stream).unwrap().manifest;
            let at = at.index(stream.len());
            if cut {
                stream.truncate(at);
            } else {
                stream[at] ^= 1 << bit;
            }
            // Only what stands for nothing may change: padding, and the end of a header's checksum.
            if let Ok(witnessed) = witness(&stream) {
                prop_assert!(!cut);
                prop_assert_eq!(witnessed.manifest, whole);
            }
        }
    }
}
