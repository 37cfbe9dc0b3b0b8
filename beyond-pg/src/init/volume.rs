//! The volume (`vdb`): a disk with a blank ext4 at first, which PID 1 mounts where Postgres keeps
//! everything (contract 3, K-002). Where there is no such disk, as in a plain container, the volume is what
//! whoever made the container has put there.
//!
//! Nothing here formats or repairs a disk.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::stat::{major, minor};
use thiserror::Error;

use crate::init::ext4::{SUPERBLOCK_AT, SUPERBLOCK_BYTES, Superblock};
use crate::init::mounts::{self, DeviceNumber};
use crate::layout::Layout;
use crate::metadata;
use crate::supervise::chain;
use crate::sys::mount;

#[derive(Debug, Error)]
pub(crate) enum VolumeError {
    #[error(
        "there is no {device}. Nothing was changed.\n\
         HINT: attach the volume; without one the database would go with the root file system", device = device.display()
    )]
    Missing { device: PathBuf },
    #[error("{device} is no disk. Nothing was changed.\nHINT: attach the volume as a block device", device = device.display())]
    NoDisk { device: PathBuf },
    #[error(
        "{device} holds no ext4 file system. It was not touched.\n\
         HINT: attach the volume of this machine, or a new one with a blank ext4: no disk is formatted here", device = device.display()
    )]
    NoExt4 { device: PathBuf },
    #[error("reading {path}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "mounting {device} at {target} is not allowed\n\
         HINT: a machine with a volume of its own needs CAP_SYS_ADMIN", device = device.display(), target = target.display()
    )]
    NotAllowed { device: PathBuf, target: PathBuf },
    #[error(
        "mounting {device} at {target} failed. Nothing was changed.\n\
         HINT: the kernel's log says what is wrong with the file system; keep the volume as it is", device = device.display(), target = target.display()
    )]
    Mount {
        device: PathBuf,
        target: PathBuf,
        source: nix::Error,
    },
    #[error(
        "{device} is not mounted\nHINT: the running machine mounts it; look from within that one", device = device.display()
    )]
    NotMounted { device: PathBuf },
    #[error(
        "{device} has room for {blocks} blocks, and its file system may not be grown while it is mounted\n\
         HINT: that takes CAP_SYS_RESOURCE; without it, grow it while the machine is off", device = device.display()
    )]
    GrowNotAllowed { device: PathBuf, blocks: u64 },
    #[error("growing the file system of {device} to {blocks} blocks", device = device.display())]
    Grow {
        device: PathBuf,
        blocks: u64,
        source: nix::Error,
    },
}

/// A disk that this process has mounted.
#[derive(Debug)]
pub(crate) struct Mounted {
    device: PathBuf,
    target: PathBuf,
}

impl Mounted {
    /// Takes it away again, after the last file on it was closed. Best effort: it was synced before, and the
    /// end of the machine unmounts whatever is left.
    pub(crate) fn unmount(self) {
        let Mounted { device, target } = self;
        match mount::unmount(&target) {
            Ok(()) => tracing::info!("unmounted {}", device.display()),
            Err(error) => tracing::warn!(
                "{} was synced and stays mounted at {}: {error}",
                device.display(),
                target.display()
            ),
        }
    }
}

/// Mounts the volume, if it is a disk and not mounted yet, and lets its file system have all of the disk.
pub(crate) fn mount(layout: &Layout) -> Result<Option<Mounted>, VolumeError> {
    let Some(number) = disk(layout)? else {
        return Ok(None);
    };
    let (device, target) = (layout.volume_device(), layout.volume());
    if is_mounted(layout, number)? {
        return Ok(None);
    }
    superblock(layout)?;
    mount::mount_ext4(&device, &target).map_err(|source| match source {
        Errno::EPERM | Errno::EACCES => VolumeError::NotAllowed {
            device: device.clone(),
            target: target.clone(),
        },
        source => VolumeError::Mount {
            device: device.clone(),
            target: target.clone(),
            source,
        },
    })?;
    tracing::info!("mounted {} at {}", device.display(), target.display());
    let mounted = Mounted { device, target };
    // Best effort: what it had before is still there, and the disk is looked at again while it runs.
    match growth(layout).and_then(|growth| growth.map(Growth::take).transpose()) {
        Ok(_) => {}
        Err(error) => tracing::warn!("{}", chain(&error)),
    }
    Ok(Some(mounted))
}

/// For who only looks: the volume must be there already.
pub(crate) fn expect_mounted(layout: &Layout) -> Result<(), VolumeError> {
    match disk(layout)? {
        Some(number) if !is_mounted(layout, number)? => Err(VolumeError::NotMounted {
            device: layout.volume_device(),
        }),
        _ => Ok(()),
    }
}

