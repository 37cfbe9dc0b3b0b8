//! What no volume needs any more, on this host and in object storage.

use std::collections::BTreeSet;

use super::{Host, HostError};
use crate::volume::store::Standing;
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
}

impl Host {
    /// Looks at everything and gives back what nothing mentions.
    ///
    /// An object is removed when no root mentions it, nothing on this host does, and this host made
    /// it: what another host has uploaded may be on its way to a root. While another host has a
    /// volume in the bucket, or a claim, no object is removed at all: it may have forked what it took over
    /// from here, and a fork has no root before its first flush, an ephemeral one never.
    pub fn collect(&self) -> Result<Collected, HostError> {
        let _one = self.one_at_a_time();
        self.bury()?;
        let (dead, free) = {
            let mut books = self.books_mut();
            let dead = books.sweep();
            (dead, books.slots.free())
        };
        // Also what was given back one by one: side by side it is worth it now.
        self.discard_free(&free)?;

        let mut needed = BTreeSet::new();
        let mut alone = true;
        for root in self.roots()? {
            alone &= self.is_ours(&root);
            let tables: BTreeSet<_> = root.tables.values().copied().collect();
            for object in &tables {
                for (number, leaf) in self.table(*object)?.0 {
                    if root.tables.get(&number) == Some(object) {
                        let packs = leaf.into_iter().flatten();
                        needed.extend(packs.map(|(pack, _index)| pack));
                    }
                }
            }
            needed.extend(tables);
        }
        // After the roots: what a fork shares now was mentioned by one of them or is here.
        let ours = {
            let books = self.books();
            needed.extend(books.packs());
            books.nonces().clone()
        };
        let claims = self.objects.list(CLAIMS)?;
        let (own, others): (Vec<_>, Vec<_>) = claims
            .into_iter()
            .partition(|claim| claimant(claim).is_some_and(|nonce| ours.contains(&nonce)));
        alone &= others.is_empty();
        if needed.iter().all(|object| ours.contains(&object.nonce())) {
            for claim in own {
                self.objects.delete(&claim)?;
            }
        }
        let mut collected = Collected {
            slots: dead.len(),
            objects: 0,
            alone,
        };
        if !alone {
            return Ok(collected);
        }
        for prefix in [PACKS, TABLES] {
            for key in self.objects.list(prefix)? {
                let id = id_of(&key);
                if id.is_some_and(|id| ours.contains(&id.nonce()) && !needed.contains(&id)) {
                    self.objects.delete(&key)?;
                    collected.objects += 1;
                }
            }
        }
        Ok(collected)
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
