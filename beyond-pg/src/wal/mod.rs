//! The WAL as it lies in files: names, pages, records, and where it validly ends.
//!
//! A file under the right name proves nothing: the server recycles segments, preallocates them and
//! leaves torn pages behind (facts A 7). What belongs to a cluster is decided by the headers of pages and by
//! the checksums of records alone, as recovery decides it. `folder` alone opens files.

pub(crate) mod folder;
pub(crate) mod name;
pub(crate) mod page;
pub(crate) mod walk;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod forge;
#[cfg(test)]
mod walk_tests;

pub(crate) use folder::Folder;
pub(crate) use name::{SegmentName, SegmentSize};
pub(crate) use page::Stream;
pub(crate) use walk::{Begin, End, walk};
