//! A segment that was fetched ahead, until Postgres asks for it.

use std::io;
use std::path::Path;

use crate::archive::ArchiveError;
use crate::archive::file::SEGMENT_BYTES;
use crate::fx::fs;
use crate::fx::unnamed::Unnamed;
use crate::sys::user;

const MODE: u32 = 0o600;
/// What is fetched ahead takes room on the volume only where this much stays free: recovery needs it more.
const ROOM: u64 = 64 * SEGMENT_BYTES;

#[derive(Debug)]
pub(super) enum Fetched {
    /// All that is left to do is to name it.
    OnVolume(Unnamed),
    InMemory(Vec<u8>),
}

impl Fetched {
    /// Lays it into that folder, if it can, so that Postgres does not wait for the disk.
    pub(super) fn ahead(folder: &Path, content: Vec<u8>) -> Fetched {
        match lay(folder, &content) {
            Ok(Some(file)) => Fetched::OnVolume(file),
            Ok(None) => Fetched::InMemory(content),
            Err(error) => {
                tracing::debug!("a segment that was fetched ahead stays in memory: {error}");
                Fetched::InMemory(content)
            }
        }
    }

    pub(super) fn put(self, path: &Path) -> Result<(), ArchiveError> {
        match self {
            // Postgres renames what it was given, and flushes that before it goes by it.
            Fetched::OnVolume(file) => file.put(path)?,
            Fetched::InMemory(content) => {
                fs::write_atomic(path, &content, MODE, user::postgres()?)?;
            }
        }
        Ok(())
    }
}

fn lay(folder: &Path, content: &[u8]) -> io::Result<Option<Unnamed>> {
    let stat = nix::sys::statvfs::statvfs(folder)?;
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    if free < ROOM {
        return Ok(None);
    }
    let owner = user::postgres().map_err(io::Error::other)?;
    Unnamed::write(folder, content, MODE, owner).map(Some)
}
