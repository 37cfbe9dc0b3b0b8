//! Records into books, and books into records. Replaying a journal is applying what it says in
//! order; a checkpoint is the shortest journal that says the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::decide::first_generation;
use super::disk::Disk;
use super::map::{BlockMap, BlockNo, Entry, Leaf, LeafNo, Slot};
use super::record::{Flushed, Meta, Record};
use super::refused::Refused;
use super::{Here, Standing, Store, Volume};
use crate::volume::VolumeName;

impl Store {
    /// The books that a journal tells of.
    pub fn replay(batches: impl IntoIterator<Item = Vec<Record>>) -> Result<Self, Refused> {
        let mut store = Self {
            replaying: true,
            ..Self::default()
        };
        for batch in batches {
            store.apply(batch)?;
        }
        store.replaying = false;
        // Which slots are free was never written down: it follows from what is used.
        store.sweep();
        // What a crash took out of the volatile caches may be in object storage already, and what it
        // left may not be: one more flush makes them agree.
        for volume in store.volumes.values_mut() {
            if let Standing::Here(here) = &mut volume.standing {
                here.disk.add_dirty(1);
            }
        }
        Ok(store)
    }

    /// One batch of the journal: all of it is there or nothing.
    pub fn apply(&mut self, batch: Vec<Record>) -> Result<(), Refused> {
        for record in batch {
            self.apply_one(record)?;
        }
        self.leaves.clear();
        Ok(())
    }

    fn apply_one(&mut self, record: Record) -> Result<(), Refused> {
        match record {
            Record::Started { nonce } => {
                self.nonces.insert(nonce);
                self.nonce = nonce;
                self.objects = 0;
            }
            Record::Leaf { id, entries } => self.remember_leaf(id, entries)?,
            Record::Volume {
                meta,
                flushed,
                leaves,
                dirty,
            } => {
                let mut disk = Disk::holding(self.map_of(meta.blocks, &leaves)?);
                disk.add_dirty(u64::from(dirty));
                self.put(meta, Standing::here(disk, flushed));
            }
            Record::Elsewhere { meta, flushed } => self.put(meta, Standing::Elsewhere(flushed)),
            Record::Fork {
                child,
                parent,
                unsynced,
            } => self.apply_fork(child, &parent, &unsynced)?,
            Record::Sync { volume, blocks } => {
                self.use_slots(&blocks);
                self.with_disk(&volume, |disk, slots| disk.sync(&blocks, slots))?;
            }
            Record::Cut { volume, blocks } => {
                self.use_slots(&blocks);
                self.with_disk(&volume, |disk, slots| disk.cut(&blocks, slots))?;
                self.detach(&volume)?;
            }
            Record::Flushed {
                volume,
                flushed,
                uploads,
            } => {
                self.apply_one(Record::Uploads(uploads))?;
                self.here_mut(&volume)?.flushed = flushed;
            }
            Record::Uploads(uploads) => {
                for (slot, remote) in uploads {
                    self.slots.note_upload(slot, remote);
                }
            }
            Record::Moved {
                moves,
                slots,
                leaves,
            } => self.apply_moved(&moves.into_iter().collect(), slots, leaves)?,
            Record::Fenced { volume } => self.here_mut(&volume)?.fenced = true,
            Record::Lost { volume } => {
                let known = self.volume_mut(&volume)?;
                if let Standing::Here(here) = &mut known.standing {
                    let flushed = std::mem::take(&mut here.flushed);
                    known.standing = Standing::Elsewhere(flushed);
                }
                known.attachment = None;
                self.slots.suspect_all();
            }
            Record::Destroyed { volume, root } => self.apply_destroy(volume, root),
            Record::Buried { volume } => {
                self.doomed.remove(&volume);
            }
            Record::Grown { volume, blocks } => {
                self.volume_mut(&volume)?.meta.blocks = blocks;
                self.here_mut(&volume)?.disk.grow(blocks);
            }
        }
        Ok(())
    }

    fn put(&mut self, meta: Meta, standing: Standing) {
        let name = meta.name.clone();
        let volume = Volume {
            meta,
            standing,
            attachment: None,
            dirty_since_ms: None,
            trouble: None,
        };
        self.volumes.insert(name, volume);
    }

    fn apply_fork(
        &mut self,
        child: Meta,
        parent: &VolumeName,
        unsynced: &[(BlockNo, Entry)],
    ) -> Result<(), Refused> {
        self.use_slots(unsynced);
        let mut map = self.here_mut(parent)?.disk.snapshot();
        if self.replaying {
            // The parent's cache, which a living one still has.
            for (block, entry) in unsynced {
                map.set(*block, *entry);
            }
        }
        let mut disk = Disk::holding(map);
        disk.add_dirty(u64::from(!child.ephemeral));
        self.put(child, Standing::here(disk, first_generation()));
        Ok(())
    }

    fn apply_destroy(&mut self, volume: VolumeName, root: bool) {
        self.volumes.remove(&volume);
        for child in self.volumes.values_mut() {
            child.meta.parent.take_if(|parent| *parent == volume);
        }
        self.slots.suspect_all();
        if root {
            self.doomed.insert(volume);
        }
    }

