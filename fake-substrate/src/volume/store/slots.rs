//! The host's arena, one slot per block: which slots are free, which of them are in object storage
//! as well, and which hold what was fetched from there.
//!
//! A slot is never written twice while anybody may still read it. One that no snapshot can have
//! seen is given back at once; all others wait for a sweep, which looks at every map there is.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::map::{BlockMap, Entry, Leaf, ObjectId, Slot};

/// Where a block is in object storage: pack and index.
pub type Remote = (ObjectId, u32);

/// The arena's books.
#[derive(Debug, Default)]
pub struct Slots {
    /// Everything from here on was never used.
    next: u32,
    free: BTreeSet<Slot>,
    uploaded: HashMap<Slot, Remote>,
    fetched: HashMap<Remote, Slot>,
    /// Slots that may have become garbage since the last sweep.
    suspects: u64,
}

/// The arena has no slot left: 16 TiB are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host's arena is full")]
pub struct Full;

impl Slots {
    /// `count` slots, as far as possible side by side. None is given when not all can be.
    pub fn take(&mut self, count: usize) -> Result<Vec<Slot>, Full> {
        let fresh = count.saturating_sub(self.free.len());
        let end = u32::try_from(fresh).ok();
        let end = end
            .and_then(|fresh| self.next.checked_add(fresh))
            .ok_or(Full)?;
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            match self.free.pop_first() {
                Some(slot) => taken.push(slot),
                None => break,
            }
        }
        taken.extend((self.next..end).map(Slot));
        self.next = end;
        Ok(taken)
    }

    /// A slot that nobody can read any more.
    pub fn give_back(&mut self, slot: Slot) {
        self.uploaded.remove(&slot);
        let new = self.free.insert(slot);
        debug_assert!(new, "{slot:?} was free already");
    }

    /// A slot that may or may not be read by somebody else.
    pub fn suspect(&mut self) {
        self.suspects += 1;
    }

    /// A whole volume went; how much only it had is known to the next sweep.
    pub fn suspect_all(&mut self) {
        self.suspects = u64::MAX / 4;
    }

    /// Whether a sweep would give back much.
    pub fn sweep_is_worth_it(&self, threshold: u64) -> bool {
        let used = u64::from(self.next).saturating_sub(self.free.len() as u64);
        self.suspects >= threshold && self.suspects * 2 >= used
    }

    /// Where this slot's content is in object storage, if it is.
    pub fn remote(&self, slot: Slot) -> Option<Remote> {
        self.uploaded.get(&slot).copied()
    }

    /// Where a block is in object storage, if it is.
    pub fn place_of(&self, entry: Entry) -> Option<Remote> {
        match entry {
            Entry::Hole => None,
            Entry::Local(slot) => self.remote(slot),
            Entry::Packed(pack, index) => Some((pack, index)),
        }
    }

    /// Notes that a slot's content is in object storage now.
    pub fn note_upload(&mut self, slot: Slot, remote: Remote) {
        self.uploaded.insert(slot, remote);
    }

    /// What is known of a slot's content in object storage may be about an earlier content.
    pub fn forget_upload(&mut self, slot: Slot) {
        self.uploaded.remove(&slot);
    }

    /// Where the content of a block of a pack is on this host, if it was fetched.
    pub fn fetched(&self, remote: Remote) -> Option<Slot> {
        self.fetched.get(&remote).copied()
    }

    /// Notes that a block of a pack was fetched; `false`, and the slot is free again, when it was
    /// here already.
    pub fn note_fetch(&mut self, remote: Remote, slot: Slot) -> bool {
        if self.fetched.contains_key(&remote) {
            self.free.insert(slot);
            return false;
        }
        self.fetched.insert(remote, slot);
        true
    }

    /// What was fetched under one name is known by another.
    pub fn rename_fetched(&mut self, from: Remote, to: Remote) {
        if let Some(slot) = self.fetched.remove(&from) {
            self.fetched.insert(to, slot);
        }
    }

    /// Every slot below the highest one that nobody uses, in order.
    pub fn free(&self) -> Vec<Slot> {
        self.free.iter().copied().collect()
    }

    /// Whether nobody uses it.
    pub fn is_free(&self, slot: Slot) -> bool {
        self.free.contains(&slot)
    }

    /// How many slots are in use, and how many are free below the highest one.
    pub fn figures(&self) -> (u64, u64) {
        let free = self.free.len() as u64;
        (u64::from(self.next) - free, free)
    }

    /// After a replay: everything that no map mentions is free.
    pub fn begin_at(&mut self, next: u32) {
        self.next = self.next.max(next);
    }

    /// Gives back every slot that neither one of `maps` nor an entry of `others` mentions, and tells
    /// which.
    pub fn sweep<'maps>(
        &mut self,
        maps: impl Iterator<Item = &'maps BlockMap>,
        others: impl Iterator<Item = Entry>,
    ) -> Vec<Slot> {
        let mut live = Live::default();
        for map in maps {
            live.add_map(map);
        }
        for entry in others {
            live.add(entry);
        }
        self.fetched
            .retain(|(pack, _index), _slot| live.packs.contains(pack));
        live.slots.extend(self.fetched.values());
        self.uploaded.retain(|slot, _| live.slots.contains(slot));
        let all = (0..self.next).map(Slot);
        let dead: Vec<_> = all
            .filter(|slot| !live.slots.contains(slot) && !self.free.contains(slot))
            .collect();
        self.free.extend(&dead);
        self.suspects = 0;
        dead
    }

    /// The packs that `map` needs.
    pub fn packs_of(&self, map: &BlockMap) -> BTreeSet<ObjectId> {
        let entries = map.leaves().flat_map(|(_number, leaf)| leaf.iter());
        entries
            .filter_map(|entry| Some(self.place_of(*entry)?.0))
            .collect()
    }
}

