//! Mounting and unmounting the volume, and telling its ext4 that the device has grown.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mounts an ext4 that holds data and nothing to execute as somebody else. Access times would be a
/// write for each read. An ext4 that finds itself damaged turns read-only: Postgres stops, and the bytes stay
/// as they are for whoever looks. The block bitmap of a group is read when something is to be allocated there:
/// reading all of them ahead would fetch a piece of each group of a volume that has just come to its host.
pub(crate) fn mount_ext4(device: &Path, target: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NOATIME | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    let mount = |options| mount(Some(device), target, Some("ext4"), flags, Some(options));
    match mount("errors=remount-ro,no_prefetch_block_bitmaps") {
        // Linux before 5.13 has no such option, and reads nothing ahead.
        Err(Errno::EINVAL) => mount("errors=remount-ro"),
        mounted => mounted,
    }
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
