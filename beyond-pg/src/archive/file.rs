//! The files that pass through an archive, told by their names, and what a segment says of itself.

use std::fmt;

use thiserror::Error;

/// Of every cluster that this image makes.
pub(crate) const SEGMENT_BYTES: u64 = 16 << 20;

/// A file that Postgres archives and asks for: its name is its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalFile {
    name: String,
    kind: Kind,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole, or the last one of a timeline that was left (`.partial`).
    Segment(Segment),
    /// Where a timeline began.
    History,
    /// Where a base backup began and ended.
    Backup,
}

/// A segment's place in the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) timeline: u32,
    /// Since the beginning of time.
    pub(crate) number: u64,
}

/// Why a file is not what its name says.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Flaw {
    #[error("it has {found} bytes instead of {SEGMENT_BYTES}")]
    Length { found: u64 },
    #[error("it does not begin as a WAL segment does")]
    Header,
    #[error("it says that it is {found}")]
    OtherSegment { found: Segment },
    #[error("it is of the cluster with system id {found}, and this is {ours}")]
    OtherCluster { found: u64, ours: u64 },
}

impl Segment {
    /// Segments in each of the four billion steps of a name's middle part.
    const PER_STEP: u64 = (1 << 32) / SEGMENT_BYTES;

    fn parse(name: &str) -> Option<Segment> {
        let part = |range: std::ops::Range<usize>| {
            let digits = name.get(range)?;
            let hex = digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
            hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
        };
        let (timeline, step, within) = (part(0..8)?, part(8..16)?, part(16..24)?);
        let accepted = name.len() == 24 && u64::from(within) < Self::PER_STEP;
        accepted.then(|| Segment {
            timeline,
            number: u64::from(step) * Self::PER_STEP + u64::from(within),
        })
    }

    /// The segment that this byte of the WAL lies in.
    pub(crate) fn number_of(position: u64) -> u64 {
        position / SEGMENT_BYTES
    }

    /// The first byte of the WAL that lies behind it.
    pub(crate) fn end(self) -> u64 {
        (self.number + 1) * SEGMENT_BYTES
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (step, within) = (self.number / Self::PER_STEP, self.number % Self::PER_STEP);
        write!(f, "{:08X}{step:08X}{within:08X}", self.timeline)
    }
}

impl From<Segment> for WalFile {
    fn from(segment: Segment) -> WalFile {
        WalFile {
            name: segment.to_string(),
            kind: Kind::Segment(segment),
        }
    }
}

impl WalFile {
    /// `None`: Postgres gives no file this name.
    pub(crate) fn parse(name: &str) -> Option<WalFile> {
        Some(WalFile {
            kind: kind(name)?,
            name: name.to_owned(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether this is the file's content, as far as it can tell itself. A segment that was cut short
    /// or is another's must not reach the archive under this name.
    pub(crate) fn check(&self, content: &[u8], system_id: u64) -> Result<(), Flaw> {
        let Kind::Segment(expected) = self.kind else {
            return Ok(());
        };
        let found = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if found != SEGMENT_BYTES {
            return Err(Flaw::Length { found });
        }
        let header = Header::read(content).ok_or(Flaw::Header)?;
        if header.system_id != system_id {
            let (found, ours) = (header.system_id, system_id);
            return Err(Flaw::OtherCluster { found, ours });
        }
        if header.number != expected.number || header.timeline > expected.timeline {
            return Err(Flaw::OtherSegment {
                found: Segment {
                    timeline: header.timeline,
                    number: header.number,
                },
            });
        }
        Ok(())
    }
}

fn kind(name: &str) -> Option<Kind> {
    let upper_hex = |text: &str| {
        text.len() == 8
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    };
    if let Some(timeline) = name.strip_suffix(".history") {
        return upper_hex(timeline).then_some(Kind::History);
    }
    if let Some(start) = name.strip_suffix(".backup") {
        let (segment, offset) = start.split_once('.')?;
        Segment::parse(segment)?;
        return upper_hex(offset).then_some(Kind::Backup);
    }
    let segment = name.strip_suffix(".partial").unwrap_or(name);
    Segment::parse(segment).map(Kind::Segment)
}

/// The long header of a segment's first page (`XLogLongPageHeaderData`), as a little-endian machine
/// writes it, which every machine of ours is.
struct Header {
    timeline: u32,
    number: u64,
    system_id: u64,
}

impl Header {
    /// `XLP_LONG_HEADER`.
    const LONG: u16 = 2;

    fn read(page: &[u8]) -> Option<Header> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(page.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(page.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(page.get(at..at + 8)?.try_into().ok()?));
        let (magic, info) = (u16_at(0)?, u16_at(2)?);
        let begins = magic >> 8 == 0xD1 && info & Self::LONG != 0;
        begins.then_some(Header {
            timeline: u32_at(4)?,
            number: Segment::number_of(u64_at(8)?),
            system_id: u64_at(24)?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A segment of that cluster and name, empty but for its header.
    pub(crate) fn segment(name: &str, system_id: u64) -> Vec<u8> {
        let Some(Kind::Segment(segment)) = kind(name) else {
            panic!("{name} is no segment");
        };
        let mut content = vec![0; usize::try_from(SEGMENT_BYTES).unwrap()];
        content[0..2].copy_from_slice(&0xD118_u16.to_le_bytes());
        content[2..4].copy_from_slice(&Header::LONG.to_le_bytes());
        content[4..8].copy_from_slice(&segment.timeline.to_le_bytes());
        content[8..16].copy_from_slice(&(segment.number * SEGMENT_BYTES).to_le_bytes());
        content[24..32].copy_from_slice(&system_id.to_le_bytes());
        content
    }

    #[test]
    fn names_are_told_apart() {
        let kind = |name| WalFile::parse(name).map(|file| file.kind());
        let place = Segment {
            timeline: 2,
            number: 256 + 0xFF,
        };
        assert_eq!(kind("0000000200000001000000FF"), Some(Kind::Segment(place)));
        assert_eq!(
            kind("0000000200000001000000FF.partial"),
            Some(Kind::Segment(place))
        );
        assert_eq!(place.to_string(), "0000000200000001000000FF");
        assert_eq!(kind("0000000A.history"), Some(Kind::History));
        assert_eq!(
            kind("000000010000000000000002.00000028.backup"),
            Some(Kind::Backup)
        );
        for none in [
            "",
            "archive_status",
            "000000020000000100000100",
            "00000002000000010000000f",
            "0000000200000001000000FF.tmp",
            "../../../etc/passwd",
            "+0000002.history",
            "000000010000000000000002.backup",
        ] {
            assert_eq!(kind(none), None, "{none}");
        }
    }

    #[test]
    fn a_segment_is_what_its_name_says_or_the_flaw_is_named() {
        let name = "000000030000000000000007";
        let file = WalFile::parse(name).unwrap();
        let good = segment(name, 42);
        assert_eq!(file.check(&good, 42), Ok(()));
        assert_eq!(
            file.check(&good[..100], 42),
            Err(Flaw::Length { found: 100 })
        );
        assert_eq!(
            file.check(&good, 43),
            Err(Flaw::OtherCluster {
                found: 42,
                ours: 43
            })
        );
        // A timeline begins in the middle of a segment whose header is of the one before.
        assert_eq!(
            file.check(&segment("000000010000000000000007", 42), 42),
            Ok(())
        );
        let other = segment("000000030000000000000008", 42);
        assert!(matches!(
            file.check(&other, 42),
            Err(Flaw::OtherSegment { .. })
        ));
        assert_eq!(file.check(&vec![0; good.len()], 42), Err(Flaw::Header));
    }
}
