//! Random stories of several volumes, told to a host and to a model that knows only the promises.
//! After every event each volume must read as a state that the promises allow.

mod event;
mod flight;
mod promise;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::{ProptestConfig, prop, proptest};

use super::{Host, HostError, NewFork};
use crate::volume::VolumeName;
use crate::volume::backing::memory::{Fault, MemoryArena, MemoryJournal, MemoryObjects};
use crate::volume::store::Handle;
use crate::volume::store::compact::Policy;
use crate::volume::store::cut::Tear;
use crate::volume::store::decide::{Children, NewVolume};
use crate::volume::store::map::{BLOCK, BLOCK_BYTES};
use crate::volume::store::refused::Refused;
use event::{Event, Span, event};
use flight::Flight;
use promise::{Local, Promise};

/// The blocks that stories are about: the two sides of a border between leaves, and three others.
const BLOCKS: [u32; 6] = [0, 1, 2, 511, 512, 513];
const SECTOR: usize = 512;
const SECTORS: usize = BLOCK / SECTOR;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Writes wait from here on; few, so that stories come to it.
const MOST_AT_STAKE: u64 = 12;
/// A write that begins below the bound may end above it.
const LONGEST_WRITE: u64 = 3;

/// Stories are short and packs small: whatever is live is rewritten, so that all of it is tried.
const EAGER: Policy = Policy {
    live_percent: 101,
    packs: 4,
    blocks: 8,
};

/// One number per sector: which write it shows. 0 is a sector that nobody wrote.
type Content = [u32; SECTORS];
type State = [Content; BLOCKS.len()];

struct Story {
    arena: MemoryArena,
    journal: MemoryJournal,
    objects: MemoryObjects,
    host: Host,
    handles: BTreeMap<usize, Handle>,
    promises: BTreeMap<usize, Promise>,
    flight: Option<Flight>,
    written: u32,
    now_ms: u64,
}

impl Story {
    fn begin() -> Self {
        let (arena, journal, objects) = Default::default();
        Self {
            host: open(&arena, &journal, &objects),
            arena,
            journal,
            objects,
            handles: BTreeMap::new(),
            promises: BTreeMap::new(),
            flight: None,
            written: 0,
            now_ms: 1000,
        }
    }

    fn local(&mut self, volume: usize) -> Option<&mut Local> {
        self.promises.get_mut(&volume)?.here.as_mut()
    }

    fn handle(&mut self, volume: usize) -> Handle {
        let host = &self.host;
        let handle = self.handles.entry(volume);
        handle
            .or_insert_with(|| host.attach(&name(volume)).unwrap())
            .clone()
    }

    fn let_go(&mut self, volume: usize) {
        if self.handles.remove(&volume).is_some() {
            self.host.detach(&name(volume)).unwrap();
        }
    }

