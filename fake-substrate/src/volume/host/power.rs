//! What a power cut does to a disk.

use super::fetch::Attempt;
use super::{Host, HostError};
use crate::volume::VolumeName;
use crate::volume::store::Store;
use crate::volume::store::cut::{Fate, Tear};
use crate::volume::store::map::{BLOCK, Entry};
use crate::volume::store::record::Record;

/// What a power cut did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCut {
    /// The choice it made; the same again on the same cache is the same cut.
    pub seed: u64,
    /// Blocks that were not synced.
    pub unsynced: usize,
    /// How many of them did not simply fall back to what was synced.
    pub survived: usize,
    /// How many of those came out torn.
    pub torn: usize,
}

impl Host {
    /// Cuts the power of a volume: its attachment ends, and of what was not synced a choice by
    /// `seed` is left.
    pub fn power_cut(
        &self,
        volume: &VolumeName,
        seed: u64,
        tear: Tear,
    ) -> Result<PowerCut, HostError> {
        self.attempt(|| {
            let mut books = self.books_mut();
            let fates = books.power_cut(volume, seed, tear)?;
            let mut blocks = Vec::with_capacity(fates.len());
            let mut torn = 0;
            for (block, fate) in fates {
                let entry = match fate {
                    Fate::Whole(entry) => entry,
                    Fate::Torn {
                        under,
                        over,
                        sectors,
                    } => match self.tear(&mut books, under, over, sectors)? {
                        Attempt::Done(entry) => {
                            torn += 1;
                            entry
                        }
                        // What was torn so far is swept: nothing mentions it.
                        Attempt::Fetch(remote) => return Ok(Attempt::Fetch(remote)),
                    },
                };
                blocks.push((block, entry));
            }
            let cut = PowerCut {
                seed,
                unsynced: books.here(volume)?.disk.unsynced().len(),
                survived: blocks.len(),
                torn,
            };
            let volume = volume.clone();
            self.change(&mut books, vec![Record::Cut { volume, blocks }])?;
            tracing::info!(?cut, "power cut");
            Ok(Attempt::Done(cut))
        })
    }

    fn tear(
        &self,
        books: &mut Store,
        under: Entry,
        over: Entry,
        sectors: u8,
    ) -> Result<Attempt<Entry>, HostError> {
        let mut mixed = [0; BLOCK];
        let mut new = [0; BLOCK];
        for (entry, buffer) in [(under, &mut mixed), (over, &mut new)] {
            if let Attempt::Fetch(remote) = self.try_read(books, 0, buffer, |_block| entry)? {
                return Ok(Attempt::Fetch(remote));
            }
        }
        let (mixed_sectors, _none) = mixed.as_chunks_mut::<512>();
        let (new_sectors, _none) = new.as_chunks::<512>();
        for (bit, (mixed, new)) in mixed_sectors.iter_mut().zip(new_sectors).enumerate() {
            if sectors & (1 << bit) != 0 {
                *mixed = *new;
            }
        }
        let written = self.put(books, 0, &mixed)?;
        Ok(Attempt::Done(
            written.first().map_or(Entry::Hole, |(_, entry)| *entry),
        ))
    }
}
