//! WAL as it may lie in a file: pages, names, histories.

use wire::lsn::Lsn;

use super::seeds::{Seed, seed};
use crate::wal::forge::{Forge, Memory};
use crate::wal::page::{PAGE, PAGE_BYTES};
use crate::wal::{Begin, SegmentName, SegmentSize, Stream, name, walk};

/// Pages from the beginning of a segment on, and the same cut shorter by a number that the input chooses:
/// a cut only ever moves the end back. The text behind the last whole page is read as a name.
pub fn wal_pages(input: &[u8]) {
    let Some((cut, input)) = super::chosen(input) else {
        return;
    };
    let (chunks, rest) = input.as_chunks::<PAGE>();
    names(&String::from_utf8_lossy(rest));
    let Some(first) = chunks.first() else {
        return;
    };
    let number = |at: usize| {
        let eight = first[at..at + 8].try_into();
        u64::from_le_bytes(eight.expect("eight bytes"))
    };
    let Some(segment) = SegmentSize::new(1 << 20) else {
        return;
    };
    let stream = Stream {
        system_id: number(24),
        timeline: 2,
        segment,
    };
    let start = number(8) - number(8) % segment.bytes();
    let begin = Begin::Segment(Lsn::new(start));
    let pages = |count: usize| {
        let place = |(index, page): (usize, &[u8; PAGE])| {
            Some((
                start.checked_add(index as u64 * PAGE_BYTES)?,
                Box::new(*page),
            ))
        };
        let pages = chunks.iter().take(count).enumerate();
        Memory(pages.filter_map(place).collect())
    };
    let end_of = |count| walk(&mut pages(count), &stream, begin).expect("memory does not fail");
    let (whole, shorter) = (end_of(chunks.len()), end_of(cut));
    assert!(shorter.records <= whole.records && whole.records >= Lsn::new(start));
    let last = start.saturating_add(chunks.len() as u64 * PAGE_BYTES);
    assert!(whole.bytes.get() <= last || segment.offset(whole.bytes) == 0);
    assert!(whole.first.is_none_or(|first| first <= whole.records));
}

fn names(text: &str) {
    if let Some((segment, partial)) = name::parse_received(text) {
        let suffix = if partial { name::PARTIAL } else { "" };
        assert_eq!(format!("{segment}{suffix}"), text);
        assert_eq!(SegmentName::parse(&segment.to_string()), Some(segment));
    }
    if let Some(timeline) = name::parse_history(text) {
        assert_eq!(name::history(timeline), text);
    }
    assert!(name::left_at(text).len() <= text.lines().count());
}

/// Records of many lengths, uncut and cut.
pub(super) fn forged() -> Vec<Seed> {
    let Some(segment) = SegmentSize::new(1 << 20) else {
        return Vec::new();
    };
    let stream = Stream {
        system_id: 7,
        timeline: 2,
        segment,
    };
    let mut forge = Forge::at(stream, Lsn::new(5 << 20));
    for length in [0, 100, 3 * PAGE, 8000] {
        forge.record(&vec![0x5A; length]);
    }
    forge.switch();
    let pages: Vec<u8> = forge
        .pages
        .0
        .values()
        .flat_map(|page| page.to_vec())
        .collect();
    let input = |cut: u8, tail: &str| [&[cut], &pages[..], tail.as_bytes()].concat();
    vec![
        seed(
            "wal_pages",
            "cut",
            input(2, "000000020000000000000005.partial"),
        ),
        seed("wal_pages", "whole", input(9, "00000002.history")),
    ]
}
