//! Write-behind: when a volume's state goes to object storage, and which objects that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::map::{BlockMap, Entry, Leaf, LeafNo, ObjectId, Slot};
use super::pack;
use super::record::{Flushed, Meta};
use super::root::{Root, Table};
use super::slots::Remote;

/// When a volume is flushed: whatever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// So long after the first write since the last flush.
    pub after_ms: u64,
    /// So many blocks written since.
    pub blocks: u64,
}

impl Policy {
    /// What the platform promises (contract 10): 5 s or 64 MB.
    pub const PLATFORM: Self = Self {
        after_ms: 5000,
        blocks: (64 << 20) / super::map::BLOCK_BYTES,
    };

    /// Whether it is time.
    pub fn is_due(self, dirty: u64, since_ms: u64, now_ms: u64) -> bool {
        dirty > 0 && (dirty >= self.blocks || now_ms.saturating_sub(since_ms) >= self.after_ms)
    }
}

/// So many blocks of a volume are not in object storage at most, 512 MiB, a write for each thread of its
/// guest aside: then writes wait. Far from what ordinary slowness leads to, near enough that the write-behind
/// window is more than a wish.
pub const MOST_AT_STAKE: u64 = 8 * Policy::PLATFORM.blocks;

/// More tables than this behind one root are written as one, so that a rehome reads few objects.
const MOST_TABLES: usize = 32;

/// One flush under way: a snapshot, and what object storage held before.
#[derive(Debug, Clone)]
pub struct Job {
    /// What the volume is.
    pub meta: Meta,
    /// What object storage holds.
    pub before: Flushed,
    /// What that was a snapshot of, if this process has taken it.
    pub base: Option<BlockMap>,
    /// What it shall hold.
    pub map: BlockMap,
    /// When the snapshot was taken.
    pub at_ms: u64,
    /// Blocks that are dirty again when it fails.
    pub dirty: u64,
}

/// The objects that make a snapshot a flush point, in the order in which they are written.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Blocks that object storage has not got.
    pub packs: Vec<(ObjectId, Vec<Slot>)>,
    /// Leaves that have changed.
    pub table: Option<(ObjectId, Table)>,
    /// Last.
    pub root: Root,
}

impl Plan {
    /// What object storage will have of this host's arena.
    pub fn uploads(&self) -> Vec<(Slot, Remote)> {
        let mut uploads = Vec::new();
        for (pack, slots) in &self.packs {
            uploads.extend(slots.iter().zip(0..).map(|(slot, at)| (*slot, (*pack, at))));
        }
        uploads
    }
}

impl Job {
    /// What `host` is to write. `remote` tells where a slot is in object storage already; `id` names
    /// new objects.
    pub fn plan(
        &self,
        host: &str,
        remote: impl Fn(Slot) -> Option<Remote>,
        mut id: impl FnMut() -> ObjectId,
    ) -> Plan {
        let kept = self.before.tables.values().collect::<BTreeSet<_>>();
        let rewrite = kept.len() >= MOST_TABLES;
        let mut tables = BTreeMap::new();
        let mut table = Table::default();
        let mut packs = Packs::default();
        for (number, leaf) in self.map.leaves() {
            match self.before.tables.get(&number) {
                Some(object) if !rewrite && self.is_as_before(number, leaf) => {
                    tables.insert(number, *object);
                }
                _ => {
                    let leaf: Vec<_> = leaf
                        .iter()
                        .map(|entry| match entry {
                            Entry::Hole => None,
                            Entry::Packed(pack, index) => Some((*pack, *index)),
                            Entry::Local(slot) => {
                                Some(remote(*slot).unwrap_or_else(|| packs.add(*slot, &mut id)))
                            }
                        })
                        .collect();
                    if leaf.iter().any(Option::is_some) {
                        table.0.insert(number, leaf);
                    }
                }
            }
        }
        let table = (!table.0.is_empty()).then(|| (id(), table));
        if let Some((object, table)) = &table {
            tables.extend(table.0.keys().map(|number| (*number, *object)));
        }
        Plan {
            packs: packs.0,
            table,
            root: Root {
                meta: self.meta.clone(),
                generation: self.before.generation,
                sequence: self.before.sequence + 1,
                at_ms: self.at_ms,
                tables,
                host: host.to_owned(),
            },
        }
    }

