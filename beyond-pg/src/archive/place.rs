//! Where in the bucket the archive of one database lies.
//!
//! ```text
//! s3://bucket/prefix/INSTANCE/cluster.json      whose it is
//! s3://bucket/prefix/INSTANCE/wal/NAME.lz4      segments, histories, backup labels
//! s3://bucket/prefix/INSTANCE/backups/NAME/…    base backups (`backup`)
//! ```
//!
//! A fork has the system id of its parent and begins with the parent's segments, so the instance is
//! part of the path (facts A 19, C 48). A machine without an instance id has the prefix for itself.

use serde::{Deserialize, Serialize};

use crate::archive::file::{Kind, Segment, WalFile};

/// A folder of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    folder: String,
}

/// What `cluster.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    pub(crate) system_id: u64,
}

/// What a backup consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackupPart {
    /// The tar stream.
    Base,
    Manifest,
    /// Put last: a backup that has it is whole.
    Record,
}

impl BackupPart {
    fn name(self) -> &'static str {
        match self {
            BackupPart::Base => "base.tar.lz4",
            BackupPart::Manifest => "backup_manifest.lz4",
            BackupPart::Record => "backup.json",
        }
    }
}

impl Place {
    pub(crate) fn new(prefix: &str, instance: Option<&str>) -> Place {
        let parts = [prefix, instance.unwrap_or_default()];
        let folder = parts
            .iter()
            .filter(|part| !part.is_empty())
            .fold(String::new(), |path, part| path + part + "/");
        Place { folder }
    }

    pub(crate) fn cluster(&self) -> String {
        format!("{}cluster.json", self.folder)
    }

    pub(crate) fn file(&self, file: &WalFile) -> String {
        format!("{}{}.lz4", self.files(), file.name())
    }

    /// What the keys of all files begin with.
    pub(crate) fn files(&self) -> String {
        format!("{}wal/", self.folder)
    }

    /// A key that lies before a segment's and behind all that come before it.
    pub(crate) fn before(&self, segment: Segment) -> String {
        format!("{}{segment}", self.files())
    }

    /// What the keys of all backups begin with.
    pub(crate) fn backups(&self) -> String {
        format!("{}backups/", self.folder)
    }

    /// One of the objects of a backup.
    pub(crate) fn backup(&self, name: &str, part: BackupPart) -> String {
        format!("{}{name}/{}", self.backups(), part.name())
    }

    /// The backup whose record this key is of.
    pub(crate) fn backup_of(&self, key: &str) -> Option<String> {
        let (name, part) = key.strip_prefix(&self.backups())?.split_once('/')?;
        (part == BackupPart::Record.name()).then(|| name.to_owned())
    }

    /// The whole segment that this key is of.
    pub(crate) fn segment_of(&self, key: &str) -> Option<Segment> {
        let name = key.strip_prefix(&self.files())?.strip_suffix(".lz4")?;
        match WalFile::parse(name)?.kind() {
            Kind::Segment(segment) if !name.ends_with(".partial") => Some(segment),
            Kind::Segment(_) | Kind::History | Kind::Backup => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instance_has_a_folder_of_its_own() {
        let name = "000000010000000000000002";
        let file = WalFile::parse(name).unwrap();
        let key = |prefix, instance| Place::new(prefix, instance).file(&file);
        assert_eq!(key("a/b", Some("i-1")), format!("a/b/i-1/wal/{name}.lz4"));
        assert_eq!(key("a/b", None), format!("a/b/wal/{name}.lz4"));
        assert_eq!(key("", Some("i-1")), format!("i-1/wal/{name}.lz4"));
        assert_eq!(key("", None), format!("wal/{name}.lz4"));
        let place = Place::new("a", Some("i-1"));
        assert_eq!(
            place.segment_of(&place.file(&file)).map(|s| s.to_string()),
            Some(name.to_owned())
        );
        let earlier = WalFile::parse("000000010000000000000001").unwrap();
        let before = place.before(place.segment_of(&place.file(&file)).unwrap());
        assert!(place.file(&earlier) < before && before < place.file(&file));
        assert_eq!(place.segment_of("a/i-2/wal/x.lz4"), None);
        assert_eq!(
            place.segment_of(&format!("a/i-1/wal/{name}.partial.lz4")),
            None
        );
    }

    #[test]
    fn a_backup_is_known_by_its_record_alone() {
        let place = Place::new("a", Some("i-1"));
        let of = |part| place.backup_of(&place.backup("20260131T120000Z", part));
        assert_eq!(of(BackupPart::Record).as_deref(), Some("20260131T120000Z"));
        assert_eq!(of(BackupPart::Base), None);
        assert_eq!(of(BackupPart::Manifest), None);
    }
}
