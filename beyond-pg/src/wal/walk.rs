//! Where valid WAL ends: pages and records are followed as recovery follows them, until one is not
//! what it should be.

use std::fmt;
use std::io;

use wire::lsn::Lsn;

use super::page::{Foreign, Header, PAGE, PAGE_BYTES, Stream, u32_at, u64_at};

/// Where pages are read from.
pub(crate) trait Pages {
    /// Fills `page` with what lies at `at`, the beginning of a page; `false` when nothing does.
    fn read(&mut self, at: Lsn, page: &mut [u8; PAGE]) -> io::Result<bool>;
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// A record begins here: a redo point.
    Record(Lsn),
    /// A segment begins here; a record of the one before may reach into it.
    Segment(Lsn),
}

/// How far WAL is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The end of the last whole record.
    pub(crate) records: Lsn,
    /// The end of the first one.
    pub(crate) first: Option<Lsn>,
    /// The end of what is there of the record behind it; nothing of it was ever acknowledged.
    pub(crate) bytes: Lsn,
    /// The record or page that is not valid, and why.
    pub(crate) why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Page(Lsn, Foreign),
    /// No record begins there.
    NoRecord(Lsn),
    /// A record whose words about itself or about the one before cannot be.
    Malformed(Lsn),
    Checksum(Lsn),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(at, foreign) => write!(f, "{foreign}, at {at}"),
            Self::NoRecord(at) => write!(f, "no record begins at {at}"),
            Self::Malformed(at) => write!(f, "the record at {at} has a malformed header"),
            Self::Checksum(at) => write!(f, "the checksum of the record at {at} is wrong"),
        }
    }
}

const HEADER: usize = 24;
/// What of its own header a record's checksum covers, and comes last.
const CHECKED: usize = 20;
/// `XLogRecordMaxSize`.
const LONGEST: u32 = 1020 << 20;
/// `XLOG_SWITCH` of the resource manager `XLOG`, without the four bits that are any record's.
const SWITCH: (u8, u8) = (0, 0x40);

/// Follows the WAL from `begin` on. An error is one of the source; whatever the bytes are, there is an end.
pub(crate) fn walk(pages: &mut impl Pages, stream: &Stream, begin: Begin) -> io::Result<End> {
    let mut walk = Walk {
        pages,
        stream,
        page: Box::new([0; PAGE]),
        current: None,
        timeline: 0,
    };
    let (Begin::Record(start) | Begin::Segment(start)) = begin;
    let mut bytes = start;
    let first = match begin {
        Begin::Record(start) => Ok(start),
        Begin::Segment(start) => walk.skip_rest(start, &mut bytes),
    };
    let mut next = match first {
        Ok(first) => first,
        Err(stop) => return stop.end(start, None, bytes),
    };
    let (mut previous, mut end_of_first) = (None, None);
    loop {
        bytes = next;
        match walk.record(next, previous, &mut bytes) {
            Ok(record) => {
                previous = Some(record.start);
                next = record.end;
                end_of_first.get_or_insert(next);
            }
            Err(Stop::Overwritten(page)) => next = page,
            Err(stop) => return stop.end(next, end_of_first, bytes),
        }
    }
}

struct Record {
    start: Lsn,
    end: Lsn,
}

enum Stop {
    Io(io::Error),
    End(Why),
    /// The record was given up; the page that says so begins with another.
    Overwritten(Lsn),
}

impl Stop {
    fn end(self, records: Lsn, first: Option<Lsn>, bytes: Lsn) -> io::Result<End> {
        let (why, bytes) = match self {
            Self::Io(error) => return Err(error),
            Self::End(why @ Why::Page(..)) => (why, bytes),
            // What is there of it is worth nothing.
            Self::End(why) => (why, records),
            Self::Overwritten(page) => (Why::NoRecord(page), bytes),
        };
        Ok(End {
            records,
            first,
            bytes,
            why,
        })
    }
}

/// Positions beyond the last one that there can be end the WAL as a missing page does.
fn further(at: Lsn, bytes: u64) -> Result<Lsn, Stop> {
    at.checked_add(bytes)
        .ok_or(Stop::End(Why::Page(at, Foreign::Missing)))
}

struct Walk<'a, P> {
    pages: &'a mut P,
    stream: &'a Stream,
    page: Box<[u8; PAGE]>,
    current: Option<(Lsn, Header)>,
    /// Of the page before: timelines only ever rise.
    timeline: u32,
}

