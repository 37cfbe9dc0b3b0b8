//! Makes WAL for tests: pages and records as the server lays them out.

use std::collections::BTreeMap;
use std::io;

use wire::lsn::Lsn;

use super::page::{CONTINUES, HAS_LONG, LONG, MAGIC, PAGE, PAGE_BYTES, SHORT, Stream};
use super::walk::Pages;

/// Pages by position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) BTreeMap<u64, Box<[u8; PAGE]>>);

impl Pages for Memory {
    fn read(&mut self, at: Lsn, page: &mut [u8; PAGE]) -> io::Result<bool> {
        let found = self.0.get(&at.get());
        if let Some(found) = found {
            page.copy_from_slice(&found[..]);
        }
        Ok(found.is_some())
    }
}

/// Writes records one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Forge {
    pub(crate) stream: Stream,
    pub(crate) pages: Memory,
    /// The end of the last record.
    pub(crate) end: Lsn,
    previous: Lsn,
}

impl Forge {
    /// Begins at a page border or behind a page's header.
    pub(crate) fn at(stream: Stream, begin: Lsn) -> Forge {
        Forge {
            stream,
            pages: Memory::default(),
            end: begin,
            previous: Lsn::new(begin.get().saturating_sub(64)),
        }
    }

    /// Appends a record with so many bytes behind its header; answers where it begins.
    pub(crate) fn record(&mut self, data: &[u8]) -> Lsn {
        self.any(data, 0, 10)
    }

    /// Ends the segment.
    pub(crate) fn switch(&mut self) {
        self.any(&[], 0x40, 0);
        let used = self.stream.segment.offset(self.end);
        if used > 0 {
            self.end = Lsn::new(self.end.get() + self.stream.segment.bytes() - used);
        }
    }

    /// Gives up what lies from this page on, and the record that reaches into it.
    #[cfg(test)]
    pub(crate) fn overwrite_from(&mut self, page: Lsn) {
        self.pages.0.split_off(&page.get());
        self.begin_page(page.get(), 0);
        let flags = self.page_mut(page.get());
        flags[2] |= super::page::OVERWRITES.to_le_bytes()[0];
        self.end = page;
    }

    fn any(&mut self, data: &[u8], info: u8, manager: u8) -> Lsn {
        let length = u32::try_from(24 + data.len()).unwrap_or(u32::MAX);
        let start = self.content(self.end.get(), 0);
        let mut header = [0; 24];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[8..16].copy_from_slice(&self.previous.get().to_le_bytes());
        (header[16], header[17]) = (info, manager);
        let crc = crc32c::crc32c_append(crc32c::crc32c(data), &header[..20]);
        header[20..].copy_from_slice(&crc.to_le_bytes());
        let record = [&header[..], data].concat();
        let mut at = start;
        let mut rest = &record[..];
        loop {
            let offset = usize::try_from(at % PAGE_BYTES).unwrap_or(0);
            let (here, later) = rest.split_at(rest.len().min(PAGE - offset));
            let page = at - at % PAGE_BYTES;
            self.page_mut(page)[offset..offset + here.len()].copy_from_slice(here);
            at += here.len() as u64;
            rest = later;
            if rest.is_empty() {
                break;
            }
            at = self.content(at, u32::try_from(rest.len()).unwrap_or(u32::MAX));
        }
        self.previous = Lsn::new(start);
        self.end = Lsn::new(at.next_multiple_of(8));
        self.previous
    }

    /// Where content goes from `at` on: behind the header of a page that begins there.
    fn content(&mut self, at: u64, remaining: u32) -> u64 {
        let page = at - at % PAGE_BYTES;
        if at != page {
            if !self.pages.0.contains_key(&page) {
                self.begin_page(page, 0);
            }
            return at;
        }
        if remaining > 0 || !self.pages.0.contains_key(&page) {
            self.begin_page(page, remaining);
        }
        page + self.header_length(page) as u64
    }

    fn header_length(&self, page: u64) -> usize {
        match self.stream.segment.offset(Lsn::new(page)) {
            0 => LONG,
            _ => SHORT,
        }
    }

    fn begin_page(&mut self, at: u64, remaining: u32) {
        let long = self.header_length(at) == LONG;
        let stream = self.stream;
        let mut page = Box::new([0; PAGE]);
        let continues = if remaining > 0 { CONTINUES } else { 0 };
        let flags = continues | if long { HAS_LONG } else { 0 };
        page[..2].copy_from_slice(&MAGIC.to_le_bytes());
        page[2..4].copy_from_slice(&flags.to_le_bytes());
        page[4..8].copy_from_slice(&stream.timeline.to_le_bytes());
        page[8..16].copy_from_slice(&at.to_le_bytes());
        page[16..20].copy_from_slice(&remaining.to_le_bytes());
        if long {
            page[24..32].copy_from_slice(&stream.system_id.to_le_bytes());
            page[32..36].copy_from_slice(&stream.segment.bytes().to_le_bytes()[..4]);
            page[36..40].copy_from_slice(&PAGE_BYTES.to_le_bytes()[..4]);
        }
        self.pages.0.insert(at, page);
    }

    fn page_mut(&mut self, at: u64) -> &mut [u8; PAGE] {
        self.pages
            .0
            .entry(at)
            .or_insert_with(|| Box::new([0; PAGE]))
    }
}
