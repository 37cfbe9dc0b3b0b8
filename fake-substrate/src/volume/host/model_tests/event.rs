//! What may happen in a story.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};

use super::{BLOCKS, NAMES, SECTOR, SECTORS};
use crate::volume::store::map::BLOCK_BYTES;

#[derive(Debug, Clone)]
pub(super) enum Event {
    Create(usize, bool),
    /// The bits tell which blocks of the span are zeroes in it.
    Write(usize, Span, bool, u8),
    Zero(usize, Span, bool),
    Flush(usize),
    Fork(usize, usize, bool),
    PowerCut(usize, u64, bool),
    BeginFlush(usize),
    Upload,
    Commit,
    FlushPoint(usize),
    WriteBehind,
    Lose(usize),
    Rehome(usize),
    Destroy(usize, bool),
    Collect,
    Compact,
    Sweep,
    Checkpoint,
    Restart,
    Break(usize, bool),
    Grow(usize, u64),
}

/// Sectors of neighbouring blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) group: usize,
    pub(super) from: usize,
    pub(super) sectors: usize,
}

impl Span {
    pub(super) fn offset(self) -> u64 {
        u64::from(BLOCKS[self.group * 3]) * BLOCK_BYTES + (self.from * SECTOR) as u64
    }

    pub(super) fn places(self) -> impl Iterator<Item = (usize, usize)> {
        let sectors = self.from..self.from + self.sectors;
        sectors.map(move |sector| (self.group * 3 + sector / SECTORS, sector % SECTORS))
    }
}

pub(super) fn span() -> impl Strategy<Value = Span> {
    // Mostly whole blocks, as ext4 writes them.
    let whole = (0..2usize, 0..3usize, 1..=3usize)
        .prop_map(|(group, from, blocks)| (group, from * 8, (blocks.min(3 - from)) * 8));
    let any_sectors = (0..2usize, 0..24usize, 1..=24usize)
        .prop_map(|(group, from, sectors)| (group, from, sectors.min(24 - from)));
    prop_oneof![3 => whole, 1 => any_sectors].prop_map(|(group, from, sectors)| Span {
        group,
        from,
        sectors,
    })
}

/// Mostly none; mkfs and Postgres write pieces with zeroes in the middle.
fn zeroes() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0), 1 => 1..8u8]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let which = || 0..NAMES.len();
    let flag = any::<bool>;
    prop_oneof![
        3 => (which(), prop::bool::weighted(0.2)).prop_map(|(v, e)| Event::Create(v, e)),
        24 => (which(), span(), prop::bool::weighted(0.1), zeroes()).prop_map(|(v, s, f, z)| Event::Write(v, s, f, z)),
        4 => (which(), span(), flag()).prop_map(|(v, s, f)| Event::Zero(v, s, f)),
        8 => which().prop_map(Event::Flush),
        5 => (which(), which(), prop::bool::weighted(0.2)).prop_map(|(p, c, e)| Event::Fork(p, c, e)),
        4 => (which(), any::<u64>(), flag()).prop_map(|(v, s, t)| Event::PowerCut(v, s, t)),
        4 => which().prop_map(Event::BeginFlush),
        4 => Just(Event::Upload),
        4 => Just(Event::Commit),
        3 => which().prop_map(Event::FlushPoint),
        2 => Just(Event::WriteBehind),
        3 => which().prop_map(Event::Lose),
        4 => which().prop_map(Event::Rehome),
        2 => (which(), flag()).prop_map(|(v, k)| Event::Destroy(v, k)),
        2 => Just(Event::Collect),
        3 => Just(Event::Compact),
        3 => Just(Event::Sweep),
        1 => Just(Event::Checkpoint),
        2 => Just(Event::Restart),
        2 => (0..3usize, flag()).prop_map(|(p, l)| Event::Break(p, l)),
        2 => (which(), 0..4u64).prop_map(|(v, l)| Event::Grow(v, l)),
    ]
}