/// Room on the disk that the file system of a mounted volume does not use yet.
pub(crate) fn growth(layout: &Layout) -> Result<Option<Growth>, VolumeError> {
    let Some(number) = disk(layout)? else {
        return Ok(None);
    };
    let superblock = superblock(layout)?;
    let blocks = superblock.growth(disk_bytes(layout, number)?);
    Ok(blocks.map(|blocks| Growth {
        device: layout.volume_device(),
        target: layout.volume(),
        blocks,
        block_bytes: superblock.block_bytes,
    }))
}

/// What a file system could have, and has not.
#[derive(Debug)]
pub(crate) struct Growth {
    device: PathBuf,
    target: PathBuf,
    blocks: u64,
    block_bytes: u64,
}

impl Growth {
    /// Takes it, while sessions go on. Waits for the disk.
    pub(crate) fn take(self) -> Result<(), VolumeError> {
        let folder = File::open(&self.target).map_err(reading(&self.target))?;
        let Growth { device, blocks, .. } = self;
        mount::grow_ext4(&folder, blocks).map_err(|source| match source {
            Errno::EPERM => VolumeError::GrowNotAllowed { device, blocks },
            source => VolumeError::Grow {
                device,
                blocks,
                source,
            },
        })?;
        let megabytes = (blocks * self.block_bytes) >> 20;
        tracing::info!("the volume has grown to {megabytes} MB");
        Ok(())
    }
}

/// The disk's number; `None` where the volume is not a disk. A machine with a kernel of its own must have one.
fn disk(layout: &Layout) -> Result<Option<DeviceNumber>, VolumeError> {
    let device = layout.volume_device();
    match fs::metadata(&device) {
        Ok(found) if found.file_type().is_block_device() => Ok(Some(DeviceNumber {
            major: major(found.rdev()),
            minor: minor(found.rdev()),
        })),
        Ok(_) => Err(VolumeError::NoDisk { device }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if metadata::has_own_kernel() {
                return Err(VolumeError::Missing { device });
            }
            Ok(None)
        }
        Err(source) => Err(VolumeError::Read {
            path: device,
            source,
        }),
    }
}

fn is_mounted(layout: &Layout, number: DeviceNumber) -> Result<bool, VolumeError> {
    let path = layout.root().join("proc/self/mountinfo");
    let text = fs::read_to_string(&path).map_err(reading(&path))?;
    Ok(mounts::seen_at(&layout.volume(), &text) == Some(number))
}

/// Also while it is mounted: the kernel keeps one copy of these bytes for itself and for whoever reads them.
fn superblock(layout: &Layout) -> Result<Superblock, VolumeError> {
    let device = layout.volume_device();
    let mut bytes = [0; SUPERBLOCK_BYTES];
    let mut file = File::open(&device).map_err(reading(&device))?;
    let read = file
        .seek(SeekFrom::Start(SUPERBLOCK_AT))
        .and_then(|_at| file.read_exact(&mut bytes));
    match read {
        Ok(()) => {}
        // A disk too small for one.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(VolumeError::NoExt4 { device });
        }
        Err(source) => {
            return Err(VolumeError::Read {
                path: device,
                source,
            });
        }
    }
    Superblock::parse(&bytes).ok_or(VolumeError::NoExt4 { device })
}

fn disk_bytes(layout: &Layout, number: DeviceNumber) -> Result<u64, VolumeError> {
    const SECTOR: u64 = 512;
    let DeviceNumber { major, minor } = number;
    let path = layout
        .root()
        .join(format!("sys/dev/block/{major}:{minor}/size"));
    let text = fs::read_to_string(&path).map_err(reading(&path))?;
    let sectors: Result<u64, _> = text.trim().parse();
    let sectors = sectors.map_err(|source| VolumeError::Read {
        path,
        source: io::Error::new(io::ErrorKind::InvalidData, source),
    })?;
    Ok(sectors.saturating_mul(SECTOR))
}

fn reading(path: &std::path::Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::Read { path, source }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "stand-ins for devices")]
mod tests {
    use super::*;

    #[test]
    fn without_a_disk_the_volume_is_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        assert!(mount(&layout).unwrap().is_none());
        assert!(growth(&layout).unwrap().is_none());
        expect_mounted(&layout).unwrap();
    }

    #[test]
    fn a_file_in_the_disks_place_is_refused_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        fs::create_dir(root.path().join("dev")).unwrap();
        fs::write(layout.volume_device(), "x").unwrap();
        let words = mount(&layout).unwrap_err().to_string();
        assert!(words.contains("is no disk. Nothing was changed"), "{words}");
        assert_eq!(fs::read(layout.volume_device()).unwrap(), b"x");
    }

    #[test]
    fn a_disk_is_an_ext4_or_it_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        fs::create_dir(root.path().join("dev")).unwrap();
        for bytes in [vec![0; 4096], vec![0; 10]] {
            fs::write(layout.volume_device(), bytes).unwrap();
            let words = superblock(&layout).unwrap_err().to_string();
            assert!(words.contains("holds no ext4 file system. It was not touched"));
        }
    }
}
