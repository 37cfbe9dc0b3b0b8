//! What a guest does to its disk: reads, writes, zeroes, flushes.

use super::fetch::Attempt;
use super::{Host, HostError};
use crate::volume::store::map::{BLOCK, BLOCK_BYTES, BlockNo, Entry, Slot};
use crate::volume::store::refused::Refused;
use crate::volume::store::{Handle, Store};

/// Freed slots side by side from which on the arena's file gives the space back.
const WORTH_DISCARDING: usize = 64;
const ZEROES: [u8; BLOCK] = [0; BLOCK];

impl Host {
    /// Fills `buffer` from `offset`.
    pub fn read(&self, handle: &Handle, offset: u64, buffer: &mut [u8]) -> Result<(), HostError> {
        self.attempt(|| self.attempt_read(handle, offset, buffer))
    }

    /// The same when nothing has to be fetched for it; `false`, and nothing is read, otherwise.
    pub fn read_here(
        &self,
        handle: &Handle,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<bool, HostError> {
        let attempt = self.attempt_read(handle, offset, buffer)?;
        Ok(matches!(attempt, Attempt::Done(())))
    }

    fn attempt_read(
        &self,
        handle: &Handle,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<Attempt<()>, HostError> {
        let books = self.books();
        let disk = books.disk(handle)?;
        in_range(handle, disk.current().blocks(), offset, buffer.len() as u64)?;
        self.try_read(&books, offset, buffer, |block| disk.current().get(block))
    }

    /// Writes `data` at `offset` into the volatile cache; with `fua` it is durable on return.
    pub fn write(
        &self,
        handle: &Handle,
        offset: u64,
        data: &[u8],
        fua: bool,
    ) -> Result<(), HostError> {
        if data.is_empty() {
            return Ok(());
        }
        self.checked(handle, offset, data.len() as u64)?;
        self.wait_for_room(handle)?;
        self.write_bytes(handle, offset, data, fua)
    }

    /// A write that has been let in.
    fn write_bytes(
        &self,
        handle: &Handle,
        offset: u64,
        data: &[u8],
        fua: bool,
    ) -> Result<(), HostError> {
        if data.is_empty() {
            return Ok(());
        }
        let (first, last) = blocks(offset, data.len());
        let mut whole = vec![0; (last - first + 1) as usize * BLOCK];
        let from = within(offset);
        whole[from..from + data.len()].copy_from_slice(data);
        self.attempt(|| {
            let mut books = self.books_mut();
            let disk = books.disk(handle)?;
            // The first and the last block keep what lies outside.
            let end = from + data.len();
            for part in [0..from, end..whole.len()] {
                let at = u64::from(first) * BLOCK_BYTES + part.start as u64;
                let part = &mut whole[part];
                let read = self.try_read(&books, at, part, |block| disk.current().get(block))?;
                if let Attempt::Fetch(remote) = read {
                    return Ok(Attempt::Fetch(remote));
                }
            }
            let written = self.put(&mut books, first, &whole)?;
            books.write(handle, written)?;
            self.settle(&mut books, handle, fua.then_some(first..=last))?;
            Ok(Attempt::Done(()))
        })
    }

    /// Zeroes a range; whole blocks of it become holes. It waits for room once, whatever its parts: whoever has
    /// asked for room before does not wait in the middle.
    pub fn zero(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
        fua: bool,
    ) -> Result<(), HostError> {
        self.checked(handle, offset, length)?;
        self.wait_for_room(handle)?;
        let end = offset + length;
        let first_whole = offset.next_multiple_of(BLOCK_BYTES);
        let end_whole = end - end % BLOCK_BYTES;
        if first_whole >= end_whole {
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(2 * BLOCK);
            return self.write_bytes(handle, offset, &vec![0; length], fua);
        }
        let edge = |from: u64, to: u64| {
            let zeroes = &ZEROES[..usize::try_from(to - from).unwrap_or(BLOCK)];
            self.write_bytes(handle, from, zeroes, fua)
        };
        edge(offset, first_whole)?;
        edge(end_whole, end)?;
        let mut books = self.books_mut();
        let map = books.disk(handle)?.current();
        let number = |at: u64| u32::try_from(at / BLOCK_BYTES).unwrap_or(u32::MAX);
        let range = number(first_whole)..number(end_whole);
        let holes = map.written(range.clone()).map(|block| (block, Entry::Hole));
        let holes: Vec<_> = holes.collect();
        books.write(handle, holes)?;
        let whole = range.start..=range.end.saturating_sub(1);
        self.settle(&mut books, handle, fua.then_some(whole))
    }

    fn checked(&self, handle: &Handle, offset: u64, length: u64) -> Result<(), HostError> {
        let books = self.books();
        let blocks = books.disk(handle)?.current().blocks();
        Ok(in_range(handle, blocks, offset, length)?)
    }

    /// A guest's FLUSH: everything that was written is durable on this host.
    pub fn flush(&self, handle: &Handle) -> Result<(), HostError> {
        let mut books = self.books_mut();
        match books.barrier(handle)? {
            Some(record) => self.change(&mut books, vec![record]),
            None => Ok(()),
        }
    }

    /// After a write: FUA, and a disk whose cache is full empties it.
    fn settle(
        &self,
        books: &mut Store,
        handle: &Handle,
        fua: Option<std::ops::RangeInclusive<BlockNo>>,
    ) -> Result<(), HostError> {
        let record = if books.disk(handle)?.cache_is_full() {
            books.barrier(handle)?
        } else if let Some(blocks) = fua {
            books.force_unit_access(handle, blocks)?
        } else {
            None
        };
        match record {
            Some(record) => self.change(books, vec![record]),
            None => Ok(()),
        }
    }

    /// Writes whole blocks into free slots. Zeroes need none.
    pub(super) fn put(
        &self,
        books: &mut Store,
        first: BlockNo,
        whole: &[u8],
    ) -> Result<Vec<(BlockNo, Entry)>, HostError> {
        let (contents, _none) = whole.as_chunks::<BLOCK>();
        let full = contents
            .iter()
            .filter(|content| **content != ZEROES)
            .count();
        let slots = books.slots.take(full)?;
        let mut entries = Vec::with_capacity(contents.len());
        let mut run = Run::default();
        let mut free = slots.iter();
        let mut outcome = Ok(());
        for (content, block) in contents.iter().zip(first..) {
            let entry = match free.as_slice().first() {
                Some(slot) if *content != ZEROES => {
                    free.next();
                    let at = (block - first) as usize * BLOCK;
                    if !run.extend(slot.offset(), at, BLOCK) {
                        outcome = outcome.and_then(|()| self.write_run(&run, whole));
                        run = Run::new(slot.offset(), at, BLOCK);
                    }
                    Entry::Local(*slot)
                }
                _ => Entry::Hole,
            };
            entries.push((block, entry));
        }
        if let Err(error) = outcome.and_then(|()| self.write_run(&run, whole)) {
            slots
                .into_iter()
                .for_each(|slot| books.slots.give_back(slot));
            return Err(error);
        }
        Ok(entries)
    }

    fn write_run(&self, run: &Run, whole: &[u8]) -> Result<(), HostError> {
        if run.length == 0 {
            return Ok(());
        }
        let written = self
            .arena
            .write(run.offset, &whole[run.at..run.at + run.length]);
        written.map_err(HostError::local("write", "arena"))
    }

    pub(super) fn try_read(
        &self,
        books: &Store,
        offset: u64,
        buffer: &mut [u8],
        entry: impl Fn(BlockNo) -> Entry,
    ) -> Result<Attempt<()>, HostError> {
        let mut run = Run::default();
        let mut at = 0;
        while at < buffer.len() {
            let place = offset + at as u64;
            let length = (BLOCK - within(place)).min(buffer.len() - at);
            let slot = match entry(blocks(place, 1).0) {
                Entry::Hole => None,
                Entry::Local(slot) => Some(slot),
                Entry::Packed(pack, index) => match books.slots.fetched((pack, index)) {
                    Some(slot) => Some(slot),
                    None => return Ok(Attempt::Fetch((pack, index))),
                },
            };
            let source = slot.map(|slot| slot.offset() + within(place) as u64);
            match source {
                None => buffer[at..at + length].fill(0),
                Some(source) if run.extend(source, at, length) => {}
                Some(source) => {
                    self.read_run(&run, buffer)?;
                    run = Run::new(source, at, length);
                }
            }
            at += length;
        }
        self.read_run(&run, buffer)?;
        Ok(Attempt::Done(()))
    }

    fn read_run(&self, run: &Run, buffer: &mut [u8]) -> Result<(), HostError> {
        if run.length == 0 {
            return Ok(());
        }
        let read = self
            .arena
            .read(run.offset, &mut buffer[run.at..run.at + run.length]);
        read.map_err(HostError::local("read", "arena"))
    }

    /// Gives the arena's space back where much of it lies side by side.
    pub(super) fn discard(&self, slots: &[Slot]) -> Result<(), HostError> {
        for run in slots.chunk_by(|one, next| one.0 + 1 == next.0) {
            if run.len() >= WORTH_DISCARDING {
                let length = run.len() as u64 * BLOCK_BYTES;
                let discarded = self.arena.discard(run[0].offset(), length);
                discarded.map_err(HostError::local("discard a part of", "arena"))?;
            }
        }
        Ok(())
    }
}

/// Bytes that lie side by side in the arena and in a buffer.
#[derive(Debug, Default)]
struct Run {
    offset: u64,
    at: usize,
    length: usize,
}

impl Run {
    fn new(offset: u64, at: usize, length: usize) -> Self {
        Self { offset, at, length }
    }

    fn extend(&mut self, offset: u64, at: usize, length: usize) -> bool {
        let follows = self.length > 0
            && self.offset + self.length as u64 == offset
            && self.at + self.length == at;
        if follows {
            self.length += length;
        }
        follows
    }
}

fn within(offset: u64) -> usize {
    usize::try_from(offset % BLOCK_BYTES).unwrap_or_default()
}

/// First and last block of a range that is not empty.
fn blocks(offset: u64, length: usize) -> (BlockNo, BlockNo) {
    let number = |at: u64| u32::try_from(at / BLOCK_BYTES).unwrap_or(u32::MAX);
    let last = offset.saturating_add(length as u64).saturating_sub(1);
    (number(offset), number(last))
}

fn in_range(handle: &Handle, blocks: u32, offset: u64, length: u64) -> Result<(), Refused> {
    let end = offset.saturating_add(length);
    if end <= u64::from(blocks) * BLOCK_BYTES {
        return Ok(());
    }
    Err(Refused::Range {
        volume: handle.volume.clone(),
        offset,
        end,
    })
}