    fn is_as_before(&self, number: LeafNo, leaf: &Arc<Leaf>) -> bool {
        let base = self.base.as_ref().and_then(|base| base.leaf(number));
        base.is_some_and(|base| Arc::ptr_eq(base, leaf))
    }
}

#[derive(Default)]
struct Packs(Vec<(ObjectId, Vec<Slot>)>);

impl Packs {
    fn add(&mut self, slot: Slot, id: &mut impl FnMut() -> ObjectId) -> Remote {
        match self.0.last_mut() {
            Some((pack, slots)) if slots.len() < pack::LONGEST => {
                slots.push(slot);
                (*pack, u32::try_from(slots.len() - 1).unwrap_or(u32::MAX))
            }
            _ => {
                let pack = id();
                self.0.push((pack, vec![slot]));
                (pack, 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockMap, Entry, Flushed, Job, Meta, ObjectId, Plan, Policy, Slot};

    #[test]
    fn a_flush_is_due_after_5_s_or_64_mb_whichever_comes_first() {
        let due = |dirty, since, now| Policy::PLATFORM.is_due(dirty, since, now);
        assert!(!due(0, 0, 1_000_000));
        assert!(!due(1, 1000, 5999));
        assert!(due(1, 1000, 6000));
        assert!(!due(16_383, 1000, 1000));
        assert!(due(16_384, 1000, 1000));
    }

    fn job(map: &BlockMap, before: Flushed, base: Option<BlockMap>) -> Job {
        Job {
            meta: Meta {
                name: "db".parse().unwrap(),
                blocks: map.blocks(),
                ephemeral: false,
                parent: None,
                created_ms: 0,
                expires_ms: None,
            },
            before,
            base,
            map: map.clone(),
            at_ms: 5,
            dirty: 1,
        }
    }

    fn plan(job: &Job) -> Plan {
        let mut next = job.before.sequence * 100;
        job.plan(
            "one",
            |_slot| None,
            || {
                next += 1;
                ObjectId(next)
            },
        )
    }

    #[test]
    fn only_leaves_that_changed_are_written_again() {
        let mut map = BlockMap::new(4096);
        map.set(0, Entry::Local(Slot(1)));
        map.set(600, Entry::Local(Slot(2)));
        let first = plan(&job(&map, Flushed::default(), None));
        assert_eq!(first.packs, [(ObjectId(1), vec![Slot(1), Slot(2)])]);
        assert_eq!(first.root.tables.len(), 2);

        let base = map.clone();
        map.set(601, Entry::Packed(ObjectId(77), 3));
        let before = Flushed {
            sequence: 1,
            tables: first.root.tables,
            ..Default::default()
        };
        let second = plan(&job(&map, before, Some(base)));
        let (_, table) = second.table.unwrap();
        assert_eq!(table.0.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(table.0[&1][89], Some((ObjectId(77), 3)));
        assert_eq!(second.root.tables[&0], ObjectId(2));
    }

    #[test]
    fn packs_are_filled_before_the_next_one_begins() {
        let mut map = BlockMap::new(4096);
        for block in 0..1500 {
            map.set(block, Entry::Local(Slot(block)));
        }
        let plan = plan(&job(&map, Flushed::default(), None));
        let sizes: Vec<_> = plan.packs.iter().map(|(_, slots)| slots.len()).collect();
        assert_eq!(sizes, [1024, 476]);
        assert_eq!(plan.uploads()[1024], (Slot(1024), (plan.packs[1].0, 0)));
    }

    #[test]
    fn a_volume_that_became_empty_has_a_root_without_tables() {
        let mut map = BlockMap::new(4096);
        map.set(0, Entry::Local(Slot(1)));
        map.set(0, Entry::Hole);
        let plan = plan(&job(&map, Flushed::default(), None));
        assert!(plan.packs.is_empty() && plan.table.is_none() && plan.root.tables.is_empty());
    }

    #[test]
    fn many_small_tables_become_one() {
        let mut map = BlockMap::new(64 * 512);
        for leaf in 0..40 {
            map.set(leaf * 512, Entry::Packed(ObjectId(1), leaf));
        }
        let before = Flushed {
            sequence: 9,
            tables: (0..40)
                .map(|leaf| (leaf, ObjectId(u64::from(leaf))))
                .collect(),
            ..Default::default()
        };
        let plan = plan(&job(&map, before, Some(map.clone())));
        let tables: std::collections::BTreeSet<_> = plan.root.tables.values().collect();
        assert_eq!((plan.root.tables.len(), tables.len()), (40, 1));
    }
}
