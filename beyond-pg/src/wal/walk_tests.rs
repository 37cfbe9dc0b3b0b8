//! Claims about where WAL ends.

use proptest::prelude::*;
use wire::lsn::Lsn;

use super::forge::Forge;
use super::page::{Foreign, PAGE, PAGE_BYTES, Stream};
use super::walk::{Begin, End, Why, walk};
use super::{SegmentName, SegmentSize};

const MIB: u64 = 1 << 20;

fn stream() -> Stream {
    Stream {
        system_id: 7_575_400_226_518_282_265,
        timeline: 2,
        segment: SegmentSize::new(MIB).unwrap(),
    }
}

/// Three records at the beginning of a segment.
fn three() -> (Forge, [Lsn; 3]) {
    let mut forge = Forge::at(stream(), Lsn::new(4 * MIB));
    let starts = [&[1; 100][..], &[2; 3 * PAGE], &[3; 8]].map(|data| forge.record(data));
    (forge, starts)
}

fn end_of(forge: &Forge, begin: Begin) -> End {
    walk(&mut forge.pages.clone(), &forge.stream, begin).unwrap()
}

fn from_start(forge: &Forge) -> End {
    end_of(forge, Begin::Segment(Lsn::new(4 * MIB)))
}

#[test]
fn it_ends_behind_the_last_whole_record() {
    let (forge, [first, second, _]) = three();
    for begin in [
        Begin::Segment(Lsn::new(4 * MIB)),
        Begin::Record(first),
        Begin::Record(second),
    ] {
        let end = end_of(&forge, begin);
        assert_eq!((end.records, end.bytes), (forge.end, forge.end));
        assert_eq!(end.why, Why::NoRecord(forge.end));
    }
}

#[test]
fn the_rest_of_a_segment_behind_a_switch_is_nobodys() {
    let (mut forge, _) = three();
    forge.switch();
    assert_eq!(forge.end, Lsn::new(5 * MIB));
    assert_eq!(from_start(&forge).records, forge.end);
    forge.record(b"of the next one");
    assert_eq!(from_start(&forge).records, forge.end);
    let begin = Begin::Segment(Lsn::new(5 * MIB));
    assert_eq!(end_of(&forge, begin).records, forge.end);
}

#[test]
fn a_record_that_reaches_into_a_segment_is_no_obstacle_to_begin_there() {
    let mut forge = Forge::at(stream(), Lsn::new(5 * MIB - PAGE_BYTES));
    forge.record(&vec![7; 4 * PAGE]);
    let whole = forge.end;
    let begin = Begin::Segment(Lsn::new(5 * MIB));
    assert_eq!(end_of(&forge, begin).records, whole);
    forge.record(b"and another");
    assert_eq!(end_of(&forge, begin).records, forge.end);
    // Without its last page, its pages are there and it is not.
    let last = Lsn::new(whole.get() - whole.get() % PAGE_BYTES);
    forge.pages.0.remove(&last.get());
    let end = end_of(&forge, begin);
    assert_eq!((end.records, end.bytes), (Lsn::new(5 * MIB), last));
}

#[test]
fn what_is_there_of_a_record_that_is_not_whole_counts_by_pages() {
    let (mut forge, [_, second, _]) = three();
    let third_page = 4 * MIB + 2 * PAGE_BYTES;
    forge.pages.0.split_off(&third_page);
    let end = from_start(&forge);
    assert_eq!((end.records, end.bytes), (second, Lsn::new(third_page)));
    assert_eq!(end.why, Why::Page(Lsn::new(third_page), Foreign::Missing));
}

#[test]
fn a_file_under_the_right_name_with_other_pages_in_it_ends_the_wal() {
    let page = 4 * MIB + PAGE_BYTES;
    type Spoil = fn(&mut [u8; PAGE]);
    let spoilt: [(&str, Spoil, Foreign); 7] = [
        ("preallocated", |page| page.fill(0), Foreign::Empty),
        (
            "of a segment before",
            |page| page[10] -= 0x10,
            Foreign::Address(Lsn::new(page - MIB)),
        ),
        (
            "of version 17",
            |page| page[0] = 0x16,
            Foreign::Magic(0xD116),
        ),
        (
            "of a timeline to come",
            |page| page[4] = 3,
            Foreign::Timeline(3),
        ),
        // Its first page is of timeline 2.
        (
            "of a timeline before",
            |page| page[4] = 1,
            Foreign::Timeline(1),
        ),
        (
            "with a flag unknown",
            |page| page[3] = 0x80,
            Foreign::Malformed,
        ),
        (
            "with another rest",
            |page| page[16] ^= 1,
            Foreign::Malformed,
        ),
    ];
    for (name, spoil, foreign) in spoilt {
        let (mut forge, [_, second, _]) = three();
        spoil(forge.pages.0.get_mut(&page).unwrap());
        let end = from_start(&forge);
        assert_eq!(end.why, Why::Page(Lsn::new(page), foreign), "{name}");
        assert_eq!(end.records, second, "{name}");
    }
}

