//! What a power cut does to the volatile cache: each unsynced block by itself keeps what was synced,
//! or any version written since, or comes out torn. The seed decides, and nothing else: the same
//! seed on the same cache is the same cut.
//!
//! Writes of several blocks are torn between blocks by that alone. Within a block nothing tears
//! unless asked: 4 KiB is what today's SSDs write in one piece, 512 bytes what old disks did.

use super::disk::Disk;
use super::map::{BlockNo, Entry};

/// The smallest piece that is written whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tear {
    /// A block is new or old.
    #[default]
    Block,
    /// A block may be new in some of its sectors of 512 bytes and old in the others.
    Sector,
}

/// How a block came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// As this version.
    Whole(Entry),
    /// `over` in the sectors whose bit is set, `under` in the others.
    Torn {
        /// What lies below.
        under: Entry,
        /// What was being written.
        over: Entry,
        /// One bit per sector.
        sectors: u8,
    },
}

/// The fate of every unsynced block that does not come out as it was synced.
pub fn fates(disk: &Disk, seed: u64, tear: Tear) -> Vec<(BlockNo, Fate)> {
    let mut dice = Dice::new(seed);
    let unsynced = disk.unsynced().iter();
    let fates = unsynced.filter_map(|(block, versions)| {
        let base = disk.synced().get(*block);
        let version = match dice.below(versions.len() + 1) {
            0 => base,
            nth => versions[nth - 1],
        };
        let torn = tear == Tear::Sector && dice.below(3) == 0;
        let fate = match (torn, dice.below(254)) {
            (true, sectors) => Fate::Torn {
                under: base,
                over: version,
                sectors: u8::try_from(sectors + 1).unwrap_or(1),
            },
            (false, _) => Fate::Whole(version),
        };
        let unchanged =
            matches!(fate, Fate::Whole(entry) | Fate::Torn { over: entry, .. } if entry == base);
        (!unchanged).then_some((*block, fate))
    });
    fates.collect()
}

/// SplitMix64: small, and the same everywhere for ever, so that a seed from a log can be played
/// again.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// The throws of that seed, from the first one.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next throw: 0 up to, and not including, the limit.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % limit.max(1) as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Disk, Entry, Fate, Tear, fates};
    use crate::volume::store::map::{BlockMap, Slot};
    use std::collections::BTreeSet;

    fn disk() -> Disk {
        let mut disk = Disk::holding(BlockMap::new(64));
        for block in 0..32 {
            disk.write(block, Entry::Local(Slot(block)));
            disk.write(block, Entry::Local(Slot(100 + block)));
        }
        disk
    }

    #[test]
    fn the_same_seed_is_the_same_cut_and_another_is_another() {
        let disk = disk();
        assert_eq!(fates(&disk, 7, Tear::Sector), fates(&disk, 7, Tear::Sector));
        assert_ne!(fates(&disk, 7, Tear::Sector), fates(&disk, 8, Tear::Sector));
    }

    #[test]
    fn every_fate_happens() {
        let disk = disk();
        let mut kinds = BTreeSet::new();
        for seed in 0..50 {
            let fates = fates(&disk, seed, Tear::Sector);
            kinds.extend((fates.len() < 32).then_some("lost"));
            kinds.extend(fates.iter().map(|(_, fate)| match fate {
                Fate::Whole(Entry::Local(Slot(slot))) if *slot < 100 => "an earlier version",
                Fate::Whole(_) => "the latest version",
                Fate::Torn { .. } => "torn",
            }));
        }
        assert_eq!(kinds.len(), 4, "{kinds:?}");
    }

    #[test]
    fn no_block_is_torn_where_blocks_are_written_whole() {
        let disk = disk();
        let all = (0..50).flat_map(|seed| fates(&disk, seed, Tear::Block));
        assert!(
            all.into_iter()
                .all(|(_, fate)| matches!(fate, Fate::Whole(_)))
        );
    }
}
