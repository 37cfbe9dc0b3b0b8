//! WAL as files in a folder: the server's own, or a receiver's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use wire::lsn::Lsn;

use super::name::{SegmentSize, parse_received};
use super::page::PAGE;
use super::walk::Pages;

/// The files of a folder as they were when it was listed.
#[derive(Debug)]
pub(crate) struct Folder {
    size: SegmentSize,
    /// By number: the newest timeline's, a finished one before one that grows.
    segments: BTreeMap<u64, Received>,
    open: Option<(u64, File)>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) timeline: u32,
    pub(crate) partial: bool,
    pub(crate) path: PathBuf,
}

impl Folder {
    /// Segments up to that timeline; what else lies there is passed over.
    pub(crate) fn list(path: &Path, timeline: u32, size: SegmentSize) -> io::Result<Folder> {
        let mut segments = BTreeMap::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Some((name, partial)) = entry.file_name().to_str().and_then(parse_received) else {
                continue;
            };
            let Some(number) = name.number(size).filter(|_| name.timeline <= timeline) else {
                continue;
            };
            let found = Received {
                timeline: name.timeline,
                partial,
                path: entry.path(),
            };
            let rank = |received: &Received| (received.timeline, !received.partial);
            let better = |known: &Received| rank(known) < rank(&found);
            if segments.get(&number).is_none_or(better) {
                segments.insert(number, found);
            }
        }
        Ok(Folder {
            size,
            segments,
            open: None,
        })
    }

    /// The segments, by number.
    pub(crate) fn segments(&self) -> &BTreeMap<u64, Received> {
        &self.segments
    }
}

impl Pages for Folder {
    fn read(&mut self, at: Lsn, page: &mut [u8; PAGE]) -> io::Result<bool> {
        let number = self.size.number(at);
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            let Some(segment) = self.segments.get(&number) else {
                return Ok(false);
            };
            self.open = match File::open(&segment.path) {
                Ok(file) => Some((number, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            };
        }
        let Some((_, file)) = &self.open else {
            return Ok(false);
        };
        match file.read_exact_at(page, self.size.offset(at)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}