#[test]
fn another_systems_segment_is_not_begun() {
    let (mut forge, _) = three();
    let other = Stream {
        system_id: 1,
        ..stream()
    };
    let start = Lsn::new(4 * MIB);
    let end = walk(&mut forge.pages, &other, Begin::Segment(start)).unwrap();
    let foreign = Foreign::SystemId(stream().system_id);
    assert_eq!((end.bytes, end.why), (start, Why::Page(start, foreign)));
}

#[test]
fn a_torn_page_ends_it_before_the_record_that_is_torn() {
    let (mut forge, [_, second, _]) = three();
    // The half of a page that did not reach the disk.
    let page = forge.pages.0.get_mut(&(4 * MIB + PAGE_BYTES)).unwrap();
    page[PAGE / 2..].fill(0);
    let end = from_start(&forge);
    assert_eq!((end.records, end.bytes), (second, second));
    assert_eq!(end.why, Why::Checksum(second));
}

#[test]
fn a_record_that_was_given_up_is_passed_over() {
    let (mut forge, [_, second, _]) = three();
    let page = Lsn::new(4 * MIB + 2 * PAGE_BYTES);
    let mut again = Forge::at(stream(), Lsn::new(4 * MIB));
    again.record(&[1; 100]);
    assert_eq!(again.end, second);
    // The server goes on at the page that is missing, and names the last whole record.
    let kept = forge.pages.0.clone();
    again.overwrite_from(page);
    again.record(b"says so");
    forge.pages.0.split_off(&page.get());
    forge.pages.0.extend(again.pages.0.split_off(&page.get()));
    forge.end = again.end;
    assert_eq!(from_start(&forge).records, forge.end);
    assert_ne!(forge.pages.0, kept);
}

#[test]
fn a_record_that_names_another_before_it_is_of_another_history() {
    let (forge, [_, _, third]) = three();
    let mut other = Forge::at(stream(), Lsn::new(4 * MIB));
    other.record(&[9; 90]);
    // As if the file had kept what came later from its life before.
    let mut mixed = forge;
    let page = third.get() - third.get() % PAGE_BYTES;
    let offset = usize::try_from(third.get() % PAGE_BYTES).unwrap();
    mixed.pages.0.get_mut(&page).unwrap()[offset + 8] ^= 8;
    assert_eq!(from_start(&mixed).why, Why::Malformed(third));
    assert_eq!(from_start(&mixed).records, third);
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![0_usize..64, 0..3 * PAGE, PAGE - 80..PAGE + 80];
    prop::collection::vec(size, 1..40)
}

proptest! {
    /// Cut anywhere, the end is the last record that is whole, and nothing behind the cut.
    #[test]
    fn it_ends_where_the_bytes_do(sizes in sizes(), cut in 0_u64..40) {
        let mut forge = Forge::at(stream(), Lsn::new(4 * MIB));
        let mut ends = vec![forge.end];
        for (number, size) in sizes.iter().enumerate() {
            forge.record(&vec![u8::try_from(number).unwrap(); *size]);
            ends.push(forge.end);
        }
        prop_assert_eq!(from_start(&forge).records, forge.end);
        let cut = 4 * MIB + cut * PAGE_BYTES;
        forge.pages.0.split_off(&cut);
        let end = from_start(&forge);
        let whole = ends.iter().filter(|end| end.get() <= cut).max().unwrap();
        prop_assert_eq!(end.records, *whole);
        prop_assert!(end.bytes.get() <= cut.max(end.records.get()));
    }

    /// One byte that is not as it was: nothing behind it counts.
    #[test]
    fn no_record_with_a_changed_byte_counts(sizes in sizes(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut forge = Forge::at(stream(), Lsn::new(4 * MIB));
        for size in &sizes {
            forge.record(&vec![0x5A; *size]);
        }
        let length = usize::try_from(forge.end.get() - 4 * MIB).unwrap();
        let at = 4 * MIB + at.index(length) as u64;
        let page = forge.pages.0.get_mut(&(at - at % PAGE_BYTES)).unwrap();
        page[usize::try_from(at % PAGE_BYTES).unwrap()] ^= 1 << bit;
        let end = from_start(&forge);
        // Padding between two records, and words that no reader looks at, may be anything.
        let harmless = end.records == forge.end;
        prop_assert!(harmless || end.records.get() <= at);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), PAGE..4 * PAGE)) {
        let mut forge = Forge::at(stream(), Lsn::new(4 * MIB));
        forge.record(&[0; 64]);
        for (number, chunk) in bytes.chunks_exact(PAGE).enumerate() {
            let at = 4 * MIB + number as u64 * PAGE_BYTES;
            let page = forge.pages.0.entry(at).or_insert_with(|| Box::new([0; PAGE]));
            page[64..].copy_from_slice(&chunk[64..]);
        }
        let _end = from_start(&forge);
    }
}

#[test]
fn a_segment_has_the_name_of_its_start() {
    let name = SegmentName::new(
        2,
        stream().segment.number(Lsn::new(4 * MIB)),
        stream().segment,
    );
    assert_eq!(name.unwrap().to_string(), "000000020000000000000004");
}