impl<P: Pages> Walk<'_, P> {
    /// Makes the page that begins at `at` the current one.
    fn turn_to(&mut self, at: Lsn) -> Result<Header, Stop> {
        if let Some((current, header)) = self.current
            && current == at
        {
            return Ok(header);
        }
        self.current = None;
        let foreign = |foreign| Stop::End(Why::Page(at, foreign));
        if !self.pages.read(at, &mut self.page).map_err(Stop::Io)? {
            return Err(foreign(Foreign::Missing));
        }
        let header = Header::read(&self.page, at, self.stream).map_err(foreign)?;
        if header.timeline < self.timeline {
            return Err(foreign(Foreign::Timeline(header.timeline)));
        }
        self.timeline = header.timeline;
        self.current = Some((at, header));
        Ok(header)
    }

    /// Where the first record begins of a segment that begins at `start`.
    fn skip_rest(&mut self, start: Lsn, bytes: &mut Lsn) -> Result<Lsn, Stop> {
        let mut at = start;
        let mut expected: Option<u32> = None;
        loop {
            let header = self.turn_to(at)?;
            let room = PAGE - header.content;
            let remaining = match (header.remaining, expected) {
                (None, None) => return Ok(at),
                (None, Some(_)) if header.overwrites => return Ok(at),
                (Some(remaining), None) => remaining,
                (Some(remaining), Some(left)) if left == remaining => remaining,
                _ => return Err(Stop::End(Why::Page(at, Foreign::Malformed))),
            };
            let left = (remaining as usize).saturating_sub(room);
            if left == 0 {
                return further(at, aligned((header.content + remaining as usize) as u64));
            }
            expected = u32::try_from(left).ok();
            at = further(at, PAGE_BYTES)?;
            *bytes = at;
        }
    }

    /// Reads the record at `at`, or behind the page header that begins there. `bytes` says how far it
    /// is there when it is not there whole.
    fn record(&mut self, at: Lsn, previous: Option<Lsn>, bytes: &mut Lsn) -> Result<Record, Stop> {
        let page = Lsn::new(at.get() - at.get() % PAGE_BYTES);
        let header = self.turn_to(page)?;
        let start = match at == page {
            true if header.remaining.is_some() => return Err(Stop::End(Why::Malformed(at))),
            true => further(at, header.content as u64)?,
            false => at,
        };
        let offset = usize::try_from(start.get() % PAGE_BYTES).unwrap_or(PAGE);
        if offset < header.content || offset % 8 != 0 {
            return Err(Stop::End(Why::Malformed(at)));
        }
        let length = u32_at(&*self.page, offset);
        if length == 0 {
            return Err(Stop::End(Why::NoRecord(start)));
        }
        if (length as usize) < HEADER || length > LONGEST {
            return Err(Stop::End(Why::Malformed(start)));
        }
        let mut gathered = Gathered::new(start, length, previous);
        self.gather(page, offset, &mut gathered, bytes)
    }

    fn gather(
        &mut self,
        mut page: Lsn,
        mut offset: usize,
        record: &mut Gathered,
        bytes: &mut Lsn,
    ) -> Result<Record, Stop> {
        loop {
            let take = record.left().min(PAGE - offset);
            record.add(&self.page[offset..offset + take])?;
            if record.left() == 0 {
                let end = further(page, aligned((offset + take) as u64))?;
                return record.finish(end, self.stream);
            }
            page = further(page, PAGE_BYTES)?;
            *bytes = page;
            let header = self.turn_to(page)?;
            if header.overwrites {
                return Err(Stop::Overwritten(page));
            }
            if header.remaining.map(|left| left as usize) != Some(record.left()) {
                return Err(Stop::End(Why::Page(page, Foreign::Malformed)));
            }
            offset = header.content;
        }
    }
}

fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(8)
}

/// A record as far as it was read.
struct Gathered {
    start: Lsn,
    length: usize,
    previous: Option<Lsn>,
    header: [u8; HEADER],
    seen: usize,
    crc: u32,
}

impl Gathered {
    fn new(start: Lsn, length: u32, previous: Option<Lsn>) -> Self {
        Self {
            start,
            length: length as usize,
            previous,
            header: [0; HEADER],
            seen: 0,
            crc: 0,
        }
    }

    fn left(&self) -> usize {
        self.length - self.seen
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let of_header = HEADER.saturating_sub(self.seen).min(bytes.len());
        let (header, data) = bytes.split_at(of_header);
        if of_header > 0 {
            self.header[self.seen..self.seen + of_header].copy_from_slice(header);
        }
        self.crc = crc32c::crc32c_append(self.crc, data);
        self.seen += bytes.len();
        // Before megabytes are read on the word of four bytes.
        if of_header > 0 && self.seen >= HEADER && !self.follows() {
            return Err(Stop::End(Why::Malformed(self.start)));
        }
        Ok(())
    }

    fn follows(&self) -> bool {
        let previous = Lsn::new(u64_at(&self.header, 8));
        match self.previous {
            Some(expected) => previous == expected,
            None => previous < self.start,
        }
    }

    fn finish(&self, end: Lsn, stream: &Stream) -> Result<Record, Stop> {
        let crc = crc32c::crc32c_append(self.crc, &self.header[..CHECKED]);
        if crc != u32_at(&self.header, CHECKED) {
            return Err(Stop::End(Why::Checksum(self.start)));
        }
        let (info, manager) = (self.header[16] & 0xF0, self.header[17]);
        let end = match stream.segment.offset(end) {
            // The rest of the segment is nobody's.
            used if (manager, info) == SWITCH && used > 0 => {
                further(end, stream.segment.bytes() - used)?
            }
            _ => end,
        };
        Ok(Record {
            start: self.start,
            end,
        })
    }
}
