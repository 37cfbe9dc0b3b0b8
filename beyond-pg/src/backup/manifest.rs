//! The `backup_manifest` of Postgres: which files a base backup has, and the WAL that makes them one
//! database. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;
use wire::lsn::Lsn;

use crate::archive::object;
use crate::backup::tar::EntryPath;

/// What it is called, as an entry of the tar stream and as an object.
pub(crate) const NAME: &str = "backup_manifest";

/// Why a manifest is not taken.
#[derive(Debug, Error)]
pub(crate) enum ManifestError {
    #[error(
        "the manifest of the backup does not hold what its last line says: it was changed or cut"
    )]
    Checksum,
    #[error("the manifest of the backup cannot be understood")]
    Json(#[from] serde_json::Error),
    #[error("the manifest of the backup is of version {0}, and this image reads version 2")]
    Version(u32),
    #[error("the manifest of the backup has a file {0:?}, which is no plain path")]
    Path(String),
    #[error("the manifest of the backup has two files {0}")]
    Twice(EntryPath),
    #[error("the manifest of the backup has {algorithm} of {path}, and this image reads CRC32C")]
    Algorithm { path: EntryPath, algorithm: String },
    #[error("the manifest of the backup does not say which WAL belongs to it")]
    NoWal,
}

/// What a file of a backup has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
}

/// What Postgres says of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) system_id: u64,
    pub(crate) files: BTreeMap<EntryPath, Sum>,
    /// On which timeline it was taken.
    pub(crate) timeline: u32,
    /// From here recovery begins …
    pub(crate) start: Lsn,
    /// … and up to here it has to go before the pages agree with each other.
    pub(crate) end: Lsn,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    #[serde(rename = "PostgreSQL-Backup-Manifest-Version")]
    version: u32,
    #[serde(rename = "System-Identifier")]
    system_id: u64,
    files: Vec<RawFile>,
    #[serde(rename = "WAL-Ranges")]
    wal: Vec<RawRange>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawFile {
    #[serde(rename = "Path")]
    path: Option<String>,
    /// In hex, where the name is not UTF-8.
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

#[derive(Deserialize)]
struct RawRange {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: String,
    #[serde(rename = "End-LSN")]
    end: String,
}

impl Manifest {
    pub(crate) fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        check(text)?;
        let raw: Raw = serde_json::from_slice(text)?;
        if raw.version != 2 {
            return Err(ManifestError::Version(raw.version));
        }
        let mut files = BTreeMap::new();
        for file in raw.files {
            let path = file.path()?;
            let sum = file.sum(&path)?;
            if files.insert(path.clone(), sum).is_some() {
                return Err(ManifestError::Twice(path));
            }
        }
        // One timeline each, the oldest last.
        let newest = raw.wal.first().ok_or(ManifestError::NoWal)?;
        let oldest = raw.wal.last().ok_or(ManifestError::NoWal)?;
        let lsn = |text: &str| text.parse::<Lsn>().ok().ok_or(ManifestError::NoWal);
        Ok(Manifest {
            system_id: raw.system_id,
            files,
            timeline: newest.timeline,
            start: lsn(&oldest.start)?,
            end: lsn(&newest.end)?,
        })
    }

    /// What all its files take.
    pub(crate) fn bytes(&self) -> u64 {
        let sizes = self.files.values().map(|sum| sum.bytes);
        sizes.fold(0, u64::saturating_add)
    }
}

impl RawFile {
    fn path(&self) -> Result<EntryPath, ManifestError> {
        let bytes = match (&self.path, &self.encoded_path) {
            (Some(path), _) => Some(path.clone().into_bytes()),
            (None, Some(hex)) => unhex(hex),
            (None, None) => None,
        };
        let path = bytes.and_then(|bytes| EntryPath::parse(&bytes));
        path.ok_or_else(|| {
            let words = self.path.as_ref().or(self.encoded_path.as_ref());
            ManifestError::Path(words.cloned().unwrap_or_default())
        })
    }

    fn sum(&self, path: &EntryPath) -> Result<Sum, ManifestError> {
        let crc = match (self.algorithm.as_deref(), &self.checksum) {
            (Some("CRC32C"), Some(hex)) => unhex(hex).and_then(|bytes| bytes.try_into().ok()),
            _ => None,
        };
        match crc {
            // As it lies in the memory of a little-endian machine.
            Some(bytes) => Ok(Sum {
                bytes: self.size,
                crc32c: u32::from_le_bytes(bytes),
            }),
            None => Err(ManifestError::Algorithm {
                path: path.clone(),
                algorithm: self
                    .algorithm
                    .clone()
                    .unwrap_or_else(|| "nothing".to_owned()),
            }),
        }
    }
}

