//! The kernel's side of PID 1: orphans, users, interfaces, the lock on the volume.
//!
//! Every `unsafe` block of this crate lives below here, one system call each.

pub(crate) mod limits;
pub(crate) mod mount;
pub(crate) mod net;
pub(crate) mod oom;
pub(crate) mod orphan;
pub(crate) mod reap;
pub(crate) mod user;
pub(crate) mod volume_lock;
