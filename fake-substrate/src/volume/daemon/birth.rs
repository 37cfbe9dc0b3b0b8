//! How a volume comes to be: blank, or with an empty file system (K-002), and in object storage before
//! anybody is told of it.
//!
//! ```text
//!   draft: ephemeral, expires ──► attached ──► mkfs ──► synced ──► detached ──► named ──► flushed ──► told
//! ```
//!
//! A draft has a name of its own until its file system is whole; the name it was asked for appears
//! together with the content, in one frame of the journal. So a failure, or a kill, at any point leaves
//! no half volume: at most a draft, which is destroyed when its time has come.

use std::sync::Arc;

use super::disks::Disks;
use super::{BlockStoreError, random};
use crate::admin::FileSystem;
use crate::command::Program;
use crate::progress::Quiet;
use crate::serve::{chain, clock};
use crate::volume::VolumeName;
use crate::volume::host::{Host, HostError};
use crate::volume::store::decide::{Children, NewVolume};

/// After so long nobody makes a file system any more; the process that did was killed.
const DRAFT_MS: u64 = 10 * 60 * 1000;

/// Few blocks for any size, since each is uploaded (36 for 64 MiB, 1300 for 100 GiB), and room in the
/// descriptors to grow a thousand times while mounted, as is mkfs's own choice:
///
/// - `assume_storage_prezeroed`: nothing is written to say that it is empty, and the kernel's lazy
///   initialisation, which would write megabytes in the background of the first mount, has no work;
/// - `nodiscard`: there is nothing to give back;
/// - 4096 and 256 also for a volume so small that the defaults are others, so that all are the same;
/// - no blocks for root: the disk holds one database, whose reserve is a file of its own.
const EXT4: [&str; 12] = [
    "-q",
    "-F",
    "-b",
    "4096",
    "-I",
    "256",
    "-m",
    "0",
    "-L",
    "beyond-data",
    "-E",
    "assume_storage_prezeroed=1,nodiscard",
];

/// Makes a volume. One that is not ephemeral has its first flush point when this returns: without it
/// the loss of the host would take a volume that its owner was told of.
pub(super) async fn create(
    host: Arc<Host>,
    disks: Arc<Disks>,
    new: NewVolume,
    file_system: Option<FileSystem>,
) -> Result<(), BlockStoreError> {
    let (name, ephemeral) = (new.name.clone(), new.ephemeral);
    match file_system {
        None => blocking(&host, move |host| host.create(new, clock::unix_ms())).await?,
        Some(file_system) => formatted(&host, &disks, new, file_system).await?,
    }
    if ephemeral {
        return Ok(());
    }
    blocking(&host, move |host| first_flush(host, &name)).await
}

fn first_flush(host: &Host, name: &VolumeName) -> Result<(), HostError> {
    let flushed = host.flush_point(name, clock::unix_ms());
    if flushed.is_err()
        && let Err(error) = host.destroy(name, Children::Forbid)
    {
        // It is off the books all the same; its root, if there is one, is removed later.
        tracing::warn!(volume = %name, error = %chain(&error), "a volume that could not be flushed is not gone yet");
    }
    flushed.map(drop)
}

async fn formatted(
    host: &Arc<Host>,
    disks: &Disks,
    new: NewVolume,
    file_system: FileSystem,
) -> Result<(), BlockStoreError> {
    let [a, b, c, d, ..] = random()?.to_le_bytes();
    let draft = format!("draft-{:08x}", u32::from_le_bytes([a, b, c, d]));
    let draft: VolumeName = draft.parse().map_err(|_never| BlockStoreError::NoEntropy)?;
    let now_ms = clock::unix_ms();
    let blank = NewVolume {
        name: draft.clone(),
        bytes: new.bytes,
        ephemeral: true,
        expires_ms: Some(now_ms.saturating_add(DRAFT_MS)),
    };
    blocking(host, move |host| host.create(blank, now_ms)).await?;
    let formatted = format(host, disks, &draft, file_system).await;
    let detached = disks.detach(&draft).await;
    let named = match formatted.and(detached) {
        Ok(()) => {
            let draft = draft.clone();
            let name = move |host: &Host| host.publish(&draft, new, clock::unix_ms());
            blocking(host, name).await
        }
        Err(error) => Err(error),
    };
    if named.is_err() {
        let destroy = move |host: &Host| host.destroy(&draft, Children::Forbid);
        if let Err(error) = blocking(host, destroy).await {
            tracing::warn!(error = %chain(&error), "a draft is left; it is destroyed when its time has come");
        }
    }
    named
}

async fn format(
    host: &Arc<Host>,
    disks: &Disks,
    draft: &VolumeName,
    file_system: FileSystem,
) -> Result<(), BlockStoreError> {
    let (handle, device) = disks.open(draft).await?;
    let program = match file_system {
        FileSystem::Ext4 => Program::named("mkfs.ext4").args(EXT4),
    };
    let made = program.arg(&device).run(&Quiet).await;
    made.map_err(BlockStoreError::Format)?;
    // It has flushed what it wrote; that a file system is whole is not for another program to promise.
    blocking(host, move |host| host.flush(&handle)).await
}

/// The host's work blocks: it waits for a disk or for object storage.
pub(super) async fn blocking<T: Send + 'static>(
    host: &Arc<Host>,
    work: impl FnOnce(&Host) -> Result<T, HostError> + Send + 'static,
) -> Result<T, BlockStoreError> {
    let host = Arc::clone(host);
    let done = tokio::task::spawn_blocking(move || work(&host)).await;
    Ok(done.map_err(BlockStoreError::Bug)??)
}
