//! Why something cannot be done to a volume. A refusal changes nothing.

use super::slots::Full;
use crate::volume::VolumeName;

/// The largest volume: 16 TiB less a block.
pub const LARGEST_BYTES: u64 = (u32::MAX as u64) * super::map::BLOCK_BYTES;

/// What was asked for cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such volume.
    #[error(
        "there is no volume {0} on this host\nHINT: `list` shows the ones there are; one that only object storage has can be rehomed"
    )]
    Unknown(VolumeName),
    /// The name is taken.
    #[error("there is a volume {0} already\nHINT: destroy it first, or choose another name")]
    Exists(VolumeName),
    /// Not a size.
    #[error(
        "{0} bytes is no size for a volume\nHINT: give a multiple of 4096, at least 4096 and at most {LARGEST_BYTES}"
    )]
    Size(u64),
    /// Less than it has.
    #[error(
        "volume {volume} has {has} bytes and is not made smaller: {wanted} were asked for\nHINT: a file system needs its end; a new machine with a smaller volume can take a dump of this one"
    )]
    Shrinks {
        /// Which.
        volume: VolumeName,
        /// What it has.
        has: u64,
        /// What was asked for.
        wanted: u64,
    },
    /// It has forks.
    #[error(
        "volume {volume} has children: {}\nHINT: destroy them first, or say that children are kept; they lose nothing by it",
        list(children)
    )]
    HasChildren {
        /// Which.
        volume: VolumeName,
        /// Its forks.
        children: Vec<VolumeName>,
    },
    /// A machine uses it.
    #[error(
        "volume {0} is attached\nHINT: detach it first; a second writer would destroy what is on it"
    )]
    Attached(VolumeName),
    /// The front that asks is not attached (any more).
    #[error(
        "volume {0} is not attached here any more\nHINT: a power cut, a detach or the loss of the host ended the attachment; attach it again"
    )]
    Revoked(VolumeName),
    /// The content is not on this host.
    #[error(
        "volume {0} is not on this host: its content here was lost\nHINT: rehome it; it comes back as of its flush point"
    )]
    Elsewhere(VolumeName),
    /// The content is on this host.
    #[error(
        "volume {0} is on this host already\nHINT: a rehome is for a volume whose host was lost"
    )]
    Here(VolumeName),
    /// It never goes to object storage.
    #[error(
        "volume {0} is ephemeral and was never flushed: object storage has nothing of it\nHINT: this is its promise (B-009); a durable fork of it can be flushed"
    )]
    Ephemeral(VolumeName),
    /// Object storage never got it.
    #[error(
        "volume {0} is gone: it was never flushed, so object storage has nothing of it\nHINT: an ephemeral volume is never flushed (B-009), a fork not before its first flush; either goes with its host"
    )]
    NoFlushPoint(VolumeName),
    /// Another host took it over.
    #[error(
        "volume {0} belongs to another host now: this one's copy is fenced off\nHINT: nothing written here after that counts; lose or destroy this copy"
    )]
    Fenced(VolumeName),
    /// A flush of it is under way.
    #[error(
        "a flush of volume {0} is under way\nHINT: wait for it; flushes of one volume do not overlap"
    )]
    Flushing(VolumeName),
    /// The volume is not what it was when the flush began.
    #[error(
        "volume {0} was lost, destroyed or rehomed while it was flushed\nHINT: the flush point stays where it was"
    )]
    Overtaken(VolumeName),
    /// Outside the volume.
    #[error(
        "bytes {offset} to {end} are outside volume {volume}\nHINT: a front must refuse this before"
    )]
    Range {
        /// Which.
        volume: VolumeName,
        /// From.
        offset: u64,
        /// To.
        end: u64,
    },
    /// No slot is left.
    #[error(transparent)]
    Full(#[from] Full),
    /// The journal contradicts itself.
    #[error(
        "the journal speaks of {0}, which it has not told of before\nHINT: it is damaged beyond what a crash does; the volumes' flush points are in object storage"
    )]
    Inconsistent(String),
}

fn list(names: &[VolumeName]) -> String {
    let names: Vec<_> = names.iter().map(VolumeName::as_str).collect();
    names.join(", ")
}
