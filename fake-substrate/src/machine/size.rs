//! How big a machine is: parsed once, carried as types, printed as a person would write it.

use std::fmt;
use std::str::FromStr;

use crate::volume::store::refused::LARGEST_BYTES;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Main memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory(u64);

impl Memory {
    /// What `up` gives a machine when nobody says otherwise.
    pub const DEFAULT: Self = Self(2 * GIB);
    /// Below this the 128 MB floor of `shared_buffers` leaves no room for the server around it.
    pub const LEAST: Self = Self(256 * MIB);

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Takes what Docker reports back.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes.is_multiple_of(GIB) => write!(f, "{}g", bytes / GIB),
            bytes if bytes.is_multiple_of(MIB) => write!(f, "{}m", bytes / MIB),
            bytes => write!(f, "{bytes}b"),
        }
    }
}

/// A block volume's size in bytes: what its file system thinks it has. Nothing is taken before it is
/// written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskSize(u64);

impl DiskSize {
    /// What a volume gets when nobody says otherwise.
    pub const DEFAULT: Self = Self(10 * GIB);
    /// A cluster with every extension, and the reserve file, fit into half of this.
    pub const LEAST: Self = Self(512 * MIB);

    /// The size in bytes, a multiple of a block's.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for DiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Memory(self.0).fmt(f)
    }
}

/// Room on a volume in bytes; as little as one likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room(u64);

impl Room {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Virtual processors, in thousandths: Docker and the cgroup both take fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus {
    thousandths: u32,
}

impl Cpus {
    /// What `up` gives a machine when nobody says otherwise.
    pub const DEFAULT: Self = Self::whole(2);
    const LEAST: Self = Self { thousandths: 100 };

    /// Whole processors.
    pub const fn whole(cpus: u32) -> Self {
        Self {
            thousandths: cpus.saturating_mul(1000),
        }
    }

    /// As Docker's `NanoCpus`.
    pub fn nanos(self) -> u64 {
        u64::from(self.thousandths) * 1_000_000
    }

    /// Takes what Docker reports back.
    pub fn from_nanos(nanos: u64) -> Self {
        Self {
            thousandths: u32::try_from(nanos / 1_000_000).unwrap_or(u32::MAX),
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.thousandths / 1000, self.thousandths % 1000);
        if rest == 0 {
            write!(f, "{whole}")
        } else {
            write!(f, "{}", format!("{whole}.{rest:03}").trim_end_matches('0'))
        }
    }
}

/// A size that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSize {
    /// Not a size at all, or too small.
    #[error(
        "{given:?} is not a size of memory\nHINT: write 512m or 2g; the least is {}",
        Memory::LEAST
    )]
    Memory {
        /// What was written.
        given: String,
    },
    /// Not a size of a disk, or too small, or too large.
    #[error(
        "{given:?} is not a size of a volume\nHINT: write 600m or 10g; the least is {}",
        DiskSize::LEAST
    )]
    Disk {
        /// What was written.
        given: String,
    },
    /// Not an amount of room.
    #[error("{given:?} is no room on a volume\nHINT: write 1m or 2g")]
    Room {
        /// What was written.
        given: String,
    },
    /// Not a number of processors, or too small.
    #[error(
        "{given:?} is not a number of processors\nHINT: write 2 or 0.5; the least is {}",
        Cpus::LEAST
    )]
    Cpus {
        /// What was written.
        given: String,
    },
}

/// `512m` or `2g`, as bytes.
fn bytes(given: &str) -> Option<u64> {
    let lower = given.to_ascii_lowercase();
    let (digits, unit) = match lower.strip_suffix('g') {
        Some(digits) => (digits, GIB),
        None => (lower.strip_suffix('m')?, MIB),
    };
    // u64::from_str takes a leading plus, a person who writes one means something else.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = plain.then(|| digits.parse::<u64>().ok())??;
    let bytes = bytes.checked_mul(unit)?;
    i64::try_from(bytes).is_ok().then_some(bytes)
}

impl FromStr for Memory {
    type Err = InvalidSize;

