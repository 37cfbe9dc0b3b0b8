//! Names of WAL files, and which segment a position is in.

use std::fmt;

use wire::lsn::Lsn;

/// Bytes of a WAL segment: fixed at initdb, a power of two from 1 MiB to 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentSize(u64);

impl SegmentSize {
    /// What initdb chooses unless told otherwise.
    #[cfg(test)]
    pub(crate) const DEFAULT: Self = Self(16 << 20);

    pub(crate) fn new(bytes: u64) -> Option<Self> {
        let accepted = bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes);
        accepted.then_some(Self(bytes))
    }

    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    /// The number of the segment that holds the byte at this position.
    pub(crate) fn number(self, at: Lsn) -> u64 {
        at.get() / self.0
    }

    /// The number of the segment whose last byte lies before this position.
    pub(crate) fn number_of_last(self, end: Lsn) -> u64 {
        self.number(Lsn::new(end.get().saturating_sub(1)))
    }

    /// Where a segment begins; `None` beyond the end of all WAL.
    pub(crate) fn start(self, number: u64) -> Option<Lsn> {
        number.checked_mul(self.0).map(Lsn::new)
    }

    /// How far into its segment a position is.
    pub(crate) fn offset(self, at: Lsn) -> u64 {
        at.get() % self.0
    }

    fn per_id(self) -> u64 {
        (1 << 32) / self.0
    }
}

/// A segment of one timeline; prints as the 24 digits of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) timeline: u32,
    high: u32,
    low: u32,
}

impl SegmentName {
    /// `None` where no name has room for the number.
    pub(crate) fn new(timeline: u32, number: u64, size: SegmentSize) -> Option<Self> {
        Some(Self {
            timeline,
            high: u32::try_from(number / size.per_id()).ok()?,
            low: u32::try_from(number % size.per_id()).ok()?,
        })
    }

    /// Exactly 24 digits, capital letters; a name with a suffix is none.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
        if name.len() != 24 || !name.bytes().all(digit) {
            return None;
        }
        let part = |at: usize| u32::from_str_radix(name.get(at..at + 8)?, 16).ok();
        Some(Self {
            timeline: part(0)?,
            high: part(8)?,
            low: part(16)?,
        })
    }

    /// `None` when a cluster with segments of this size has no such name.
    pub(crate) fn number(self, size: SegmentSize) -> Option<u64> {
        let low = u64::from(self.low);
        (low < size.per_id()).then(|| u64::from(self.high) * size.per_id() + low)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.high, self.low)
    }
}

/// The suffix of a segment that a receiver has not finished.
pub(crate) const PARTIAL: &str = ".partial";

/// A segment's file, finished or not, as a receiver names it.
pub(crate) fn parse_received(name: &str) -> Option<(SegmentName, bool)> {
    match name.strip_suffix(PARTIAL) {
        Some(segment) => Some((SegmentName::parse(segment)?, true)),
        None => Some((SegmentName::parse(name)?, false)),
    }
}

/// The timeline whose history the file of this name tells.
pub(crate) fn parse_history(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".history")?;
    let timeline = u32::from_str_radix(digits, 16).ok()?;
    (format!("{timeline:08X}") == digits).then_some(timeline)
}

/// A history file's name.
pub(crate) fn history(timeline: u32) -> String {
    format!("{timeline:08X}.history")
}

/// Where each timeline before the last one was left: the lines of a history file.
pub(crate) fn left_at(history: &str) -> Vec<(u32, Lsn)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    history.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    #[test]
    fn names_are_those_that_postgres_gives() {
        for (timeline, lsn, name) in [
            (1, "0/0", "000000010000000000000000"),
            (1, "0/1000028", "000000010000000000000001"),
            (2, "0/FFFFFFFF", "0000000200000000000000FF"),
            (1, "1/0", "000000010000000100000000"),
            (0xA0, "16/B374D848", "000000A000000016000000B3"),
        ] {
            let number = SIZE.number(lsn.parse().unwrap());
            let segment = SegmentName::new(timeline, number, SIZE).unwrap();
            assert_eq!(segment.to_string(), name);
            assert_eq!(SegmentName::parse(name), Some(segment));
            assert_eq!(segment.number(SIZE), Some(number));
        }
    }

    #[test]
    fn nothing_else_is_a_segment() {
        for name in [
            "",
            "00000001000000000000000",
            "0000000100000000000000001",
            "00000001000000000000000a",
            "000000010000000000000001.partial",
            "00000001.history",
            "+00000010000000000000001",
        ] {
            assert_eq!(SegmentName::parse(name), None, "{name}");
        }
        // 0x100 segments of 16 MiB fill an id.
        let beyond = SegmentName::parse("000000010000000000000100").unwrap();
        assert_eq!(beyond.number(SIZE), None);
    }

    #[test]
    fn what_a_receiver_leaves_is_told_apart() {
        let segment = SegmentName::parse("000000010000000000000001").unwrap();
        let received = parse_received("000000010000000000000001.partial");
        assert_eq!(received, Some((segment, true)));
        assert_eq!(parse_received(&segment.to_string()), Some((segment, false)));
        assert_eq!(parse_received("000000010000000000000001.gz"), None);
        assert_eq!(parse_history("0000000A.history"), Some(10));
        assert_eq!(parse_history("A.history"), None);
        assert_eq!(parse_history("+000000A.history"), None);
        assert_eq!(history(10), "0000000A.history");
    }

    #[test]
    fn a_history_says_where_each_timeline_was_left() {
        let text = "1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tbefore x\n";
        let lsn = |text: &str| text.parse().unwrap();
        assert_eq!(
            left_at(text),
            [(1, lsn("0/3000148")), (2, lsn("0/5000000"))]
        );
    }

    #[test]
    fn the_last_segment_of_an_end_at_a_border_is_the_one_before() {
        let border = Lsn::new(3 * SIZE.bytes());
        assert_eq!((SIZE.number(border), SIZE.number_of_last(border)), (3, 2));
        let inside = Lsn::new(3 * SIZE.bytes() + 1);
        assert_eq!(SIZE.number_of_last(inside), 3);
    }

    proptest! {
        #[test]
        fn every_position_is_in_the_segment_of_its_name(
            timeline in any::<u32>(), at in any::<u64>(), power in 20_u32..=30,
        ) {
            let size = SegmentSize::new(1 << power).unwrap();
            let number = size.number(Lsn::new(at));
            let name = SegmentName::new(timeline, number, size).unwrap();
            prop_assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
            let start = size.start(name.number(size).unwrap()).unwrap();
            prop_assert_eq!(start.get() + size.offset(Lsn::new(at)), at);
        }
    }
}
