//! What guests do to their disks, and what they read.

use super::event::Span;
use super::promise::Local;
use super::{BLOCKS, LONGEST_WRITE, MOST_AT_STAKE, SECTOR, State, Story, name};
use crate::volume::host::HostError;
use crate::volume::store::cut::Tear;
use crate::volume::store::map::{BLOCK, BLOCK_BYTES};
use crate::volume::store::refused::Refused;

impl Story {
    pub(super) fn write(&mut self, volume: usize, span: Span, fua: bool, zeroes: u8) {
        if self.local(volume).is_none() {
            return;
        }
        if !self.has_room(volume) {
            return;
        }
        self.written += 1;
        let written = self.written;
        let number = |block: usize| match zeroes & (1 << (block % 3)) {
            0 => written,
            _ => 0,
        };
        let sectors = span.places().map(|(block, _sector)| number(block));
        let data: Vec<u8> = sectors
            .flat_map(|number| number.to_le_bytes().repeat(SECTOR / 4))
            .collect();
        let handle = self.handle(volume);
        self.host.write(&handle, span.offset(), &data, fua).unwrap();
        self.has_written(volume, span, fua, number);
    }

    pub(super) fn zero(&mut self, volume: usize, span: Span, fua: bool) {
        if self.local(volume).is_none() {
            return;
        }
        if !self.has_room(volume) {
            return;
        }
        let handle = self.handle(volume);
        let bytes = (span.sectors * SECTOR) as u64;
        self.host.zero(&handle, span.offset(), bytes, fua).unwrap();
        self.has_written(volume, span, fua, |_block| 0);
    }

    /// Nobody else is there to make room, so the story does not wait for it.
    fn has_room(&mut self, volume: usize) -> bool {
        let handle = self.handle(volume);
        let has_room = self.host.has_room(&handle).unwrap();
        assert!(has_room || !self.promises[&volume].ephemeral);
        has_room
    }

    fn has_written(&mut self, volume: usize, span: Span, fua: bool, number: impl Fn(usize) -> u32) {
        let local = self.local(volume).unwrap();
        let mut touched = Vec::new();
        for (block, sector) in span.places() {
            local.current[block][sector] = number(block);
            touched.push(block);
        }
        touched.dedup();
        let at_stake = touched.iter().filter(|block| number(**block) != 0).count() as u64;
        for block in touched {
            local.unsynced[block].push(local.current[block]);
            if fua {
                local.sync(block);
            }
        }
        let promise = self.promises.get_mut(&volume).unwrap();
        // Zeroes over zeroes write nothing, and what wrote nothing may be told again and again.
        if !promise.ephemeral {
            promise.at_stake += at_stake;
        }
        assert!(
            promise.at_stake < MOST_AT_STAKE + LONGEST_WRITE,
            "{} blocks at stake",
            promise.at_stake
        );
    }

    pub(super) fn power_cut(&mut self, volume: usize, seed: u64, torn: bool) {
        if self.local(volume).is_none() {
            return;
        }
        let tear = if torn { Tear::Sector } else { Tear::Block };
        let dead = self.handle(volume);
        self.host.power_cut(&name(volume), seed, tear).unwrap();
        self.handles.remove(&volume);
        // The machine that had it may go on writing for a moment; nothing of it counts.
        let refused = self.host.write(&dead, 0, &[9; BLOCK], true);
        assert!(matches!(
            refused,
            Err(HostError::Refused(Refused::Revoked(_)))
        ));
        let after = self.read(volume);
        let local = self.local(volume).unwrap();
        for (block, content) in after.iter().enumerate() {
            assert!(
                local.may_become(block, *content, torn),
                "block {block} became {content:?}: {local:?}"
            );
        }
        *local = Local::holding(after);
    }

    pub(super) fn read(&mut self, volume: usize) -> State {
        let handle = self.handle(volume);
        let mut state = State::default();
        for (content, block) in state.iter_mut().zip(BLOCKS) {
            let mut bytes = [0; BLOCK];
            self.host
                .read(&handle, u64::from(block) * BLOCK_BYTES, &mut bytes)
                .unwrap();
            let (sectors, _none) = bytes.as_chunks::<SECTOR>();
            for (number, sector) in content.iter_mut().zip(sectors) {
                let (words, _none) = sector.as_chunks::<4>();
                *number = u32::from_le_bytes(words[0]);
                assert!(
                    words[1..] == words[..words.len() - 1],
                    "a sector of two writes"
                );
            }
        }
        state
    }
}
