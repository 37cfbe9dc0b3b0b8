//! May this be done, and if so, what does the journal say? Nothing here changes anything.

use super::Store;
use super::cut::{self, Fate, Tear};
use super::map::{BLOCK_BYTES, BlockNo};
use super::record::{Flushed, Meta, Record};
use super::refused::Refused;
use super::{Handle, Standing};
use crate::volume::VolumeName;

/// A volume that shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVolume {
    /// Its name.
    pub name: VolumeName,
    /// Its size; a fork has its parent's.
    pub bytes: u64,
    /// Never written to object storage.
    pub ephemeral: bool,
    /// When it may be destroyed by itself.
    pub expires_ms: Option<u64>,
}

/// What becomes of the forks of a volume that is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// With forks it is not destroyed.
    Forbid,
    /// They stay, and are nobody's forks from then on.
    Keep,
}

impl Store {
    fn is_free(&self, name: &VolumeName) -> Result<(), Refused> {
        if self.volumes.contains_key(name) || self.doomed.contains(name) {
            return Err(Refused::Exists(name.clone()));
        }
        Ok(())
    }

    /// A volume of zeroes.
    pub fn create(&self, new: NewVolume, now_ms: u64) -> Result<Record, Refused> {
        self.is_free(&new.name)?;
        let meta = Meta {
            name: new.name,
            blocks: blocks_of(new.bytes)?,
            ephemeral: new.ephemeral,
            parent: None,
            created_ms: now_ms,
            expires_ms: new.expires_ms,
        };
        Ok(Record::Volume {
            dirty: !meta.ephemeral,
            meta,
            flushed: first_generation(),
            leaves: Vec::new(),
        })
    }

    /// A child of `parent` as it is now, volatile cache included.
    pub fn fork(
        &self,
        parent: &VolumeName,
        child: &VolumeName,
        ephemeral: bool,
        expires_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<Record, Refused> {
        self.is_free(child)?;
        let here = self.here(parent)?;
        if here.fenced {
            return Err(Refused::Fenced(parent.clone()));
        }
        Ok(Record::Fork {
            child: Meta {
                name: child.clone(),
                blocks: here.disk.current().blocks(),
                ephemeral,
                parent: Some(parent.clone()),
                created_ms: now_ms,
                expires_ms,
            },
            parent: parent.clone(),
            unsynced: here.disk.pending(),
        })
    }

    /// More room for a volume; `None` when it has as much already.
    pub fn grow(&self, volume: &VolumeName, bytes: u64) -> Result<Option<Record>, Refused> {
        let here = self.here(volume)?;
        if here.fenced {
            return Err(Refused::Fenced(volume.clone()));
        }
        let blocks = blocks_of(bytes)?;
        let has = here.disk.current().blocks();
        if blocks < has {
            return Err(Refused::Shrinks {
                volume: volume.clone(),
                has: u64::from(has) * BLOCK_BYTES,
                wanted: bytes,
            });
        }
        Ok((blocks > has).then(|| Record::Grown {
            volume: volume.clone(),
            blocks,
        }))
    }

    /// A guest's FLUSH. `None` when there is nothing to make durable.
    pub fn barrier(&self, handle: &Handle) -> Result<Option<Record>, Refused> {
        let blocks = self.disk(handle)?.pending();
        Ok((!blocks.is_empty()).then(|| Record::Sync {
            volume: handle.volume.clone(),
            blocks,
        }))
    }

    /// A guest's write with FUA: these blocks alone.
    pub fn force_unit_access(
        &self,
        handle: &Handle,
        blocks: impl Iterator<Item = BlockNo>,
    ) -> Result<Option<Record>, Refused> {
        let blocks = self.disk(handle)?.pending_of(blocks);
        Ok((!blocks.is_empty()).then(|| Record::Sync {
            volume: handle.volume.clone(),
            blocks,
        }))
    }

    /// What a power cut would do to each unsynced block.
    pub fn power_cut(
        &self,
        volume: &VolumeName,
        seed: u64,
        tear: Tear,
    ) -> Result<Vec<(BlockNo, Fate)>, Refused> {
        Ok(cut::fates(&self.here(volume)?.disk, seed, tear))
    }

    /// The host is lost, or this volume's part of it.
    pub fn lose(&self, volume: &VolumeName) -> Result<Record, Refused> {
        self.here(volume)?;
        Ok(Record::Lost {
            volume: volume.clone(),
        })
    }

    /// Whether a volume that object storage has may come to this host.
    pub fn may_rehome(&self, volume: &VolumeName) -> Result<(), Refused> {
        match self.volumes.get(volume).map(|known| &known.standing) {
            None if self.doomed.contains(volume) => Err(Refused::Unknown(volume.clone())),
            None => Ok(()),
            // What is fenced here is not what it would come back as.
            Some(Standing::Here(here)) if here.fenced => Ok(()),
            Some(Standing::Here(_)) => Err(Refused::Here(volume.clone())),
            Some(Standing::Elsewhere(_)) if self.volume(volume)?.meta.ephemeral => {
                Err(Refused::Ephemeral(volume.clone()))
            }
            // Whether there is a flush point is not for the books to say: an answer may have got lost.
            Some(Standing::Elsewhere(_)) => Ok(()),
        }
    }

    /// The end of a volume. The root of one that another host took over is not ours to remove.
    pub fn destroy(&self, volume: &VolumeName, children: Children) -> Result<Record, Refused> {
        let known = self.volume(volume)?;
        if known.attachment.is_some() {
            return Err(Refused::Attached(volume.clone()));
        }
        let forks = self.children(volume);
        if children == Children::Forbid && !forks.is_empty() {
            return Err(Refused::HasChildren {
                volume: volume.clone(),
                children: forks,
            });
        }
        let fenced = matches!(&known.standing, Standing::Here(here) if here.fenced);
        Ok(Record::Destroyed {
            volume: volume.clone(),
            root: !known.meta.ephemeral && !fenced,
        })
    }
}

fn blocks_of(bytes: u64) -> Result<u32, Refused> {
    let blocks = u32::try_from(bytes / BLOCK_BYTES).ok();
    let blocks = blocks.filter(|blocks| *blocks > 0 && bytes.is_multiple_of(BLOCK_BYTES));
    blocks.ok_or(Refused::Size(bytes))
}

/// Before any flush and any rehome.
pub(super) fn first_generation() -> Flushed {
    Flushed {
        generation: 1,
        ..Default::default()
    }
}
