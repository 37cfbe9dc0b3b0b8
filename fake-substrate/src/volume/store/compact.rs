//! Packs that are mostly dead: which are worth rewriting, and what the books say of their blocks afterwards.
//!
//! ```text
//!   live blocks of old packs ──► new packs ──► one line of the journal for each ──► the next flush writes
//!                                                                  the tables anew, and old packs are garbage
//! ```
//!
//! A block that moved has the same content under both names, so the line may come at any instant and
//! before or after any other: whoever goes by the old name still finds it until no root and no map does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::map::{BlockMap, Entry, Leaf, LeafNo, ObjectId, Slot};
use super::pack;
use super::record::Record;
use super::refused::Refused;
use super::slots::{Remote, Slots};
use super::{Here, Standing, Store};
use crate::volume::VolumeName;

/// Which packs are rewritten, and how many in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Those of which less than so many hundredths are live.
    pub live_percent: u64,
    /// So many packs in a round.
    pub packs: usize,
    /// So many blocks in these packs, dead ones included: they are read whole.
    pub blocks: u64,
}

impl Policy {
    /// Object storage holds about twice what is live at most. A round reads 128 MiB and writes half of it.
    pub const PLATFORM: Self = Self {
        live_percent: 50,
        packs: 256,
        blocks: (128 << 20) / super::map::BLOCK_BYTES,
    };
}

/// The live blocks of each pack.
#[derive(Debug, Default)]
pub struct Live(BTreeMap<ObjectId, [u64; pack::LONGEST / 64]>);

impl Live {
    /// Somebody on this host may read it.
    pub fn add(&mut self, (pack, index): Remote) {
        let words = self.0.entry(pack).or_default();
        if let Some(word) = words.get_mut(index as usize / 64) {
            *word |= 1 << (index % 64);
        }
    }

    fn blocks(&self, pack: ObjectId) -> Vec<u32> {
        let words = self.0.get(&pack).into_iter().flatten();
        let bits = words.flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1));
        let live = bits.zip(0..).filter(|(live, _index)| *live);
        live.map(|(_live, index)| index).collect()
    }

    /// What a round is about: the deadest of `packs`, given by how many blocks each has, and whether there
    /// is more to do. Of a pack without live blocks nothing is to be moved.
    pub fn choose(&self, policy: Policy, packs: &BTreeMap<ObjectId, u64>) -> Round {
        let counted = packs.iter().map(|(pack, blocks)| {
            let live = self.0.get(pack).into_iter().flatten();
            let live: u64 = live.map(|word| u64::from(word.count_ones())).sum();
            (live * 100 / (*blocks).max(1), *pack, *blocks)
        });
        let mut thin: Vec<_> = counted
            .filter(|(percent, ..)| *percent < policy.live_percent)
            .collect();
        thin.sort_unstable();
        let all = thin.len();
        let mut blocks = 0;
        let chosen = thin.into_iter().take(policy.packs).take_while(|thin| {
            blocks += thin.2;
            blocks <= policy.blocks
        });
        let packs: BTreeMap<_, _> = chosen
            .map(|(_percent, pack, _blocks)| (pack, self.blocks(pack)))
            .collect();
        Round {
            more: packs.len() < all,
            packs,
        }
    }
}

/// What one round rewrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Packs, and the blocks of each that are live.
    pub packs: BTreeMap<ObjectId, Vec<u32>>,
    /// Whether others are left for the next round.
    pub more: bool,
}

/// Every map of this host at one instant. It shares all with the originals, so the books need not be
/// locked while it is looked through.
#[derive(Debug)]
pub struct Mentions {
    maps: Vec<(VolumeName, BlockMap)>,
    versions: Vec<Entry>,
}

impl Mentions {
    /// Each run of entries once, however many maps share it.
    pub fn runs(&self) -> impl Iterator<Item = &[Entry]> {
        let mut seen = HashSet::new();
        let leaves = self.maps.iter().flat_map(|(_volume, map)| map.leaves());
        let leaves = leaves.filter(move |(_number, leaf)| seen.insert(Arc::as_ptr(leaf)));
        leaves
            .map(|(_number, leaf)| leaf.as_slice())
            .chain([self.versions.as_slice()])
    }

    /// Where blocks are that only object storage has, in a pack of this round.
    fn leaves_on(&self, round: &Round) -> BTreeMap<ObjectId, BTreeSet<(VolumeName, LeafNo)>> {
        let mut on: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (volume, map) in &self.maps {
            for (number, leaf) in map.leaves() {
                for entry in leaf.iter() {
                    if let Entry::Packed(pack, _index) = entry
                        && round.packs.contains_key(pack)
                    {
                        let leaves = on.entry(*pack).or_default();
                        leaves.insert((volume.clone(), number));
                    }
                }
            }
        }
        on
    }
}

/// Who knows the blocks of a round by their names.
#[derive(Debug)]
pub struct Holders {
    slots: BTreeMap<Remote, BTreeSet<Slot>>,
    leaves: BTreeMap<ObjectId, BTreeSet<(VolumeName, LeafNo)>>,
}

impl Holders {
    /// Those that are leaves; slots are added.
    pub fn new(mentions: &Mentions, round: &Round) -> Self {
        Self {
            slots: BTreeMap::new(),
            leaves: mentions.leaves_on(round),
        }
    }

    /// A slot that holds a block of the round.
    pub fn add(&mut self, slot: Slot, place: Remote) {
        self.slots.entry(place).or_default().insert(slot);
    }