    fn with_disk(
        &mut self,
        volume: &VolumeName,
        change: impl FnOnce(&mut Disk, &mut super::Slots),
    ) -> Result<(), Refused> {
        // Both are parts of `self`, so the disk is looked up without `here_mut`.
        let known = self.volumes.get_mut(volume);
        let known = known.ok_or_else(|| Refused::Unknown(volume.clone()))?;
        match &mut known.standing {
            Standing::Here(here) => {
                change(&mut here.disk, &mut self.slots);
                Ok(())
            }
            Standing::Elsewhere(_) => Err(Refused::Elsewhere(volume.clone())),
        }
    }

    fn remember_leaf(&mut self, id: u32, entries: Vec<Entry>) -> Result<(), Refused> {
        let leaf: Box<Leaf> = entries
            .into_boxed_slice()
            .try_into()
            .map_err(|_wrong| Refused::Inconsistent(format!("leaf {id} of another size")))?;
        for entry in leaf.iter() {
            self.use_slot(*entry);
        }
        self.leaves.insert(id, Arc::from(leaf));
        Ok(())
    }

    fn map_of(&self, blocks: u32, leaves: &[(LeafNo, u32)]) -> Result<BlockMap, Refused> {
        let mut map = BlockMap::new(blocks);
        for (number, id) in leaves {
            let leaf = self.leaves.get(id);
            let leaf = leaf.ok_or_else(|| Refused::Inconsistent(format!("leaf {id}")))?;
            if !map.share_leaf(*number, Arc::clone(leaf)) {
                return Err(Refused::Inconsistent(format!("leaf number {number}")));
            }
        }
        Ok(map)
    }

    fn use_slots(&mut self, blocks: &[(BlockNo, Entry)]) {
        for (_block, entry) in blocks {
            self.use_slot(*entry);
            if let (true, Entry::Local(slot)) = (self.replaying, entry) {
                // No line tells that a slot was given back and taken again; this may be such a one,
                // and what was uploaded of it before is then something else.
                self.slots.forget_upload(*slot);
            }
        }
    }

    fn use_slot(&mut self, entry: Entry) {
        if let Entry::Local(Slot(slot)) = entry {
            self.slots.begin_at(slot.saturating_add(1));
        }
    }

    /// Everything that a new journal has to say so that no older one is needed. What is in volatile
    /// caches is not in it.
    pub fn checkpoint(&self) -> Vec<Record> {
        let mut leaves = Leaves::default();
        let mut uploads = BTreeMap::new();
        let mut volumes = Vec::new();
        for volume in self.volumes.values() {
            let meta = volume.meta.clone();
            match &volume.standing {
                Standing::Elsewhere(flushed) => volumes.push(Record::Elsewhere {
                    meta,
                    flushed: flushed.clone(),
                }),
                Standing::Here(here) => {
                    let map = here.disk.synced();
                    let name = meta.name.clone();
                    volumes.push(Record::Volume {
                        meta,
                        flushed: here.flushed.clone(),
                        leaves: leaves.of(map),
                        dirty: here.disk.dirty() > 0 || here.flushing.is_some(),
                    });
                    volumes.extend(here.fenced.then_some(Record::Fenced { volume: name }));
                    uploads.extend(map.leaves().flat_map(|(_, leaf)| leaf.iter()).filter_map(
                        |entry| match entry {
                            Entry::Local(slot) => Some((*slot, self.slots.remote(*slot)?)),
                            _ => None,
                        },
                    ));
                }
            }
        }
        let nonces = self
            .nonces
            .iter()
            .map(|nonce| Record::Started { nonce: *nonce });
        // A destroyed volume is gone from the list, and still has to be buried.
        let doomed = self.doomed.iter().map(|volume| Record::Destroyed {
            volume: volume.clone(),
            root: true,
        });
        let mut records: Vec<_> = nonces.chain(doomed).collect();
        records.extend(leaves.records);
        records.extend(volumes);
        records.push(Record::Uploads(uploads.into_iter().collect()));
        records
    }
}

/// Leaves that several volumes share are written once, and shared again after the replay.
#[derive(Default)]
struct Leaves {
    ids: HashMap<*const Leaf, u32>,
    records: Vec<Record>,
}

impl Leaves {
    fn of(&mut self, map: &BlockMap) -> Vec<(LeafNo, u32)> {
        let leaves = map.leaves().map(|(number, leaf)| {
            let next = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
            let id = *self.ids.entry(Arc::as_ptr(leaf)).or_insert(next);
            if id == next {
                self.records.push(Record::Leaf {
                    id,
                    entries: leaf.to_vec(),
                });
            }
            (number, id)
        });
        leaves.collect()
    }
}

impl Standing {
    fn here(disk: Disk, flushed: Flushed) -> Self {
        Self::Here(Box::new(Here {
            disk,
            flushed,
            fenced: false,
            base: None,
            flushing: None,
        }))
    }
}
