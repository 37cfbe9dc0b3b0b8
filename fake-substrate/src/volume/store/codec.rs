//! Bytes that were written in one piece and must be read in one piece: a length, a CRC-32C, a body.
//! The journal is a row of such frames; a table or a root is a single one.
//!
//! ```text
//! [magic 4][body length u32 LE][crc32c of magic, length and body u32 LE][body: MessagePack]
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

/// In front of every body.
pub const HEAD: usize = 12;

/// Why bytes are not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// The bytes end before the frame does.
    #[error("it ends after {there} bytes of {wanted}")]
    Short {
        /// How many there are.
        there: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// Another kind of thing, or none.
    #[error("it does not begin with {wanted:?}")]
    Magic {
        /// How it should begin.
        wanted: [u8; 4],
    },
    /// The checksum does not fit.
    #[error("its checksum does not fit")]
    Checksum,
    /// The checksum fits and the body is not understood: another version wrote it.
    #[error("its content is not understood: {0}")]
    Content(String),
}

/// One frame.
pub fn seal(magic: [u8; 4], value: &impl Serialize) -> Result<Vec<u8>, Damaged> {
    let body = rmp_serde::to_vec(value).map_err(|error| Damaged::Content(error.to_string()))?;
    let length = u32::try_from(body.len())
        .map_err(|_too_long| Damaged::Content(format!("{} bytes in one frame", body.len())))?;
    let mut frame = Vec::with_capacity(HEAD + body.len());
    frame.extend(magic);
    frame.extend(length.to_le_bytes());
    frame.extend(checksum(magic, length, &body).to_le_bytes());
    frame.extend(body);
    Ok(frame)
}

/// The frame at the beginning of `bytes`, and how long it is.
pub fn open<T: DeserializeOwned>(magic: [u8; 4], bytes: &[u8]) -> Result<(T, usize), Damaged> {
    let short = |wanted| Damaged::Short {
        there: bytes.len(),
        wanted,
    };
    let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(short(HEAD))?;
    let [m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    if [m0, m1, m2, m3] != magic {
        return Err(Damaged::Magic { wanted: magic });
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let whole = HEAD + length as usize;
    let body = rest.get(..length as usize).ok_or(short(whole))?;
    if checksum(magic, length, body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(Damaged::Checksum);
    }
    let value = rmp_serde::from_slice(body);
    let value = value.map_err(|error| Damaged::Content(error.to_string()))?;
    Ok((value, whole))
}

fn checksum(magic: [u8; 4], length: u32, body: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&magic), &length.to_le_bytes());
    crc32c::crc32c_append(head, body)
}

#[cfg(test)]
mod tests {
    use super::{Damaged, open, seal};
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

    const MAGIC: [u8; 4] = *b"TEST";

    fn values() -> impl Strategy<Value = Vec<(u32, String)>> {
        prop::collection::vec((any::<u32>(), ".{0,20}"), 0..20)
    }

    #[test]
    fn another_kind_of_thing_is_told_from_a_damaged_one() {
        let frame = seal(*b"ELSE", &1u8).unwrap();
        assert_eq!(
            open::<u8>(MAGIC, &frame).unwrap_err(),
            Damaged::Magic { wanted: MAGIC }
        );
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_read_back(value in values(), after in prop::collection::vec(any::<u8>(), 0..9)) {
            let mut bytes = seal(MAGIC, &value).unwrap();
            let length = bytes.len();
            bytes.extend(after);
            prop_assert_eq!(open::<Vec<(u32, String)>>(MAGIC, &bytes), Ok((value, length)));
        }

        #[test]
        fn a_cut_or_flipped_frame_is_an_error(value in values(), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let whole = seal(MAGIC, &value).unwrap();
            let at = at.index(whole.len());
            prop_assert!(open::<Vec<(u32, String)>>(MAGIC, &whole[..at]).is_err());
            let mut flipped = whole;
            flipped[at] ^= flip;
            prop_assert!(open::<Vec<(u32, String)>>(MAGIC, &flipped).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open::<Vec<(u32, String)>>(MAGIC, &bytes).is_err());
        }
    }
}
