//! What the host's journal says: every change that must outlive the host's own process. The books
//! are a fold over these records, so a change is made in two steps that cannot come apart: decide
//! on a record, then apply what was written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::map::{BlockNo, Entry, LeafNo, ObjectId, Slot};
use super::slots::Remote;
use crate::volume::VolumeName;

/// What a volume is, apart from its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Its name.
    pub name: VolumeName,
    /// Its size.
    pub blocks: u32,
    /// Never written to object storage (B-009).
    pub ephemeral: bool,
    /// Whose fork it is.
    pub parent: Option<VolumeName>,
    /// When it was made, by the host's clock.
    pub created_ms: u64,
    /// When it may be destroyed by itself.
    pub expires_ms: Option<u64>,
}

/// What object storage holds of a volume, as its host knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flushed {
    /// Which attachment to a host writes it: a rehome counts up, and what is older is refused.
    pub generation: u64,
    /// Which flush wrote it; 0 when none has.
    pub sequence: u64,
    /// When the snapshot was taken.
    pub at_ms: u64,
    /// How the store calls this version of the root.
    pub tag: Option<String>,
    /// Which table holds which leaf.
    pub tables: BTreeMap<LeafNo, ObjectId>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The host was started; it names objects with this nonce.
    Started {
        /// Upper half of its object ids.
        nonce: u32,
    },
    /// Content for volumes that follow in the same batch.
    Leaf {
        /// How they refer to it.
        id: u32,
        /// 512 entries.
        entries: Vec<Entry>,
    },
    /// A volume is on this host: new, come from elsewhere, or written down again.
    Volume {
        /// What it is.
        meta: Meta,
        /// What object storage has of it.
        flushed: Flushed,
        /// Its content: leaf and id.
        leaves: Vec<(LeafNo, u32)>,
        /// Whether there is anything for object storage.
        dirty: bool,
    },
    /// A volume's content is not here; object storage may have it.
    Elsewhere {
        /// What it is.
        meta: Meta,
        /// What object storage had of it.
        flushed: Flushed,
    },
    /// A copy-on-write child.
    Fork {
        /// The child.
        child: Meta,
        /// Its parent.
        parent: VolumeName,
        /// What the parent has acknowledged and not synced; the child has it synced.
        unsynced: Vec<(BlockNo, Entry)>,
    },
    /// Blocks became durable on this host.
    Sync {
        /// Of which volume.
        volume: VolumeName,
        /// Which.
        blocks: Vec<(BlockNo, Entry)>,
    },
    /// The volatile cache is gone, except for these blocks.
    Cut {
        /// Of which volume.
        volume: VolumeName,
        /// What came out changed.
        blocks: Vec<(BlockNo, Entry)>,
    },
    /// The flush point moved.
    Flushed {
        /// Of which volume.
        volume: VolumeName,
        /// To there.
        flushed: Flushed,
        /// What was uploaded for it.
        uploads: Vec<(Slot, Remote)>,
    },
    /// These slots are in object storage, whatever happened to the flush that uploaded them.
    Uploads(Vec<(Slot, Remote)>),
    /// Blocks were uploaded once more, into packs that are less dead.
    Moved {
        /// From where to where.
        moves: Vec<(Remote, Remote)>,
        /// Slots that hold them, and where that is in object storage now.
        slots: Vec<(Slot, Remote)>,
        /// Leaves with blocks that are not on this host.
        leaves: Vec<(VolumeName, LeafNo)>,
    },
    /// Another host has the volume now.
    Fenced {
        /// Which.
        volume: VolumeName,
    },
    /// This host's copy is gone.
    Lost {
        /// Which.
        volume: VolumeName,
    },
    /// The volume is gone; its root in object storage goes next.
    Destroyed {
        /// Which.
        volume: VolumeName,
        /// Whether there is a root of ours.
        root: bool,
    },
    /// Its root is gone too.
    Buried {
        /// Which.
        volume: VolumeName,
    },
    /// The volume has more blocks than before.
    Grown {
        /// Which.
        volume: VolumeName,
        /// How many it has now.
        blocks: u32,
    },
}
