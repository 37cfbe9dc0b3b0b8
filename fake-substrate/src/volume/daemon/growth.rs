//! How a volume gets larger: first in the books, then the disk that it is to a machine, then the ext4 on
//! that disk.
//!
//! ```text
//!   journal: blocks ──► file, loop device ──► ext4: by the machine's own kernel while it is mounted, or here
//!                                             while nobody has it
//! ```
//!
//! The kernel grows a mounted ext4 for who has CAP_SYS_RESOURCE in the initial user namespace. Not every Docker can
//! give that to a container, the store's own included; so what a machine cannot do is done here at its next start. Cut
//! anywhere, a volume is larger than its file system, and the next start makes it good.

use std::sync::Arc;

use super::BlockStoreError;
use super::birth::blocking;
use super::disks::Disks;
use crate::command::{CommandError, Program};
use crate::progress::Quiet;
use crate::serve::clock;
use crate::volume::VolumeName;
use crate::volume::host::Host;

/// e2fsck has mended something, as it does of a disk that lost its power.
const MENDED: i32 = 1;

/// What became of the file system of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It has all of the disk, or is no ext4.
    Fits,
    /// Somebody has it mounted: the disk is larger than it.
    InUse,
}

/// Makes a volume larger. One that is not ephemeral has its new size in object storage when this returns.
pub(super) async fn grow(
    host: Arc<Host>,
    disks: Arc<Disks>,
    name: VolumeName,
    bytes: u64,
) -> Result<Fit, BlockStoreError> {
    let fit = disks.grow(&name, bytes).await?;
    let is_ephemeral = host.with_books(|books| {
        let volume = books.volume(&name);
        volume.is_ok_and(|volume| volume.meta.ephemeral)
    });
    if !is_ephemeral {
        let flush = move |host: &Host| host.flush_point(&name, clock::unix_ms()).map(drop);
        blocking(&host, flush).await?;
    }
    Ok(fit)
}

/// Lets the ext4 of a disk of `bytes` have all of it, unless somebody has it mounted. A disk that holds
/// something else is left alone.
pub(super) async fn fit(device: &str, bytes: u64) -> Result<Fit, BlockStoreError> {
    let header = Program::named("dumpe2fs").args(["-h", device]);
    let header = match header.run(&Quiet).await {
        Ok(header) => header,
        Err(CommandError::Failed { .. }) => return Ok(Fit::Fits),
        Err(error) => return Err(BlockStoreError::Fit(error)),
    };
    if !is_outgrown(&header, bytes) {
        return Ok(Fit::Fits);
    }
    // The programs look as well, each for itself: this answers who is to be told what.
    if is_in_use(device)? {
        return Ok(Fit::InUse);
    }
    // resize2fs takes a file system that was checked just now, and none with a journal to replay.
    let check = Program::named("e2fsck").args(["-f", "-p", device]);
    match check.run(&Quiet).await {
        Ok(_clean) => {}
        Err(CommandError::Failed { status, .. }) if status.code() == Some(MENDED) => {}
        Err(error) => return Err(BlockStoreError::Fit(error)),
    }
    let grown = Program::named("resize2fs").arg(device).run(&Quiet).await;
    grown.map_err(BlockStoreError::Fit)?;
    tracing::info!(device, bytes, "its file system has all of it");
    Ok(Fit::Fits)
}

/// Whether a kernel has a disk mounted, in whatever container: who has it mounted has it exclusively.
#[cfg(target_os = "linux")]
fn is_in_use(device: &str) -> Result<bool, BlockStoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let exclusively = nix::fcntl::OFlag::O_EXCL.bits();
    match options.read(true).custom_flags(exclusively).open(device) {
        Ok(_nobody) => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(true),
        Err(source) => Err(BlockStoreError::Mount {
            path: device.into(),
            source,
        }),
    }
}

#[cfg(not(target_os = "linux"))]
fn is_in_use(_device: &str) -> Result<bool, BlockStoreError> {
    Err(BlockStoreError::NoDisks)
}

/// Whether a disk has room for a block that its ext4 does not use, by what dumpe2fs tells of that.
fn is_outgrown(header: &str, bytes: u64) -> bool {
    let figure = |key: &str| -> Option<u64> {
        let value = header.lines().find_map(|line| line.strip_prefix(key))?;
        value.trim().parse().ok()
    };
    match (figure("Block count:"), figure("Block size:")) {
        (Some(blocks), Some(size)) => blocks.saturating_add(1).saturating_mul(size) <= bytes,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_outgrown;

    #[test]
    fn a_file_system_is_outgrown_by_a_whole_block_and_by_nothing_less() {
        let header = "Filesystem volume name:   beyond-data\n\
            Block count:              262144\n\
            Reserved block count:     0\n\
            Block size:               4096\n";
        assert!(!is_outgrown(header, 1 << 30));
        assert!(!is_outgrown(header, (1 << 30) + 4095));
        assert!(is_outgrown(header, (1 << 30) + 4096));
        assert!(!is_outgrown(header, 1 << 20));
        assert!(!is_outgrown("", 1 << 40));
        assert!(!is_outgrown("Block count: many\nBlock size: 4096", 1 << 40));
    }
}
