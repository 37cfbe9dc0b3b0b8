//! Live blocks of packs that are mostly dead are uploaded once more. The old packs are not touched: once the
//! next flushes have replaced the roots they are garbage like any other.

use std::collections::{BTreeMap, HashMap};

use super::collect::Stored;
use super::{Host, HostError};
use crate::serve::chain;
use crate::volume::store::compact::{Holders, Live, Mentions, Policy, Round};
use crate::volume::store::map::{Entry, ObjectId};
use crate::volume::store::pack::{self, Builder, Content};
use crate::volume::store::root::pack_key;
use crate::volume::store::slots::Remote;

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Blocks that were uploaded once more.
    pub blocks: usize,
    /// Whether there is enough for another round.
    pub more: bool,
}

impl Host {
    /// One round. Nobody else flushes, rehomes or collects meanwhile; guests write on, and wait for one line
    /// of the journal at a time. Killed after any step, what was uploaded and not written down is garbage.
    pub(super) fn compact(
        &self,
        policy: Policy,
        stored: &Stored,
        packs: &BTreeMap<ObjectId, u64>,
    ) -> Result<Compacted, HostError> {
        let mentions = self.books().mentions();
        let round = self.live(&mentions).choose(policy, packs);
        let mut outdated: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (volume, leaf, packs) in &stored.leaves {
            if packs.iter().any(|pack| round.packs.contains_key(pack)) {
                outdated.entry(volume).or_default().push(*leaf);
            }
        }
        // First: whatever comes of the rest, a leaf that is written again does no harm.
        for (volume, leaves) in outdated {
            self.books_mut().outdate(volume, leaves);
        }
        Ok(Compacted {
            blocks: self.rewrite(&self.holders(&mentions, &round), &round)?,
            more: round.more,
        })
    }

    fn live(&self, mentions: &Mentions) -> Live {
        let mut live = Live::default();
        for run in mentions.runs() {
            // A lock for each: guests get in between.
            let books = self.books();
            let places = run.iter().filter_map(|entry| books.slots.place_of(*entry));
            places.for_each(|place| live.add(place));
        }
        live
    }

    fn holders(&self, mentions: &Mentions, round: &Round) -> Holders {
        let mut holders = Holders::new(mentions, round);
        for run in mentions.runs() {
            let books = self.books();
            for entry in run {
                if let (Entry::Local(slot), Some(place)) = (entry, books.slots.place_of(*entry))
                    && round.packs.contains_key(&place.0)
                {
                    holders.add(*slot, place);
                }
            }
        }
        holders
    }

    fn rewrite(&self, holders: &Holders, round: &Round) -> Result<usize, HostError> {
        let mut blocks = 0;
        let mut waiting = Vec::new();
        for (pack, live) in round.packs.iter().filter(|(_pack, live)| !live.is_empty()) {
            match self.read_live(*pack, live) {
                Ok(contents) => waiting.extend(contents),
                // What can be read is moved all the same.
                Err(error @ (HostError::Pack(_) | HostError::Missing(_))) => {
                    tracing::error!(%pack, error = %chain(&error), "a pack cannot be rewritten");
                }
                Err(error) => return Err(error),
            }
            while waiting.len() >= pack::LONGEST {
                let rest = waiting.split_off(pack::LONGEST);
                blocks += self.move_blocks(holders, &waiting)?;
                waiting = rest;
            }
        }
        if !waiting.is_empty() {
            blocks += self.move_blocks(holders, &waiting)?;
        }
        Ok(blocks)
    }

    fn read_live(&self, pack: ObjectId, live: &[u32]) -> Result<Vec<(Remote, Content)>, HostError> {
        let there = self.objects.get(&pack_key(pack))?;
        let (bytes, _tag) = there.ok_or_else(|| HostError::missing_pack(pack))?;
        let contents = pack::decode(pack, &bytes)?;
        let wanted = live.iter().map(|index| {
            let content = contents.get(*index as usize);
            let content = content.ok_or_else(|| HostError::missing_pack(pack))?;
            Ok(((pack, *index), **content))
        });
        wanted.collect()
    }

    /// One new pack, and then its line in the journal.
    fn move_blocks(
        &self,
        holders: &Holders,
        blocks: &[(Remote, Content)],
    ) -> Result<usize, HostError> {
        let id = self.books_mut().new_object();
        let mut pack = Builder::new(id, blocks.len());
        let mut moves = HashMap::new();
        for ((from, content), index) in blocks.iter().zip(0..) {
            pack.push(content);
            moves.insert(*from, (id, index));
        }
        self.objects.put(&pack_key(id), &pack.finish())?;
        let moved = holders.of(moves);
        let mut books = self.books_mut();
        let record = books.moved(moved);
        self.change(&mut books, vec![record])?;
        Ok(blocks.len())
    }
}