/// What maps mention. Parts that several maps share are looked at once.
#[derive(Default)]
struct Live {
    seen: HashSet<*const Leaf>,
    slots: HashSet<Slot>,
    packs: HashSet<ObjectId>,
}

impl Live {
    fn add_map(&mut self, map: &BlockMap) {
        for (_number, leaf) in map.leaves() {
            if self.seen.insert(Arc::as_ptr(leaf)) {
                for entry in leaf.iter() {
                    self.add(*entry);
                }
            }
        }
    }

    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Hole => {}
            Entry::Local(slot) => {
                self.slots.insert(slot);
            }
            Entry::Packed(pack, _index) => {
                self.packs.insert(pack);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Full, Slots};
    use crate::volume::store::map::{BlockMap, Entry, ObjectId, Slot};

    #[test]
    fn what_was_given_back_is_used_again_before_the_arena_grows() {
        let mut slots = Slots::default();
        assert_eq!(slots.take(3).unwrap(), [Slot(0), Slot(1), Slot(2)]);
        slots.give_back(Slot(1));
        assert_eq!(slots.take(2).unwrap(), [Slot(1), Slot(3)]);
        assert_eq!(slots.figures(), (4, 0));
    }

    #[test]
    fn a_full_arena_gives_nothing_rather_than_a_part() {
        let mut slots = Slots::default();
        slots.begin_at(u32::MAX - 1);
        slots.free.insert(Slot(5));
        assert_eq!(slots.take(3), Err(Full));
        assert_eq!(slots.take(2).unwrap(), [Slot(5), Slot(u32::MAX - 1)]);
    }

    #[test]
    fn a_sweep_frees_what_no_map_mentions_and_forgets_what_it_knew_of_it() {
        let mut slots = Slots::default();
        slots.take(4).unwrap();
        let pack = ObjectId(9);
        for slot in 0..4 {
            slots.note_upload(Slot(slot), (pack, slot));
        }
        let mut map = BlockMap::new(10);
        map.set(0, Entry::Local(Slot(2)));
        let snapshot = map.clone();
        map.set(0, Entry::Local(Slot(3)));
        let sweep =
            |slots: &mut Slots| slots.sweep([&map, &snapshot].into_iter(), std::iter::empty());
        assert_eq!(sweep(&mut slots), [Slot(0), Slot(1)]);
        assert_eq!(slots.remote(Slot(0)), None);
        assert_eq!(slots.remote(Slot(2)), Some((pack, 2)));
        assert_eq!(sweep(&mut slots), []);
    }

    #[test]
    fn what_was_fetched_stays_while_a_map_needs_its_pack() {
        let mut slots = Slots::default();
        let taken = slots.take(2).unwrap();
        assert!(slots.note_fetch((ObjectId(1), 0), taken[0]));
        assert!(slots.note_fetch((ObjectId(2), 0), taken[1]));
        let mut map = BlockMap::new(10);
        map.set(3, Entry::Packed(ObjectId(1), 7));
        assert_eq!(
            slots.sweep([&map].into_iter(), std::iter::empty()),
            [Slot(1)]
        );
        assert_eq!(slots.fetched((ObjectId(1), 0)), Some(Slot(0)));
        assert_eq!(slots.fetched((ObjectId(2), 0)), None);
    }
}