    fn tell(&mut self, event: &Event) {
        self.now_ms += 1;
        match *event {
            Event::Create(volume, ephemeral) => self.create(volume, ephemeral),
            Event::Write(volume, span, fua, zeroes) => self.write(volume, span, fua, zeroes),
            Event::Zero(volume, span, fua) => self.zero(volume, span, fua),
            Event::Flush(volume) => {
                if self.local(volume).is_some() {
                    let handle = self.handle(volume);
                    self.host.flush(&handle).unwrap();
                    let local = self.local(volume).unwrap();
                    (0..BLOCKS.len()).for_each(|block| local.sync(block));
                }
            }
            Event::Fork(parent, child, ephemeral) => self.fork(parent, child, ephemeral),
            Event::PowerCut(volume, seed, torn) => self.power_cut(volume, seed, torn),
            Event::BeginFlush(volume) => self.begin_flush(volume),
            Event::Upload => self.upload(),
            Event::Commit => self.commit(),
            Event::FlushPoint(volume) => self.flush_point(volume),
            Event::WriteBehind => self.write_behind(),
            Event::Lose(volume) => {
                let lost = self.host.lose(&name(volume));
                assert_eq!(lost.is_ok(), self.local(volume).is_some(), "{lost:?}");
                self.handles.remove(&volume);
                if let Some(promise) = self.promises.get_mut(&volume) {
                    promise.here = None;
                    promise.at_stake = 0;
                }
            }
            Event::Rehome(volume) => self.rehome(volume),
            Event::Destroy(volume, keep) => self.destroy(volume, keep),
            // In the daemon no collection runs while a flush is between upload and commit.
            Event::Collect if self.flight.is_none() => {
                // A deletion that is refused is tried again by the next one.
                self.host.collect().ok();
            }
            Event::Compact if self.flight.is_none() => {
                self.host.collect_and_compact(EAGER).ok();
            }
            Event::Collect | Event::Compact => {}
            Event::Sweep => {
                let dead = self.host.books_mut().sweep();
                for slot in dead {
                    self.host.discard(&[slot; 64]).unwrap();
                    crate::volume::backing::Arena::discard(&self.arena, slot.offset(), BLOCK_BYTES)
                        .unwrap();
                }
            }
            Event::Checkpoint => self.host.checkpoint().unwrap(),
            Event::Restart => self.restart(),
            // Some of these are leaves more, and those that are less than before must be refused.
            Event::Grow(volume, leaves) => {
                let bytes = (600 + leaves * 512) * BLOCK_BYTES;
                let grown = self.host.grow(&name(volume), bytes);
                assert!(grown.is_err() || self.local(volume).is_some());
            }
            Event::Break(prefix, lose_reply) => {
                let prefix = ["packs/", "tables/", "roots/"][prefix];
                let fault = match lose_reply {
                    true => Fault::LoseReply,
                    false => Fault::Refuse,
                };
                self.objects.break_next(prefix, fault);
            }
        }
        self.check();
    }

    fn create(&mut self, volume: usize, ephemeral: bool) {
        let created = self.host.create(
            NewVolume {
                name: name(volume),
                bytes: 600 * BLOCK_BYTES,
                ephemeral,
                expires_ms: None,
            },
            self.now_ms,
        );
        match created {
            Ok(()) => {
                let promise = Promise {
                    ephemeral,
                    parent: None,
                    here: Some(Local::holding(State::default())),
                    points: vec![None],
                    at_stake: 0,
                };
                assert!(self.promises.insert(volume, promise).is_none());
            }
            Err(HostError::Refused(Refused::Exists(_))) => {
                assert!(self.promises.contains_key(&volume));
            }
            Err(error) => assert!(matches!(error, HostError::Objects(_)), "{error}"),
        }
    }

