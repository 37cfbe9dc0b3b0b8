//! What a host stands on: a local SSD (arena and journal) and object storage. Small traits, so that
//! the property tests run the same host on memory.

pub mod folder;
#[cfg(test)]
pub mod memory;
pub mod s3;

use std::io;

/// The local SSD's blocks. Not durable beyond this machine, and that is its promise.
pub trait Arena: Send + Sync {
    /// Fills `buffer` from `offset`; what was never written reads as zeroes.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Gives space back; what is read there afterwards is anything.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;
}

/// The local SSD's journal: what was appended is there after the host's process was killed.
pub trait Journal: Send + Sync {
    /// Everything, at the start.
    fn read(&mut self) -> io::Result<Vec<u8>>;
    /// Forgets what is beyond `length`: a frame that a crash cut short.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Adds a frame, or nothing.
    fn append(&mut self, frame: &[u8]) -> io::Result<()>;
    /// Puts something else in place of everything, or changes nothing.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// How long it is.
    fn length(&self) -> u64;
}

/// How the store calls one version of an object; S3's `ETag`.
pub type Tag = String;

/// What object storage could not do.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The object is not, or no longer, in the version that was expected.
    #[error("object {key} was changed by somebody else")]
    Conflict {
        /// Which.
        key: String,
    },
    /// Anything else. The request may have been carried out or not.
    #[error("cannot {verb} object {key}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        key: String,
        /// Why not.
        source: io::Error,
    },
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// How long it is.
    pub bytes: u64,
}

/// Object storage.
pub trait Objects: Send + Sync {
    /// Stores an object whose key nobody else uses.
    fn put(&self, key: &str, body: &[u8]) -> Result<(), ObjectError>;
    /// Stores an object in place of the version called `expected`; without one there must be none.
    fn replace(&self, key: &str, body: &[u8], expected: Option<&str>) -> Result<Tag, ObjectError>;
    /// An object and its version.
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Tag)>, ObjectError>;
    /// A part of an object, shorter where the object ends. A guest waits for it: what may pass by itself is
    /// tried again for a while.
    fn get_range(&self, key: &str, from: u64, length: u64) -> Result<Option<Vec<u8>>, ObjectError>;
    /// Removes an object; one that is not there is fine.
    fn delete(&self, key: &str) -> Result<(), ObjectError>;
    /// Every object whose key begins with `prefix`.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, ObjectError>;
}
