//! Which block of a volume lies where. A snapshot is a clone: two maps share every part in which
//! neither was written since, so a fork costs the same for a gigabyte and for a terabyte.
//!
//! Three levels: a root of nodes, a node of leaves, a leaf of 512 blocks (2 MiB). A clone copies the
//! root alone, 32 pointers for 16 GiB; the first write below a shared part copies one node and one
//! leaf. Whether a leaf has changed since a snapshot is a comparison of pointers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The unit of everything: what ext4 and Postgres never write less than, given the choice.
pub const BLOCK: usize = 4096;
/// The same, for arithmetic on offsets.
pub const BLOCK_BYTES: u64 = 4096;
/// Blocks of one leaf.
pub const LEAF_BLOCKS: usize = LEAF as usize;
const LEAF: u32 = 512;
const NODE_LEAVES: usize = 256;

/// A block's number within its volume.
pub type BlockNo = u32;
/// A leaf's number within its volume.
pub type LeafNo = u32;

/// A block's place in the host's arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u32);

impl Slot {
    /// Where it begins in the arena.
    pub fn offset(self) -> u64 {
        u64::from(self.0) * BLOCK_BYTES
    }
}

/// A pack or a table in object storage. Unique for ever: the upper half is the nonce of the host's
/// start that made it, the lower half counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId(pub u64);

impl ObjectId {
    /// Which start of which host made it.
    pub fn nonce(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where one block's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Entry {
    /// Never written, or discarded: zeroes.
    #[default]
    Hole,
    /// On this host. It may be in object storage as well; `Slots` knows.
    Local(Slot),
    /// In object storage alone, until somebody reads it.
    Packed(ObjectId, u32),
}

/// 512 neighbours.
pub type Leaf = [Entry; LEAF_BLOCKS];
type Node = [Option<Arc<Leaf>>; NODE_LEAVES];

const NOTHING: Leaf = [Entry::Hole; LEAF_BLOCKS];

/// The map of one volume at one instant.
#[derive(Debug, Clone)]
pub struct BlockMap {
    blocks: u32,
    root: Vec<Option<Arc<Node>>>,
}

fn split(block: BlockNo) -> (usize, usize, usize) {
    let leaf = block as usize / LEAF_BLOCKS;
    (
        leaf / NODE_LEAVES,
        leaf % NODE_LEAVES,
        block as usize % LEAF_BLOCKS,
    )
}

impl BlockMap {
    /// All holes.
    pub fn new(blocks: u32) -> Self {
        let leaves = (blocks as usize).div_ceil(LEAF_BLOCKS);
        Self {
            blocks,
            root: vec![None; leaves.div_ceil(NODE_LEAVES)],
        }
    }

    /// How many blocks the volume has.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Lets the volume have so many blocks. New ones are holes; it never gets smaller.
    pub fn grow(&mut self, blocks: u32) {
        self.blocks = self.blocks.max(blocks);
        let leaves = (self.blocks as usize).div_ceil(LEAF_BLOCKS);
        self.root.resize(leaves.div_ceil(NODE_LEAVES), None);
    }

    /// Where a block is. Beyond the end is a hole: the fronts refuse such a request before.
    pub fn get(&self, block: BlockNo) -> Entry {
        let (node, leaf, at) = split(block);
        let node = self.root.get(node).and_then(Option::as_ref);
        let leaf = node.and_then(|node| node[leaf].as_ref());
        leaf.map_or(Entry::Hole, |leaf| leaf[at])
    }

    /// Puts a block somewhere else. Nothing is copied when it is there already.
    pub fn set(&mut self, block: BlockNo, entry: Entry) {
        if block >= self.blocks || self.get(block) == entry {
            return;
        }
        let (node, leaf, at) = split(block);
        let node = self.root[node].get_or_insert_with(|| Arc::new([const { None }; NODE_LEAVES]));
        let leaf = Arc::make_mut(node)[leaf].get_or_insert_with(|| Arc::new(NOTHING));
        Arc::make_mut(leaf)[at] = entry;
    }

    /// The leaves in which anything was ever written, in order.
    pub fn leaves(&self) -> impl Iterator<Item = (LeafNo, &Arc<Leaf>)> {
        let nodes = self.root.iter().enumerate();
        let nodes = nodes.filter_map(|(at, node)| Some((at, node.as_ref()?)));
        nodes.flat_map(|(node_at, node)| {
            let leaves = node.iter().enumerate();
            leaves.filter_map(move |(at, leaf)| {
                let number = u32::try_from(node_at * NODE_LEAVES + at).ok()?;
                Some((number, leaf.as_ref()?))
            })
        })
    }

