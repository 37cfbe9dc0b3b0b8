//! A position in the WAL, as Postgres prints it: two hexadecimal halves, `16/B374D848`.
//!
//! Which segment a position is in depends on the cluster's segment size and timeline, and is
//! not decided here.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A byte position in the WAL of one cluster. On the wire it is its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

/// A text that is not a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a WAL position\nHINT: write it as Postgres does, such as 16/B374D848")]
pub struct LsnError(String);

impl Lsn {
    /// Where no WAL ever is; Postgres' own word for "none".
    pub const INVALID: Self = Self(0);

    /// The position this many bytes after the beginning of time.
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// Bytes since the beginning of time.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position this much further on, if there is one.
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// How much WAL lies between an earlier position and this one; `None` if it is later.
    pub fn bytes_since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Self, LsnError> {
        let position = text
            .split_once('/')
            .and_then(|(high, low)| Some(Self((half(high)? << 32) | half(low)?)));
        position.ok_or_else(|| LsnError(text.to_owned()))
    }
}

/// One to eight hexadecimal digits, as `pg_lsn` reads them; no sign, which Rust would take.
fn half(text: &str) -> Option<u64> {
    let digits = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn positions_read_and_print_as_postgres_has_them() {
        for (text, position) in [
            ("0/0", 0),
            ("0/1000028", 0x0100_0028),
            ("16/B374D848", 0x16_B374_D848),
            ("FFFFFFFF/FFFFFFFF", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Lsn::new(position)));
            assert_eq!(Lsn::new(position).to_string(), text);
        }
        assert_eq!("16/b374d848".parse(), Ok(Lsn::new(0x16_B374_D848)));
        assert_eq!("00000016/0B".parse(), Ok(Lsn::new(0x16_0000_000B)));
    }

    #[test]
    fn nothing_else_is_a_position() {
        for text in [
            "",
            "/",
            "0",
            "0/",
            "/0",
            "0/0/0",
            "+1/0",
            "0/-1",
            " 0/0",
            "0/G",
            "0/100000000",
        ] {
            assert_eq!(text.parse::<Lsn>(), Err(LsnError(text.to_owned())));
        }
    }

    #[test]
    fn arithmetic_stops_at_both_ends() {
        let one = Lsn::new(1);
        assert_eq!(one.checked_add(2), Some(Lsn::new(3)));
        assert_eq!(one.checked_add(u64::MAX), None);
        assert_eq!(Lsn::new(3).bytes_since(one), Some(2));
        assert_eq!(one.bytes_since(Lsn::new(3)), None);
        assert!(Lsn::INVALID < one);
    }

    proptest! {
        #[test]
        fn every_position_survives_its_text(position in any::<u64>()) {
            let lsn = Lsn::new(position);
            prop_assert_eq!(lsn.to_string().parse(), Ok(lsn));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,24}") {
            let _either = text.parse::<Lsn>();
        }
    }
}
