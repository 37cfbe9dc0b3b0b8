//! One volume as its host sees it: what the guest reads, what a flush has made durable here, and
//! the volatile cache between the two.
//!
//! ```text
//!   write ──► current ──────────────── FLUSH ─────────► synced ──── write-behind ───► flush point
//!             (and unsynced: every      (all of it;      (this host's SSD:            (object storage:
//!              version since)            FUA: its block)  a power cut leaves it)       losing the host leaves it)
//! ```
//!
//! `synced` with any one version of each unsynced block is a state that a power cut may leave.

use std::collections::{BTreeMap, HashSet};

use super::map::{BlockMap, BlockNo, Entry, Slot};
use super::slots::Slots;

/// Blocks the volatile cache holds before the disk writes all of it to its medium by itself, as
/// any disk may at any time: 64 MiB. It also bounds what a fork writes down.
pub const CACHE_BLOCKS: usize = 16_384;

/// The content of a volume on this host.
#[derive(Debug, Clone)]
pub struct Disk {
    current: BlockMap,
    synced: BlockMap,
    /// The versions that each block had since it was last synced, oldest first.
    unsynced: BTreeMap<BlockNo, Vec<Entry>>,
    versions: usize,
    /// Slots that no snapshot has seen, so that only this disk reads them.
    fresh: HashSet<Slot>,
    /// Blocks written since the last snapshot for a flush.
    dirty: u64,
}

impl Disk {
    /// Holding what `map` says, all of it synced.
    pub fn holding(map: BlockMap) -> Self {
        Self {
            synced: map.clone(),
            current: map,
            unsynced: BTreeMap::new(),
            versions: 0,
            fresh: HashSet::new(),
            dirty: 0,
        }
    }

    /// What the guest reads.
    pub fn current(&self) -> &BlockMap {
        &self.current
    }

    /// What is certain to outlive a power cut.
    pub fn synced(&self) -> &BlockMap {
        &self.synced
    }

    /// Every version of every block that a power cut may take or leave.
    pub fn unsynced(&self) -> &BTreeMap<BlockNo, Vec<Entry>> {
        &self.unsynced
    }

    /// Blocks written since the last snapshot for a flush.
    pub fn dirty(&self) -> u64 {
        self.dirty
    }

    /// What a flush that failed has not uploaded is dirty again.
    pub fn add_dirty(&mut self, blocks: u64) {
        self.dirty += blocks;
    }

    /// Lets it have so many blocks. Object storage has yet to hear of it.
    pub fn grow(&mut self, blocks: u32) {
        self.current.grow(blocks);
        self.synced.grow(blocks);
        self.dirty += 1;
    }

    /// A completed write, in the volatile cache. A slot must be new.
    pub fn write(&mut self, block: BlockNo, entry: Entry) {
        self.current.set(block, entry);
        self.unsynced.entry(block).or_default().push(entry);
        self.versions += 1;
        self.dirty += 1;
        if let Entry::Local(slot) = entry {
            self.fresh.insert(slot);
        }
    }

    /// Whether the volatile cache is full.
    pub fn cache_is_full(&self) -> bool {
        self.versions >= CACHE_BLOCKS
    }

    /// What a FLUSH has to make durable: the latest version of each unsynced block.
    pub fn pending(&self) -> Vec<(BlockNo, Entry)> {
        let latest = |(block, versions): (&BlockNo, &Vec<Entry>)| Some((*block, *versions.last()?));
        self.unsynced.iter().filter_map(latest).collect()
    }

    /// What a FUA write has to make durable: these blocks, and no others.
    pub fn pending_of(&self, blocks: impl Iterator<Item = BlockNo>) -> Vec<(BlockNo, Entry)> {
        blocks
            .filter_map(|block| Some((block, *self.unsynced.get(&block)?.last()?)))
            .collect()
    }

    /// Blocks have become durable in this state.
    pub fn sync(&mut self, blocks: &[(BlockNo, Entry)], slots: &mut Slots) {
        for (block, entry) in blocks {
            let before = self.synced.get(*block);
            self.release(before, *entry, slots);
            for version in self.unsynced.remove(block).unwrap_or_default() {
                self.versions -= 1;
                self.release(version, *entry, slots);
            }
            self.synced.set(*block, *entry);
            self.current.set(*block, *entry);
        }
        if self.unsynced.is_empty() {
            // The same content; sharing it again halves the memory of the two maps.
            self.synced = self.current.clone();
        }
    }