    /// The blocks of a range that are not holes. What was never written costs nothing.
    pub fn written(&self, range: std::ops::Range<BlockNo>) -> impl Iterator<Item = BlockNo> {
        let numbers = range.start / LEAF..range.end.div_ceil(LEAF);
        let leaves = numbers.filter_map(|number| Some((number, self.leaf(number)?)));
        let leaves = leaves.flat_map(|(number, leaf)| leaf.iter().zip(number * LEAF..));
        let written = leaves.filter(|(entry, _block)| **entry != Entry::Hole);
        written
            .map(|(_entry, block)| block)
            .filter(move |block| range.contains(block))
    }

    /// One leaf, if anything was ever written in it.
    pub fn leaf(&self, number: LeafNo) -> Option<&Arc<Leaf>> {
        let number = number as usize;
        let node = self.root.get(number / NODE_LEAVES)?.as_ref()?;
        node[number % NODE_LEAVES].as_ref()
    }

    /// Makes holes of a leaf.
    pub fn forget_leaf(&mut self, number: LeafNo) {
        let number = number as usize;
        if let Some(Some(node)) = self.root.get_mut(number / NODE_LEAVES) {
            Arc::make_mut(node)[number % NODE_LEAVES] = None;
        }
    }

    /// Puts a whole leaf, shared with whoever holds it. `false` when the volume ends before it.
    pub fn share_leaf(&mut self, number: LeafNo, leaf: Arc<Leaf>) -> bool {
        let at = number as usize;
        if at * LEAF_BLOCKS >= self.blocks as usize {
            return false;
        }
        let node = &mut self.root[at / NODE_LEAVES];
        let node = node.get_or_insert_with(|| Arc::new([const { None }; NODE_LEAVES]));
        Arc::make_mut(node)[at % NODE_LEAVES] = Some(leaf);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockMap, Entry, Slot};
    use std::sync::Arc;

    const BIG: u32 = 4 << 20;

    #[test]
    fn a_snapshot_keeps_what_was_there_and_the_original_goes_on() {
        let mut map = BlockMap::new(BIG);
        map.set(7, Entry::Local(Slot(1)));
        let snapshot = map.clone();
        map.set(7, Entry::Local(Slot(2)));
        map.set(BIG - 1, Entry::Local(Slot(3)));
        assert_eq!(snapshot.get(7), Entry::Local(Slot(1)));
        assert_eq!(snapshot.get(BIG - 1), Entry::Hole);
        assert_eq!(map.get(7), Entry::Local(Slot(2)));
        assert_eq!(map.get(BIG - 1), Entry::Local(Slot(3)));
    }

    #[test]
    fn only_the_leaf_that_was_written_stops_being_shared() {
        let mut map = BlockMap::new(BIG);
        for block in [0, 512, 1024] {
            map.set(block, Entry::Local(Slot(block)));
        }
        let snapshot = map.clone();
        map.set(513, Entry::Local(Slot(9)));
        map.set(0, Entry::Local(Slot(0))); // what is there already copies nothing
        let shared = |leaf| Arc::ptr_eq(map.leaf(leaf).unwrap(), snapshot.leaf(leaf).unwrap());
        assert_eq!([shared(0), shared(1), shared(2)], [true, false, true]);
    }

    #[test]
    fn a_map_of_holes_has_no_leaves_and_an_entry_fits_16_bytes() {
        assert_eq!(BlockMap::new(BIG).leaves().count(), 0);
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn a_map_that_grows_keeps_what_it_has_and_its_snapshots_keep_their_size() {
        let mut map = BlockMap::new(10);
        map.set(9, Entry::Local(Slot(1)));
        let snapshot = map.clone();
        map.grow(BIG);
        map.set(BIG - 1, Entry::Local(Slot(2)));
        assert_eq!(map.get(9), Entry::Local(Slot(1)));
        assert_eq!(map.get(10), Entry::Hole);
        assert_eq!(map.get(BIG - 1), Entry::Local(Slot(2)));
        assert_eq!(
            (snapshot.blocks(), snapshot.get(BIG - 1)),
            (10, Entry::Hole)
        );
        map.grow(10);
        assert_eq!(map.blocks(), BIG);
    }

    #[test]
    fn writes_beyond_the_end_change_nothing() {
        let mut map = BlockMap::new(10);
        map.set(10, Entry::Local(Slot(1)));
        map.set(u32::MAX, Entry::Local(Slot(1)));
        assert_eq!(map.leaves().count(), 0);
        assert!(!map.share_leaf(1, Arc::new([Entry::Hole; 512])));
    }
}