    /// Those of some blocks.
    pub fn of(&self, moves: HashMap<Remote, Remote>) -> Moved {
        let slots = moves
            .keys()
            .filter_map(|from| Some((self.slots.get(from)?, *from)));
        let slots = slots.flat_map(|(slots, from)| slots.iter().map(move |slot| (*slot, from)));
        let packs: BTreeSet<_> = moves.keys().map(|(pack, _index)| pack).collect();
        let leaves = packs.into_iter().filter_map(|pack| self.leaves.get(pack));
        Moved {
            slots: slots.collect(),
            leaves: leaves.flatten().cloned().collect(),
            moves,
        }
    }
}

/// Blocks that were uploaded once more, and who knew them by their old names when that was looked up.
#[derive(Debug, Default)]
pub struct Moved {
    /// From where to where.
    pub moves: HashMap<Remote, Remote>,
    /// Slots that hold what was moved.
    pub slots: Vec<(Slot, Remote)>,
    /// Leaves with a block that was moved and is not on this host.
    pub leaves: BTreeSet<(VolumeName, LeafNo)>,
}

/// Leaves that were written anew, by the old ones: those that were shared are shared again.
type Rewritten = HashMap<*const Leaf, (Arc<Leaf>, Arc<Leaf>)>;

impl Store {
    /// Everything that may mention a pack.
    pub fn mentions(&self) -> Mentions {
        let mut mentions = Mentions {
            maps: Vec::new(),
            versions: Vec::new(),
        };
        for volume in self.volumes.values() {
            if let Standing::Here(here) = &volume.standing {
                let maps = here
                    .read_maps()
                    .map(|map| (volume.meta.name.clone(), map.clone()));
                mentions.maps.extend(maps);
                mentions.versions.extend(here.versions());
            }
        }
        mentions
    }

    /// What the journal says of blocks that were moved. Of what has changed since it was looked up nothing.
    pub fn moved(&self, moved: Moved) -> Record {
        let slots = moved.slots.into_iter().filter_map(|(slot, from)| {
            let is_there = self.slots.remote(slot) == Some(from);
            let to = moved.moves.get(&from).filter(|_to| is_there)?;
            Some((slot, *to))
        });
        let leaves = moved.leaves.into_iter();
        Record::Moved {
            slots: slots.collect(),
            leaves: leaves
                .filter(|(volume, _number)| self.here(volume).is_ok())
                .collect(),
            moves: moved.moves.into_iter().collect(),
        }
    }

    pub(super) fn apply_moved(
        &mut self,
        moves: &HashMap<Remote, Remote>,
        slots: Vec<(Slot, Remote)>,
        leaves: Vec<(VolumeName, LeafNo)>,
    ) -> Result<(), Refused> {
        self.slots.rename(moves, slots);
        let mut rewritten = Rewritten::new();
        for (volume, number) in leaves {
            let disk = &mut self.here_mut(&volume)?.disk;
            disk.rename(|map| rename_leaf(map, number, moves, &mut rewritten));
        }
        Ok(())
    }

    /// The flush point of a volume is by names that shall not be used any more: the next flush writes these
    /// leaves again.
    pub fn outdate(&mut self, volume: &VolumeName, leaves: impl IntoIterator<Item = LeafNo>) {
        // Lost or destroyed meanwhile, it has no next flush.
        let Ok(here) = self.here_mut(volume) else {
            return;
        };
        if let Some(base) = &mut here.base {
            leaves
                .into_iter()
                .for_each(|number| base.forget_leaf(number));
        }
        here.disk.add_dirty(1);
    }
}

fn rename_leaf(
    map: &mut BlockMap,
    number: LeafNo,
    moves: &HashMap<Remote, Remote>,
    rewritten: &mut Rewritten,
) {
    let Some(old) = map.leaf(number).map(Arc::clone) else {
        return;
    };
    let (_old, new) = rewritten.entry(Arc::as_ptr(&old)).or_insert_with(|| {
        let new = (*old).map(|entry| match entry {
            Entry::Packed(pack, index) => match moves.get(&(pack, index)) {
                Some((pack, index)) => Entry::Packed(*pack, *index),
                None => entry,
            },
            Entry::Hole | Entry::Local(_) => entry,
        });
        (old, Arc::new(new))
    });
    map.share_leaf(number, Arc::clone(new));
}

impl Slots {
    /// Blocks have other names in object storage from now on.
    fn rename(&mut self, moves: &HashMap<Remote, Remote>, slots: Vec<(Slot, Remote)>) {
        for (slot, remote) in slots {
            self.note_upload(slot, remote);
        }
        for (from, to) in moves {
            self.rename_fetched(*from, *to);
        }
    }
}

impl Here {
    /// Every map that somebody may read or that is on its way to a flush point.
    fn read_maps(&self) -> impl Iterator<Item = &BlockMap> {
        let flushing = self.flushing.as_ref().map(|(map, _dirty)| map);
        let current = [self.disk.current(), self.disk.synced()];
        current.into_iter().chain(flushing)
    }

    /// Every map: the last flush point's is compared with.
    pub(super) fn maps(&self) -> impl Iterator<Item = &BlockMap> {
        self.read_maps().chain(&self.base)
    }

    /// Every version that a power cut may leave.
    pub(super) fn versions(&self) -> impl Iterator<Item = Entry> {
        self.disk.unsynced().values().flatten().copied()
    }
}