/// Its last line is the SHA-256 of all before it.
fn check(text: &[u8]) -> Result<(), ManifestError> {
    let body = text.strip_suffix(b"\n").ok_or(ManifestError::Checksum)?;
    let last = body.iter().rposition(|byte| *byte == b'\n');
    let (before, line) = body.split_at(last.ok_or(ManifestError::Checksum)? + 1);
    let expected = format!("\"Manifest-Checksum\": \"{}\"}}", object::digest(before));
    match line == expected.as_bytes() {
        true => Ok(()),
        false => Err(ManifestError::Checksum),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| {
        let byte = digit(*high)? * 16 + digit(*low)?;
        u8::try_from(byte).ok()
    });
    rest.is_empty().then(|| bytes.collect::<Option<_>>())?
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod forge {
    use super::object;

    /// The manifest of these files, as Postgres lays it out.
    pub(crate) fn manifest(files: &[(&str, &[u8])]) -> Vec<u8> {
        let rows: Vec<String> = files
            .iter()
            .filter(|(name, _)| !name.ends_with('/'))
            .map(|(name, content)| row(name, content))
            .collect();
        sealed(&format!(
            "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 42,\n\"Files\": [\n{}\n],\n\
             \"WAL-Ranges\": [\n{{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000120\" }}\n],\n",
            rows.join(",\n")
        ))
    }

    fn row(name: &str, content: &[u8]) -> String {
        let crc = crc32c::crc32c(content).to_le_bytes();
        let crc: String = crc.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{{ \"Path\": \"{name}\", \"Size\": {}, \"Last-Modified\": \"2026-01-31 12:00:00 GMT\", \
             \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{crc}\" }}",
            content.len()
        )
    }

    pub(crate) fn sealed(before: &str) -> Vec<u8> {
        let digest = object::digest(before.as_bytes());
        format!("{before}\"Manifest-Checksum\": \"{digest}\"}}\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::forge::{manifest, sealed};
    use super::*;

    #[test]
    fn what_postgres_says_is_understood() {
        let text = manifest(&[("backup_label", b"label"), ("base/1/1259", &[7; 8192])]);
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!((manifest.system_id, manifest.timeline), (42, 1));
        assert_eq!(manifest.start.to_string(), "0/2000028");
        assert_eq!(manifest.end.to_string(), "0/2000120");
        assert_eq!(manifest.bytes(), 8197);
        let label = EntryPath::parse(b"backup_label").unwrap();
        let crc32c = crc32c::crc32c(b"label");
        assert_eq!(manifest.files[&label], Sum { bytes: 5, crc32c });
    }

    #[test]
    fn a_name_that_is_no_text_comes_in_hex() {
        let text = String::from_utf8(manifest(&[("x", b"")])).unwrap();
        let before = text.split("\"Manifest-Checksum\"").next().unwrap();
        let named = |name: &str| {
            let text = before.replace("\"Path\": \"x\"", &format!("\"Encoded-Path\": \"{name}\""));
            Manifest::parse(&sealed(&text))
        };
        let path = EntryPath::parse(b"\xFF/a").unwrap();
        assert!(named("ff2f61").unwrap().files.contains_key(&path));
        for bad in ["f", "zz", "2f61", "2e2e"] {
            let error = named(bad).unwrap_err();
            assert!(matches!(error, ManifestError::Path(_)), "{bad}: {error}");
        }
    }

    #[test]
    fn any_change_of_it_is_noticed() {
        let text = manifest(&[("a", b"content")]);
        for at in 0..text.len() {
            let mut spoilt = text.clone();
            spoilt[at] ^= 1;
            let error = Manifest::parse(&spoilt).unwrap_err();
            assert!(matches!(error, ManifestError::Checksum), "{at}: {error}");
        }
    }

    #[test]
    fn a_manifest_of_another_kind_is_refused() {
        let text = String::from_utf8(manifest(&[("x", b"")])).unwrap();
        let before = text.split("\"Manifest-Checksum\"").next().unwrap();
        let changed = |from, to| Manifest::parse(&sealed(&before.replace(from, to))).unwrap_err();
        assert!(matches!(
            changed("Version\": 2", "Version\": 1"),
            ManifestError::Version(1)
        ));
        assert!(matches!(
            changed("CRC32C", "SHA256"),
            ManifestError::Algorithm { .. }
        ));
        assert!(matches!(
            changed("\"x\"", "\"../x\""),
            ManifestError::Path(_)
        ));
        let twice = manifest(&[("x", b""), ("x", b"")]);
        assert!(matches!(
            Manifest::parse(&twice),
            Err(ManifestError::Twice(_))
        ));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\n]{0,200}") {
            let _either = (Manifest::parse(text.as_bytes()), Manifest::parse(&sealed(&text)));
        }
    }
}
