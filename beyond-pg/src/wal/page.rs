//! The header of a WAL page: whose it is, and where in the WAL it belongs.

use std::fmt;

use wire::lsn::Lsn;

use super::SegmentSize;

/// Bytes of a page (`XLOG_BLCKSZ`).
pub(crate) const PAGE: usize = 8192;
/// The same for positions.
pub(crate) const PAGE_BYTES: u64 = 8192;
/// `XLOG_PAGE_MAGIC` of PostgreSQL 18.
pub(crate) const MAGIC: u16 = 0xD118;

pub(super) const SHORT: usize = 24;
pub(super) const LONG: usize = 40;

pub(super) const CONTINUES: u16 = 0x0001;
pub(super) const HAS_LONG: u16 = 0x0002;
pub(super) const OVERWRITES: u16 = 0x0008;
const ALL_FLAGS: u16 = 0x000F;

/// Whose WAL is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) system_id: u64,
    /// Pages of its ancestors come before its own.
    pub(crate) timeline: u32,
    pub(crate) segment: SegmentSize,
}

/// Why a page is not the next one of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// There is no such page: a file that is absent or short.
    Missing,
    /// Nothing but zeros at its beginning: preallocated.
    Empty,
    Magic(u16),
    /// It was written for another position: a recycled file.
    Address(Lsn),
    Timeline(u32),
    SystemId(u64),
    /// Flags, sizes or lengths that no page has.
    Malformed,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "there is no such page"),
            Self::Empty => write!(f, "the page is empty"),
            Self::Magic(magic) => write!(f, "the page has the magic number {magic:04X}"),
            Self::Address(at) => write!(f, "the page was written for {at}"),
            Self::Timeline(timeline) => write!(f, "the page is of timeline {timeline}"),
            Self::SystemId(id) => write!(f, "the page is of the system {id}"),
            Self::Malformed => write!(f, "the page has a malformed header"),
        }
    }
}

/// What a page says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) timeline: u32,
    /// How much of a record that began before is still to come.
    pub(super) remaining: Option<u32>,
    /// The record that began before was given up; one of its own begins here.
    pub(super) overwrites: bool,
    /// Where the page's content begins.
    pub(super) content: usize,
}

/// Four bytes of a page; `at` is one of our constants.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

/// Eight bytes of a page.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

impl Header {
    /// Reads the header of the page that should be at `at` of this stream.
    pub(super) fn read(page: &[u8; PAGE], at: Lsn, stream: &Stream) -> Result<Header, Foreign> {
        let magic = u16::from_le_bytes([page[0], page[1]]);
        let flags = u16::from_le_bytes([page[2], page[3]]);
        if page[..SHORT].iter().all(|byte| *byte == 0) {
            return Err(Foreign::Empty);
        }
        if magic != MAGIC {
            return Err(Foreign::Magic(magic));
        }
        let address = Lsn::new(u64_at(page, 8));
        if address != at {
            return Err(Foreign::Address(address));
        }
        let timeline = u32_at(page, 4);
        if timeline == 0 || timeline > stream.timeline {
            return Err(Foreign::Timeline(timeline));
        }
        let begins_segment = stream.segment.offset(at) == 0;
        let long = flags & HAS_LONG != 0;
        if flags & !ALL_FLAGS != 0 || begins_segment != long {
            return Err(Foreign::Malformed);
        }
        if long {
            check_long(page, stream)?;
        }
        let (continues, remaining) = (flags & CONTINUES != 0, u32_at(page, 16));
        if continues != (remaining > 0) {
            return Err(Foreign::Malformed);
        }
        Ok(Header {
            timeline,
            remaining: continues.then_some(remaining),
            overwrites: flags & OVERWRITES != 0,
            content: if long { LONG } else { SHORT },
        })
    }
}

fn check_long(page: &[u8; PAGE], stream: &Stream) -> Result<(), Foreign> {
    let system_id = u64_at(page, 24);
    if system_id != stream.system_id {
        return Err(Foreign::SystemId(system_id));
    }
    let sizes = (u64::from(u32_at(page, 32)), u64::from(u32_at(page, 36)));
    if sizes == (stream.segment.bytes(), PAGE_BYTES) {
        Ok(())
    } else {
        Err(Foreign::Malformed)
    }
}
