//! Mounting and unmounting the volume, and telling its ext4 that the device has grown.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mounts an ext4 that holds data and nothing to execute as somebody else. Access times would be a
/// write for each read. An ext4 that finds itself damaged turns read-only: Postgres stops, and the bytes stay
/// as they are for whoever looks.
pub(crate) fn mount_ext4(device: &Path, target: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NOATIME | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount(
        Some(device),
        target,
        Some("ext4"),
        flags,
        Some("errors=remount-ro"),
    )
}

/// Unmounts what is seen at `target`; fails while anybody has a file open there.
pub(crate) fn unmount(target: &Path) -> nix::Result<()> {
    umount2(target, MntFlags::empty())
}

mod ioctl {
    // `EXT4_IOC_RESIZE_FS` takes the new number of blocks.
    nix::ioctl_write_ptr!(ext4_resize, b'f', 16, u64);
}

/// Lets the mounted ext4 that `folder` lies on have so many blocks of its device.
pub(crate) fn grow_ext4(folder: &File, blocks: u64) -> nix::Result<()> {
    // SAFETY: the descriptor is open for the call, and the kernel reads one u64 from the pointer,
    // which is to a local that outlives the call.
    #[expect(unsafe_code, reason = "an ioctl that no crate wraps")]
    unsafe { ioctl::ext4_resize(folder.as_raw_fd(), &raw const blocks) }.map(drop)
}