    fn write(&mut self, volume: usize, span: Span, fua: bool, zeroes: u8) {
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

    fn zero(&mut self, volume: usize, span: Span, fua: bool) {
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

    fn fork(&mut self, parent: usize, child: usize, ephemeral: bool) {
        let forked = self.host.fork(
            &NewFork {
                parent: name(parent),
                child: name(child),
                ephemeral,
                expires_ms: None,
            },
            self.now_ms,
        );
        if let Err(error) = forked {
            let may = self.local(parent).is_some() && !self.promises.contains_key(&child);
            // A name whose root could not be removed yet is not free.
            let buried = self
                .host
                .books()
                .doomed()
                .all(|doomed| *doomed != name(child));
            assert!(!may || !buried, "{error}");
            return;
        }
        let state = self
            .local(parent)
            .expect("a fork of what is not here")
            .current;
        let promise = Promise {
            ephemeral,
            parent: Some(parent),
            here: Some(Local::holding(state)),
            points: vec![None],
            at_stake: 0,
        };
        assert!(self.promises.insert(child, promise).is_none());
    }

    fn power_cut(&mut self, volume: usize, seed: u64, torn: bool) {
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

    fn rehome(&mut self, volume: usize) {
        let rehomed = self.host.rehome(&name(volume));
        if let Err(error) = rehomed {
            let Some(promise) = self.promises.get(&volume) else {
                return;
            };
            let excused = matches!(error, HostError::Objects(_)) || promise.here.is_some();
            assert!(
                excused || promise.points.contains(&None) || promise.ephemeral,
                "{error}"
            );
            return;
        }
        let state = self.read(volume);
        let promise = self.promises.get_mut(&volume).unwrap();
        assert!(!promise.ephemeral, "object storage had an ephemeral volume");
        assert!(
            promise.points.contains(&Some(state)),
            "{state:?} is no flush point of {promise:?}"
        );
        promise.points = vec![Some(state)];
        promise.at_stake = 0;
        promise.here = Some(Local::holding(state));
    }

    fn destroy(&mut self, volume: usize, keep: bool) {
        let children = match keep {
            true => Children::Keep,
            false => Children::Forbid,
        };
        self.let_go(volume);
        let has_forks = self
            .promises
            .values()
            .any(|other| other.parent == Some(volume));
        let destroyed = self.host.destroy(&name(volume), children);
        if has_forks && !keep {
            let refused = matches!(
                destroyed,
                Err(HostError::Refused(Refused::HasChildren { .. }))
            );
            // A lost volume that is gone from the books has no forks there.
            assert!(
                refused || !self.promises.contains_key(&volume),
                "{destroyed:?}"
            );
            return;
        }
        // Refused by object storage it is gone all the same; its root goes later.
        self.promises.remove(&volume);
        for other in self.promises.values_mut() {
            other.parent.take_if(|parent| *parent == volume);
        }
    }

    /// SIGKILL of the host's process: what was synced stays, what was not is gone.
    fn restart(&mut self) {
        self.handles.clear();
        self.flight = None;
        self.host = open(&self.arena, &self.journal, &self.objects);
        for promise in self.promises.values_mut() {
            promise.at_stake = 0;
            if let Some(local) = &mut promise.here {
                *local = Local::holding(local.synced);
            }
        }
    }

    fn read(&mut self, volume: usize) -> State {
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

    fn check(&mut self) {
        let volumes: Vec<_> = self.promises.keys().copied().collect();
        for volume in volumes {
            let Some(local) = self.local(volume) else {
                continue;
            };
            let promised = local.current;
            assert_eq!(self.read(volume), promised, "volume {}", NAMES[volume]);
        }
        let books = self.host.books();
        let here: Vec<_> = books
            .volumes()
            .map(|volume| volume.meta.name.to_string())
            .collect();
        let promised: Vec<_> = self.promises.keys().map(|volume| NAMES[*volume]).collect();
        assert_eq!(here, promised);
    }

    /// Every host is lost, everything that can be is rehomed; then everything is destroyed, and
    /// nothing is left of it.
    fn end(mut self) {
        self.flight = None;
        self.restart();
        self.objects.mend();
        let volumes: Vec<_> = self.promises.keys().copied().collect();
        for volume in volumes.iter().copied() {
            self.tell(&Event::Lose(volume));
            self.tell(&Event::Rehome(volume));
        }
        self.tell(&Event::Collect);
        for volume in volumes {
            self.tell(&Event::Destroy(volume, true));
        }
        self.host.collect().unwrap();
        assert_eq!(self.objects.keys(), Vec::<String>::new());
        assert_eq!(self.host.books().slots.figures().0, 0, "slots are left");
    }
}

fn name(volume: usize) -> VolumeName {
    NAMES[volume].parse().unwrap()
}

fn open(arena: &MemoryArena, journal: &MemoryJournal, objects: &MemoryObjects) -> Host {
    Host::open(
        Box::new(arena.clone()),
        Box::new(journal.clone()),
        Arc::new(objects.clone()),
        7,
    )
    .unwrap()
    .bounded(MOST_AT_STAKE)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_volume_reads_as_its_promises_allow(
        events in prop::collection::vec(event(), 1..80)
    ) {
        let mut story = Story::begin();
        story.tell(&Event::Create(0, false));
        for event in events {
            story.tell(&event);
        }
        story.end();
    }
}
