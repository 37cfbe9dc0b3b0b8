//! The host's store of volumes without its hands: what is where, what may be done, what a change
//! is called in the journal. No I/O, no clock, no thread: `host` has those.
//!
//! A volume's standing on this host:
//!
//! ```text
//!                create                                  fork: a child appears beside it
//!   (nothing) ───────────────► detached ◄────────────► attached
//!        ▲                      │  ▲  │    attach,        │ │ power cut: the attachment ends,
//!        │ destroy              │  │  │    detach         │ │ unsynced blocks are lost, kept or torn
//!        │ (not with children   │  │  └──────◄────────────┼─┘
//!        │  unless they are     │  │ rehome: from         │
//!        │  kept)          lose │  │ objects alone        │ lose
//!        │                      ▼  │                      │
//!        └─────────────────  elsewhere ◄──────────────────┘
//!
//!   any flush that meets a newer generation in object storage ──► fenced: every I/O fails from then on
//! ```
//!
//! - **create**: all zeroes. Durable volumes get their first flush point within the write-behind
//!   window, ephemeral ones never do.
//! - **fork**: the child holds every write that the parent's disk has completed, those in the
//!   volatile cache included, and holds them synced. Until its own first flush the child has no
//!   flush point: the loss of the host takes it whole.
//! - **power cut**: what a FLUSH or FUA covered stays; of everything else a seeded choice stays.
//! - **lose**: what is after the flush point is gone, an ephemeral volume altogether.
//! - **rehome**: generation + 1 in the root first, so that whoever had the volume before is refused
//!   from then on; then the map as of the flush point. Blocks are fetched when they are read.
//! - **destroy**: the volume goes at once, its root next (also after a crash in between), and what no
//!   other volume needs at the next collection.

pub mod codec;
pub mod compact;
pub mod cut;
pub mod disk;
pub mod flush;
pub mod map;
pub mod pack;
pub mod record;
pub mod refused;
pub mod root;
pub mod slots;
pub mod trouble;

pub mod decide;
mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::VolumeName;
use disk::Disk;
use flush::Job;
use map::{BlockMap, BlockNo, Entry, Leaf, ObjectId, Slot};
use record::{Flushed, Meta};
use refused::Refused;
use slots::Slots;
use trouble::Trouble;

/// One attachment of one volume: a power cut, a detach, a loss or a rehome ends it, and what still
/// writes through it is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    /// Which volume.
    pub volume: VolumeName,
    /// Which attachment of it.
    pub attachment: u64,
}

/// A volume and where its content is.
#[derive(Debug)]
pub struct Volume {
    /// What it is.
    pub meta: Meta,
    /// Where its content is.
    pub standing: Standing,
    /// Who may read and write it.
    pub attachment: Option<u64>,
    /// When the write-behind first saw it dirty.
    dirty_since_ms: Option<u64>,
    /// Whether its last flush failed, and how many before.
    trouble: Option<Trouble>,
}

/// Where a volume's content is.
#[derive(Debug)]
pub enum Standing {
    /// On this host.
    Here(Box<Here>),
    /// Not on this host; this is what object storage had last.
    Elsewhere(Flushed),
}

/// The content on this host, and how it relates to object storage.
#[derive(Debug)]
pub struct Here {
    /// The content.
    pub disk: Disk,
    /// The flush point.
    pub flushed: Flushed,
    /// Another host took over.
    pub fenced: bool,
    /// What the flush point is a snapshot of, if this process took it.
    base: Option<BlockMap>,
    /// The snapshot that is on its way, and how many blocks were dirty in it.
    flushing: Option<(BlockMap, u64)>,
}

impl Here {
    /// Blocks written since the flush point.
    pub fn at_stake(&self) -> u64 {
        let on_their_way = self.flushing.as_ref().map_or(0, |(_map, dirty)| *dirty);
        self.disk.dirty() + on_their_way
    }
}

/// Every volume of one host.
#[derive(Debug, Default)]
pub struct Store {
    volumes: BTreeMap<VolumeName, Volume>,
    /// Destroyed volumes whose root may still be there.
    doomed: BTreeSet<VolumeName>,
    /// The arena's books.
    pub slots: Slots,
    nonces: BTreeSet<u32>,
    nonce: u32,
    objects: u32,
    attachments: u64,
    /// Leaves that the rest of a batch refers to.
    leaves: BTreeMap<u32, Arc<Leaf>>,
    /// What is applied happened before a crash.
    replaying: bool,
}

