//! What PID 1 finds its volume on. Pure.

use crate::backend::Backend;
use crate::docker::Observed;
use crate::labels;
use crate::names::HostName;

/// Where PID 1 finds a disk (contract 3).
pub const VDB: &str = "/dev/vdb";

/// What PID 1 finds its volume on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disk {
    /// A folder of Docker's, already there at the path.
    Folder,
    /// A block device, which PID 1 mounts itself, as in production.
    Block {
        /// Whose block store has the volume.
        host: HostName,
        /// The host's device. Another one at each attachment, it may be.
        device: String,
    },
}

impl Disk {
    /// Reads it off a machine's container. What says "block" without a host or a device is none of ours.
    pub(crate) fn of(observed: &Observed) -> Result<Self, &'static str> {
        match Backend::of(&observed.labels) {
            Backend::Copy => Ok(Self::Folder),
            Backend::Block => {
                let host = observed.labels.get(labels::HOST);
                let host = host.and_then(|host| host.parse().ok());
                Ok(Self::Block {
                    host: host.ok_or("it has a block volume and no usable host in its labels")?,
                    device: observed
                        .devices
                        .get(VDB)
                        .cloned()
                        .ok_or("it has a block volume and no /dev/vdb")?,
                })
            }
        }
    }

    /// What it is made of.
    pub const fn backend(&self) -> Backend {
        match self {
            Self::Folder => Backend::Copy,
            Self::Block { .. } => Backend::Block,
        }
    }

    /// Whose disk it is; nobody's where it is a folder.
    pub const fn host(&self) -> Option<&HostName> {
        match self {
            Self::Folder => None,
            Self::Block { host, .. } => Some(host),
        }
    }
}
