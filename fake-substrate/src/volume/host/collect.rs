//! What no volume needs any more, on this host and in object storage.

use std::collections::{BTreeMap, BTreeSet};

use super::{Compacted, Host, HostError};
use crate::volume::VolumeName;
use crate::volume::store::Standing;
use crate::volume::store::compact::Policy;
use crate::volume::store::map::{LeafNo, ObjectId};
use crate::volume::store::pack;
use crate::volume::store::root::{CLAIMS, PACKS, Root, TABLES, claimant, id_of};

/// What a collection gave back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Slots of the arena.
    pub slots: usize,
    /// Packs and tables.
    pub objects: usize,
    /// Whether every root and claim in the bucket is this host's; otherwise no object is removed.
    pub alone: bool,
    /// What was rewritten, so that the next collection finds more.
    pub compacted: Compacted,
}

/// What the roots in object storage tell.
pub(super) struct Stored {
    /// Packs and tables that they mention.
    needed: BTreeSet<ObjectId>,
    /// Whether all of them are this host's.
    alone: bool,
    /// Packs of volumes that are not here, whose roots nobody here replaces.
    fixed: BTreeSet<ObjectId>,
    /// Leaves of volumes that are here, and the packs that they are on.
    pub(super) leaves: Vec<(VolumeName, LeafNo, BTreeSet<ObjectId>)>,
}

impl Host {
    /// Looks at everything and gives back what nothing mentions; then rewrites what is mostly dead.
    ///
    /// An object is removed when no root mentions it, nothing on this host does, and this host made
    /// it: what another host has uploaded may be on its way to a root. While another host has a
    /// volume in the bucket, or a claim, no object is removed at all: it may have forked what it took over
    /// from here, and a fork has no root before its first flush, an ephemeral one never. Then nothing is
    /// rewritten either: it would only come on top.
    pub fn collect(&self) -> Result<Collected, HostError> {
        self.collect_and_compact(Policy::PLATFORM)
    }

    pub(super) fn collect_and_compact(&self, policy: Policy) -> Result<Collected, HostError> {
        let _one = self.one_at_a_time();
        self.bury()?;
        let (dead, free) = {
            let mut books = self.books_mut();
            let dead = books.sweep();
            (dead, books.slots.free())
        };
        // Also what was given back one by one: side by side it is worth it now.
        self.discard_free(&free)?;

        let mut stored = self.stored()?;
        // After the roots: what a fork shares now was mentioned by one of them or is here.
        let ours = {
            let books = self.books();
            stored.needed.extend(books.packs());
            books.nonces().clone()
        };
        stored.alone &= self.give_claims_back(&stored.needed, &ours)?;
        let mut collected = Collected {
            slots: dead.len(),
            alone: stored.alone,
            ..Default::default()
        };
        if !stored.alone {
            return Ok(collected);
        }
        let mut packs = BTreeMap::new();
        for prefix in [PACKS, TABLES] {
            for object in self.objects.list(prefix)? {
                match id_of(&object.key) {
                    Some(id) if ours.contains(&id.nonce()) => {
                        if !stored.needed.contains(&id) {
                            self.objects.delete(&object.key)?;
                            collected.objects += 1;
                        } else if prefix == PACKS && !stored.fixed.contains(&id) {
                            packs.insert(id, pack::blocks_of(object.bytes));
                        }
                    }
                    _ => {}
                }
            }
        }
        collected.compacted = self.compact(policy, &stored, &packs)?;
        Ok(collected)
    }

    fn stored(&self) -> Result<Stored, HostError> {
        let mut stored = Stored {
            needed: BTreeSet::new(),
            alone: true,
            fixed: BTreeSet::new(),
            leaves: Vec::new(),
        };
        for root in self.roots()? {
            stored.alone &= self.is_ours(&root);
            let is_here = self.books().here(&root.meta.name).is_ok();
            let tables: BTreeSet<_> = root.tables.values().copied().collect();
            for object in &tables {
                for (number, leaf) in self.table(*object)?.0 {
                    if root.tables.get(&number) != Some(object) {
                        continue;
                    }
                    let packs = leaf.into_iter().flatten();
                    let packs: BTreeSet<_> = packs.map(|(pack, _index)| pack).collect();
                    stored.needed.extend(&packs);
                    if is_here {
                        let name = root.meta.name.clone();
                        stored.leaves.push((name, number, packs));
                    } else {
                        stored.fixed.extend(packs);
                    }
                }
            }
            stored.needed.extend(tables);
        }
        Ok(stored)
    }

    /// Takes this host's claims back when it needs nobody's objects any more; tells whether there are no
    /// others.
    fn give_claims_back(
        &self,
        needed: &BTreeSet<ObjectId>,
        ours: &BTreeSet<u32>,
    ) -> Result<bool, HostError> {
        let claims = self.objects.list(CLAIMS)?;
        let (own, others): (Vec<_>, Vec<_>) = claims
            .into_iter()
            .partition(|claim| claimant(&claim.key).is_some_and(|nonce| ours.contains(&nonce)));
        if needed.iter().all(|object| ours.contains(&object.nonce())) {
            for claim in own {
                self.objects.delete(&claim.key)?;
            }
        }
        Ok(others.is_empty())
    }

    /// Whether this host wrote the root, or lost the volume itself.
    fn is_ours(&self, root: &Root) -> bool {
        let books = self.books();
        let standing = books.volume(&root.meta.name).map(|volume| &volume.standing);
        match standing {
            Ok(Standing::Here(here)) => here.flushed.generation == root.generation,
            Ok(Standing::Elsewhere(flushed)) => flushed.generation == root.generation,
            Err(_unknown) => false,
        }
    }
}
