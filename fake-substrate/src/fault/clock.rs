//! A clock that is off. A container has no clock of its own, so that of the machines is the host's;
//! what can be off is the clock of the services against theirs. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ImpossibleFault;

/// The clock of object storage and of metadata tokens is off by so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockFault {
    /// Positive is ahead of the machines.
    pub offset_ms: Offset,
}

impl ClockFault {
    pub(crate) fn check(self) -> Result<(), ImpossibleFault> {
        // Dates beyond this have no four-digit year to be written with.
        const A_CENTURY_MS: u64 = 100 * 365 * 24 * 3_600_000;
        match self.offset_ms.ms().unsigned_abs() {
            0 => Err(ImpossibleFault("a clock that is off by nothing is right")),
            far if far > A_CENTURY_MS => {
                Err(ImpossibleFault("a clock is off by a century at most"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ClockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "off by {}", self.offset_ms)
    }
}

/// Milliseconds, with a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(i64);

/// That is no offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no offset of a clock: write +20m or -90s; units are ms, s, m and h")]
pub struct InvalidOffset(String);

const UNITS: [(&str, i64); 4] = [("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1000)];

impl Offset {
    /// Of so many milliseconds.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// In milliseconds.
    pub const fn ms(self) -> i64 {
        self.0
    }
}

impl FromStr for Offset {
    type Err = InvalidOffset;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let in_unit = |(unit, ms): (&str, i64)| {
            let number = given.strip_suffix(unit)?;
            // A sign alone, or two of them, is no number to the parser either.
            number.parse::<i64>().ok()?.checked_mul(ms).map(Self)
        };
        let parsed = UNITS.into_iter().find_map(in_unit);
        parsed.ok_or_else(|| InvalidOffset(given.to_owned()))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms % 60_000 == 0 => write!(f, "{:+}m", ms / 60_000),
            ms if ms % 1000 == 0 => write!(f, "{:+}s", ms / 1000),
            ms => write!(f, "{ms:+}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ClockFault, Offset};

    #[test]
    fn an_offset_reads_as_it_is_written() {
        for (given, ms, told) in [
            ("+20m", 1_200_000, "+20m"),
            ("20m", 1_200_000, "+20m"),
            ("-90s", -90_000, "-90s"),
            ("2h", 7_200_000, "+120m"),
            ("-1500ms", -1500, "-1500ms"),
        ] {
            let offset: Offset = given.parse().expect(given);
            assert_eq!((offset.ms(), offset.to_string()), (ms, told.to_owned()));
        }
        for wrong in ["", "m", "+m", "20", "+-20m", "1d", "9223372036854775807h"] {
            assert!(wrong.parse::<Offset>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_clock_is_off_by_something_that_can_be_written_down() {
        for ms in [0, i64::MIN, i64::MAX] {
            let offset_ms = Offset::from_ms(ms);
            assert!(ClockFault { offset_ms }.check().is_err(), "{ms}");
        }
    }
}