    /// The power was cut: these blocks came out of it like this, all others as they were synced.
    pub fn cut(&mut self, blocks: &[(BlockNo, Entry)], slots: &mut Slots) {
        let after: BTreeMap<_, _> = blocks.iter().copied().collect();
        let unsynced = std::mem::take(&mut self.unsynced);
        // What was taken back differs from a flush point that has it already.
        self.dirty += 1 + unsynced.len() as u64;
        for (block, versions) in unsynced {
            let after = after.get(&block).copied();
            let after = after.unwrap_or_else(|| self.synced.get(block));
            for version in versions {
                self.release(version, after, slots);
            }
        }
        self.versions = 0;
        for (block, entry) in blocks {
            let before = self.synced.get(*block);
            self.release(before, *entry, slots);
            self.synced.set(*block, *entry);
        }
        self.current = self.synced.clone();
    }

    /// Changes how the same content is mentioned. What the cache has was written here, so object storage is
    /// not where it is looked for.
    pub fn rename(&mut self, mut rename: impl FnMut(&mut BlockMap)) {
        rename(&mut self.current);
        rename(&mut self.synced);
    }

    /// The guest cannot get at `before` any more; `after` is what it has in its place.
    fn release(&mut self, before: Entry, after: Entry, slots: &mut Slots) {
        match before {
            Entry::Local(slot) if before != after => {
                if self.fresh.remove(&slot) {
                    slots.give_back(slot);
                } else {
                    slots.suspect();
                }
            }
            _ => {}
        }
    }

    /// The acknowledged content of this instant, cache included. From here on no slot of it is
    /// given back while the snapshot may be read.
    pub fn snapshot(&mut self) -> BlockMap {
        self.fresh.clear();
        self.current.clone()
    }

    /// A snapshot of which object storage shall become a copy.
    pub fn snapshot_for_flush(&mut self) -> (BlockMap, u64) {
        (self.snapshot(), std::mem::take(&mut self.dirty))
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockMap, Disk, Entry, Slot, Slots};

    fn local(slot: u32) -> Entry {
        Entry::Local(Slot(slot))
    }

    fn disk() -> (Disk, Slots) {
        let mut slots = Slots::default();
        slots.begin_at(100);
        (Disk::holding(BlockMap::new(8)), slots)
    }

    #[test]
    fn a_flush_makes_the_latest_version_durable_and_frees_the_ones_before() {
        let (mut disk, mut slots) = disk();
        disk.write(1, local(10));
        disk.write(1, local(11));
        let pending = disk.pending();
        assert_eq!(pending, [(1, local(11))]);
        disk.sync(&pending, &mut slots);
        assert_eq!(disk.synced().get(1), local(11));
        assert_eq!(slots.take(1).unwrap(), [Slot(10)]);
    }

    #[test]
    fn a_slot_that_a_snapshot_has_seen_is_not_reused() {
        let (mut disk, mut slots) = disk();
        disk.write(1, local(10));
        disk.sync(&disk.pending(), &mut slots);
        let snapshot = disk.snapshot();
        disk.write(1, local(11));
        disk.sync(&disk.pending(), &mut slots);
        assert_eq!(slots.take(1).unwrap(), [Slot(100)]);
        assert_eq!(snapshot.get(1), local(10));
    }

    #[test]
    fn fua_makes_its_own_block_durable_and_no_other() {
        let (mut disk, mut slots) = disk();
        disk.write(1, local(10));
        disk.write(2, local(11));
        disk.sync(&disk.pending_of([2].into_iter()), &mut slots);
        assert_eq!(disk.synced().get(1), Entry::Hole);
        assert_eq!(disk.synced().get(2), local(11));
        assert_eq!(disk.current().get(1), local(10));
        assert_eq!(disk.unsynced().len(), 1);
    }

    #[test]
    fn what_a_power_cut_took_is_free_and_what_it_left_is_durable() {
        let (mut disk, mut slots) = disk();
        disk.write(1, local(10));
        disk.write(1, local(11));
        disk.write(2, local(12));
        disk.cut(&[(1, local(10))], &mut slots);
        assert_eq!(disk.current().get(1), local(10));
        assert_eq!(disk.current().get(2), Entry::Hole);
        assert!(disk.pending().is_empty());
        assert_eq!(slots.take(2).unwrap(), [Slot(11), Slot(12)]);
    }
}
