//! What a guest's kernel sees of a volume: a file that a loop device turns into a disk, or a network
//! block device. Both are thin: they translate requests, and every decision is `host`'s.

#[cfg(target_os = "linux")]
pub mod fuse;
pub mod nbd;