impl Store {
    /// Every volume, by name.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.values()
    }

    /// One volume.
    pub fn volume(&self, name: &VolumeName) -> Result<&Volume, Refused> {
        let volume = self.volumes.get(name);
        volume.ok_or_else(|| Refused::Unknown(name.clone()))
    }

    /// The forks of a volume.
    pub fn children(&self, name: &VolumeName) -> Vec<VolumeName> {
        let children = self
            .volumes()
            .filter(|volume| volume.meta.parent.as_ref() == Some(name));
        children.map(|volume| volume.meta.name.clone()).collect()
    }

    /// Destroyed volumes whose root may still be in object storage.
    pub fn doomed(&self) -> impl Iterator<Item = &VolumeName> {
        self.doomed.iter()
    }

    /// The starts of this host, each of which named objects.
    pub fn nonces(&self) -> &BTreeSet<u32> {
        &self.nonces
    }

    /// This start of this host.
    pub fn nonce(&self) -> u32 {
        self.nonce
    }

    /// A name for a new object.
    pub fn new_object(&mut self) -> ObjectId {
        self.objects += 1;
        ObjectId(u64::from(self.nonce) << 32 | u64::from(self.objects))
    }

    fn volume_mut(&mut self, name: &VolumeName) -> Result<&mut Volume, Refused> {
        let volume = self.volumes.get_mut(name);
        volume.ok_or_else(|| Refused::Unknown(name.clone()))
    }

    fn here_mut(&mut self, name: &VolumeName) -> Result<&mut Here, Refused> {
        match &mut self.volume_mut(name)?.standing {
            Standing::Here(here) => Ok(here),
            Standing::Elsewhere(_) => Err(Refused::Elsewhere(name.clone())),
        }
    }

    /// The content of a volume on this host.
    pub fn here(&self, name: &VolumeName) -> Result<&Here, Refused> {
        match &self.volume(name)?.standing {
            Standing::Here(here) => Ok(here),
            Standing::Elsewhere(_) => Err(Refused::Elsewhere(name.clone())),
        }
    }

    /// Lets a front in.
    pub fn attach(&mut self, name: &VolumeName) -> Result<Handle, Refused> {
        if self.here(name)?.fenced {
            return Err(Refused::Fenced(name.clone()));
        }
        let attachment = self.attachments + 1;
        let volume = self.volume_mut(name)?;
        if volume.attachment.is_some() {
            return Err(Refused::Attached(name.clone()));
        }
        volume.attachment = Some(attachment);
        self.attachments = attachment;
        Ok(Handle {
            volume: name.clone(),
            attachment,
        })
    }

    /// Ends the attachment, if there is one. What is in the volatile cache stays there: the disk has
    /// not lost its power.
    pub fn detach(&mut self, name: &VolumeName) -> Result<(), Refused> {
        self.volume_mut(name)?.attachment = None;
        Ok(())
    }

    /// The disk behind an attachment.
    pub fn disk(&self, handle: &Handle) -> Result<&Disk, Refused> {
        let revoked = || Refused::Revoked(handle.volume.clone());
        let volume = self.volumes.get(&handle.volume).ok_or_else(revoked)?;
        match &volume.standing {
            _ if volume.attachment != Some(handle.attachment) => Err(revoked()),
            Standing::Here(here) if here.fenced => Err(Refused::Fenced(handle.volume.clone())),
            Standing::Here(here) => Ok(&here.disk),
            Standing::Elsewhere(_) => Err(Refused::Elsewhere(handle.volume.clone())),
        }
    }

    /// Blocks behind an attachment that the loss of the host would take and that count: written since the
    /// flush point, those on their way included. Of an ephemeral volume nothing counts.
    pub fn at_stake(&self, handle: &Handle) -> Result<u64, Refused> {
        self.disk(handle)?;
        match self.volume(&handle.volume)?.meta.ephemeral {
            true => Ok(0),
            false => Ok(self.here(&handle.volume)?.at_stake()),
        }
    }

    /// Takes completed writes into the volatile cache.
    pub fn write(
        &mut self,
        handle: &Handle,
        blocks: impl IntoIterator<Item = (BlockNo, Entry)>,
    ) -> Result<(), Refused> {
        self.disk(handle)?;
        let disk = &mut self.here_mut(&handle.volume)?.disk;
        for (block, entry) in blocks {
            disk.write(block, entry);
        }
        Ok(())
    }

    /// Takes the snapshot of a flush. `None` when object storage has everything already.
    pub fn begin_flush(&mut self, name: &VolumeName, at_ms: u64) -> Result<Option<Job>, Refused> {
        let volume = self.volume_mut(name)?;
        let meta = volume.meta.clone();
        let Standing::Here(here) = &mut volume.standing else {
            return Err(Refused::Elsewhere(name.clone()));
        };
        if meta.ephemeral {
            return Err(Refused::Ephemeral(name.clone()));
        }
        if here.fenced {
            return Err(Refused::Fenced(name.clone()));
        }
        if here.flushing.is_some() {
            return Err(Refused::Flushing(name.clone()));
        }
        if here.disk.dirty() == 0 && here.flushed.sequence > 0 {
            return Ok(None);
        }
        volume.dirty_since_ms = None;
        let (map, dirty) = here.disk.snapshot_for_flush();
        here.flushing = Some((map.clone(), dirty));
        Ok(Some(Job {
            meta,
            before: here.flushed.clone(),
            base: here.base.clone(),
            map,
            at_ms,
            dirty,
        }))
    }

    /// Whether the volume still is what the flush took a snapshot of: not lost, destroyed or rehomed
    /// since, so that the snapshot's slots still hold what they held.
    pub fn is_flushing(&self, job: &Job) -> Result<(), Refused> {
        let overtaken = || Refused::Overtaken(job.meta.name.clone());
        let volume = self.volumes.get(&job.meta.name).ok_or_else(overtaken)?;
        match &volume.standing {
            Standing::Here(here)
                if here.flushing.is_some()
                    && here.flushed.generation == job.before.generation
                    && volume.meta.created_ms == job.meta.created_ms =>
            {
                Ok(())
            }
            _ => Err(overtaken()),
        }
    }

    /// A flush that came to nothing. Tells how many of the volume's did in a row, `None` when none will be
    /// tried again.
    pub fn abandon_flush(&mut self, job: &Job) -> Option<u32> {
        // The volume may be gone or another's by now; then there is nothing to take back.
        let here = self.here_mut(&job.meta.name).ok()?;
        here.flushing = None;
        here.disk.add_dirty(job.dirty.max(1));
        if here.fenced {
            return None;
        }
        let trouble = &mut self.volume_mut(&job.meta.name).ok()?.trouble;
        Some(trouble.get_or_insert_default().again())
    }

    /// A flush whose record was applied: later ones compare with its snapshot. Tells how many had failed
    /// before it, if any had.
    pub fn end_flush(&mut self, job: &Job) -> Option<u32> {
        let here = self.here_mut(&job.meta.name).ok()?;
        here.flushing = None;
        here.base = Some(job.map.clone());
        let trouble = self.volume_mut(&job.meta.name).ok()?.trouble.take();
        trouble.map(Trouble::failed)
    }

    /// Whether its last flush failed.
    pub fn is_in_trouble(&self, name: &VolumeName) -> bool {
        self.volume(name)
            .is_ok_and(|volume| volume.trouble.is_some())
    }

    /// Volumes whose write-behind is due. One whose last flush failed waits the longer the more often it did.
    pub fn due(&mut self, policy: flush::Policy, now_ms: u64) -> Vec<VolumeName> {
        let mut due = Vec::new();
        for volume in self.volumes.values_mut() {
            let Standing::Here(here) = &volume.standing else {
                continue;
            };
            let dirty = here.disk.dirty();
            if volume.meta.ephemeral || here.fenced || here.flushing.is_some() || dirty == 0 {
                continue;
            }
            let since = *volume.dirty_since_ms.get_or_insert(now_ms);
            let is_due = match &mut volume.trouble {
                Some(trouble) => trouble.is_due(now_ms),
                None => policy.is_due(dirty, since, now_ms),
            };
            if is_due {
                due.push(volume.meta.name.clone());
            }
        }
        due
    }

    /// Clones whose time has come and whom nobody uses.
    pub fn expired(&self, now_ms: u64) -> Vec<VolumeName> {
        let expired = self.volumes().filter(|volume| {
            volume.meta.expires_ms.is_some_and(|at| at <= now_ms)
                && volume.attachment.is_none()
                && self.children(&volume.meta.name).is_empty()
        });
        expired.map(|volume| volume.meta.name.clone()).collect()
    }

    /// Gives back every slot that nothing can read any more.
    pub fn sweep(&mut self) -> Vec<Slot> {
        let heres = || {
            self.volumes
                .values()
                .filter_map(|volume| match &volume.standing {
                    Standing::Here(here) => Some(here),
                    Standing::Elsewhere(_) => None,
                })
        };
        let maps = heres().flat_map(|here| here.maps());
        let versions = heres().flat_map(|here| here.versions());
        self.slots.sweep(maps, versions)
    }

    /// Every pack that something on this host may still read or refer to.
    pub fn packs(&self) -> BTreeSet<ObjectId> {
        let mut packs = BTreeSet::new();
        for volume in self.volumes.values() {
            let Standing::Here(here) = &volume.standing else {
                continue;
            };
            for map in here.maps() {
                packs.extend(self.slots.packs_of(map));
            }
            let versions = here.versions();
            packs.extend(versions.filter_map(|version| Some(self.slots.place_of(version)?.0)));
        }
        packs
    }
}
