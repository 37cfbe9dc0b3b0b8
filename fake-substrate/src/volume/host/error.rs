//! What went wrong on a host.

use std::io;
use std::sync::Arc;

use crate::volume::VolumeName;
use crate::volume::backing::ObjectError;
use crate::volume::store::codec::Damaged;
use crate::volume::store::map::ObjectId;
use crate::volume::store::pack::PackError;
use crate::volume::store::refused::Refused;
use crate::volume::store::slots::Full;
use crate::volume::trouble::Requests;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It may not be done.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The host's own disk failed.
    #[error("cannot {verb} the {what} of this host\nHINT: is its disk full or read-only?")]
    Local {
        /// What was tried.
        verb: &'static str,
        /// On what.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Object storage failed.
    #[error("object storage failed\nHINT: nothing is lost on this host; it is tried again")]
    Objects(#[from] ObjectError),
    /// An object that must be there is not.
    #[error(
        "object {0} is missing\nHINT: was something removed from the bucket by hand? what it held is lost"
    )]
    Missing(String),
    /// An object is not what was written.
    #[error("object {key} is damaged: {damage}")]
    Object {
        /// Which.
        key: String,
        /// How.
        damage: Damaged,
    },
    /// The request for a block failed, for all who waited for it.
    #[error(transparent)]
    Fetch(Arc<HostError>),
    /// A pack is not what was uploaded.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The journal is not what was written.
    #[error(
        "the journal of this host is damaged at byte {at}: {damage}\nHINT: it is kept as it is; move the host's folder away and rehome its volumes from object storage"
    )]
    Journal {
        /// Where.
        at: u64,
        /// How.
        damage: Damaged,
    },
    /// It was to go wrong.
    #[error(
        "{on} of volume {volume} fail on purpose\nHINT: `fake-substrate fault ls` tells since when, `fault clear` ends it"
    )]
    InTrouble {
        /// Which.
        volume: VolumeName,
        /// What was tried.
        on: Requests,
    },
    /// Another host has taken the volume over.
    #[error(
        "volume {volume} was taken over: object storage has generation {found}, this host {ours}\nHINT: what was written here since the last flush does not count any more"
    )]
    TakenOver {
        /// Which.
        volume: String,
        /// This host's.
        ours: u64,
        /// What the root says; 0 when there is none.
        found: u64,
    },
}

impl HostError {
    /// As a front tells it to a kernel.
    pub fn errno(&self) -> nix::errno::Errno {
        use nix::errno::Errno;
        match self {
            Self::Refused(Refused::Range { .. }) => Errno::EINVAL,
            Self::Refused(Refused::Full(_)) => Errno::ENOSPC,
            Self::Fetch(error) => error.errno(),
            Self::Local { source, .. } => source.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
            _ => Errno::EIO,
        }
    }

    /// Whether an object is not there that the books spoke of.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::Missing(_) => true,
            Self::Fetch(error) => error.is_missing(),
            _ => false,
        }
    }

    pub(super) fn local(verb: &'static str, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Local { verb, what, source }
    }

    pub(super) fn missing_pack(pack: ObjectId) -> Self {
        Self::Missing(crate::volume::store::root::pack_key(pack))
    }
}

impl From<Full> for HostError {
    fn from(full: Full) -> Self {
        Self::Refused(Refused::Full(full))
    }
}
