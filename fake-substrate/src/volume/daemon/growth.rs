//! How a volume gets larger: first in the books, then the disk that it is to a machine, then the ext4 on
//! that disk, then in object storage.
//!
//! ```text
//!   journal: blocks ──► file, loop device ──► ext4, by the kernel, while mounted ──► flush point
//! ```
//!
//! The kernel grows a mounted ext4 with sessions going on, for who has CAP_SYS_RESOURCE. A machine's
//! container has not; this process has, and mounts the disk beside the machine for as long as it takes: for
//! the kernel it is one file system, however often it is mounted. Cut anywhere, a volume is larger than its
//! file system, which the next attachment makes good.

use std::path::Path;
use std::sync::Arc;

use super::birth::blocking;
use super::disks::Disks;
use super::{BlockStoreError, clock};
use crate::command::{CommandError, Program};
use crate::progress::Quiet;
use crate::volume::VolumeName;
use crate::volume::host::Host;

/// Makes a volume larger. One that is not ephemeral has its new size in object storage when this returns.
pub(super) async fn grow(
    host: Arc<Host>,
    disks: Arc<Disks>,
    name: VolumeName,
    bytes: u64,
) -> Result<(), BlockStoreError> {
    disks.grow(&name, bytes).await?;
    let is_ephemeral = host.with_books(|books| {
        let volume = books.volume(&name);
        volume.is_ok_and(|volume| volume.meta.ephemeral)
    });
    if is_ephemeral {
        return Ok(());
    }
    blocking(&host, move |host| {
        host.flush_point(&name, clock::unix_ms()).map(drop)
    })
    .await
}

/// Lets the ext4 of a disk of `bytes` have all of it. A disk that holds something else is left alone.
/// `mount_point` is a folder that is made for it.
pub(super) async fn fit(
    device: &str,
    bytes: u64,
    mount_point: &Path,
) -> Result<(), BlockStoreError> {
    let header = Program::named("dumpe2fs").args(["-h", device]);
    let header = match header.run(&Quiet).await {
        Ok(header) => header,
        Err(CommandError::Failed { .. }) => return Ok(()),
        Err(error) => return Err(BlockStoreError::Fit(error)),
    };
    if !is_outgrown(&header, bytes) {
        return Ok(());
    }
    mounted_at(device, mount_point).await?;
    let grown = Program::named("resize2fs").arg(device).run(&Quiet).await;
    let unmounted = unmount(mount_point).await;
    grown.map_err(BlockStoreError::Fit)?;
    unmounted?;
    tracing::info!(device, bytes, "its file system has all of it");
    Ok(())
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

#[cfg(target_os = "linux")]
async fn mounted_at(device: &str, mount_point: &Path) -> Result<(), BlockStoreError> {
    use nix::mount::{MsFlags, mount};
    let (device, path) = (device.to_owned(), mount_point.to_owned());
    let mounting = tokio::task::spawn_blocking(move || {
        let failed = |source| BlockStoreError::Mount {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&path).map_err(failed)?;
        let flags =
            MsFlags::MS_NOATIME | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        let mounted = mount(
            Some(device.as_str()),
            &path,
            Some("ext4"),
            flags,
            None::<&str>,
        );
        mounted.map_err(|errno| failed(errno.into()))
    });
    mounting.await.map_err(BlockStoreError::Bug)?
}

#[cfg(target_os = "linux")]
async fn unmount(mount_point: &Path) -> Result<(), BlockStoreError> {
    use nix::mount::{MntFlags, umount2};
    let path = mount_point.to_owned();
    let unmounting = tokio::task::spawn_blocking(move || {
        let gone = umount2(&path, MntFlags::empty()).map_err(std::io::Error::from);
        let gone = gone.and_then(|()| std::fs::remove_dir(&path));
        gone.map_err(|source| BlockStoreError::Mount { path, source })
    });
    unmounting.await.map_err(BlockStoreError::Bug)?
}

#[cfg(not(target_os = "linux"))]
async fn mounted_at(_device: &str, _mount_point: &Path) -> Result<(), BlockStoreError> {
    std::future::ready(Err(BlockStoreError::NoDisks)).await
}

#[cfg(not(target_os = "linux"))]
async fn unmount(_mount_point: &Path) -> Result<(), BlockStoreError> {
    std::future::ready(Err(BlockStoreError::NoDisks)).await
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