    fn from_str(given: &str) -> Result<Self, InvalidSize> {
        let memory = bytes(given).map(Self);
        let memory = memory.filter(|memory| *memory >= Self::LEAST);
        memory.ok_or_else(|| InvalidSize::Memory {
            given: given.to_owned(),
        })
    }
}

impl FromStr for DiskSize {
    type Err = InvalidSize;

    fn from_str(given: &str) -> Result<Self, InvalidSize> {
        let size = bytes(given).map(Self);
        let size = size.filter(|size| *size >= Self::LEAST && size.0 <= LARGEST_BYTES);
        size.ok_or_else(|| InvalidSize::Disk {
            given: given.to_owned(),
        })
    }
}

impl FromStr for Room {
    type Err = InvalidSize;

    fn from_str(given: &str) -> Result<Self, InvalidSize> {
        bytes(given).map(Self).ok_or_else(|| InvalidSize::Room {
            given: given.to_owned(),
        })
    }
}

impl FromStr for Cpus {
    type Err = InvalidSize;

    fn from_str(given: &str) -> Result<Self, InvalidSize> {
        let parse = || {
            let (whole, fraction) = given.split_once('.').unwrap_or((given, "0"));
            let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if !plain(whole) || !plain(fraction) || fraction.len() > 3 {
                return None;
            }
            let thousandths: u32 = format!("{fraction:0<3}").parse().ok()?;
            let cpus = Self {
                thousandths: whole
                    .parse::<u32>()
                    .ok()?
                    .checked_mul(1000)?
                    .checked_add(thousandths)?,
            };
            (cpus >= Self::LEAST).then_some(cpus)
        };
        parse().ok_or_else(|| InvalidSize::Cpus {
            given: given.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Cpus, DiskSize, Memory, Room};
    use proptest::prelude::{ProptestConfig, any, proptest};

    #[test]
    fn memory_reads_as_it_is_written() {
        for (text, bytes) in [("2g", 2 << 30), ("512m", 512 << 20), ("1536M", 1536 << 20)] {
            let memory: Memory = text.parse().unwrap();
            assert_eq!(memory.bytes(), bytes);
            assert_eq!(memory.to_string(), text.to_lowercase());
        }
        for bad in [
            "",
            "g",
            "2",
            "2gb",
            "-2g",
            "+2g",
            "1.5g",
            "255m",
            "99999999999999999999g",
            "9999999999g",
        ] {
            assert!(bad.parse::<Memory>().is_err(), "{bad}");
        }
    }

    #[test]
    fn room_may_be_as_little_as_one_likes() {
        for (text, bytes) in [("0m", 0), ("1m", 1 << 20), ("2g", 2 << 30)] {
            assert_eq!(text.parse::<Room>().unwrap().bytes(), bytes);
        }
        assert!("1".parse::<Room>().is_err());
    }

    #[test]
    fn a_disk_is_large_enough_for_a_database_and_no_larger_than_a_volume_can_be() {
        assert_eq!("10g".parse(), Ok(DiskSize::DEFAULT));
        assert_eq!(DiskSize::DEFAULT.to_string(), "10g");
        for bad in ["", "10", "511m", "16384g", "10t"] {
            assert!(bad.parse::<DiskSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_read_as_they_are_written() {
        for (text, nanos) in [
            ("2", 2_000_000_000),
            ("0.5", 500_000_000),
            ("1.25", 1_250_000_000),
        ] {
            let cpus: Cpus = text.parse().unwrap();
            assert_eq!(cpus.nanos(), nanos);
            assert_eq!(cpus.to_string(), text);
        }
        for bad in [
            "", ".", "2.", ".5", "0", "0.05", "-1", "1e3", "1.2345", "4294968",
        ] {
            assert!(bad.parse::<Cpus>().is_err(), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn what_docker_reports_back_is_what_it_was_given(milli in 100u32..10_000_000, text in any::<String>()) {
            let cpus = Cpus { thousandths: milli };
            assert_eq!(Cpus::from_nanos(cpus.nanos()), cpus);
            assert_eq!(cpus.to_string().parse(), Ok(cpus));
            drop((text.parse::<Memory>(), text.parse::<Cpus>()));
        }
    }
}
