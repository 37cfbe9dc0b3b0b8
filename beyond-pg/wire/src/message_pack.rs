//! MessagePack as the wire has it: maps with names, never arrays by position, so that a field
//! may be added without a new format.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value and its MessagePack do not fit each other.
#[derive(Debug, thiserror::Error)]
pub enum MessagePackError {
    /// The bytes are not the map that was expected.
    #[error("{what} has other fields than it should, or ends early")]
    Decode {
        /// What was being read.
        what: &'static str,
        /// What the decoder said.
        source: rmp_serde::decode::Error,
    },
    /// The bytes begin with something else than a map. The decoder would take an array for a
    /// map without names, and a scalar for a map of one.
    #[error("{what} is not a MessagePack map")]
    NotAMap {
        /// What was being read.
        what: &'static str,
    },
    /// The map ends before the bytes do.
    #[error("{what} has {count} bytes after its MessagePack map")]
    Trailing {
        /// What was being read.
        what: &'static str,
        /// How many bytes are left.
        count: usize,
    },
    /// The value cannot be written.
    #[error("{what} cannot be written as MessagePack")]
    Encode {
        /// What was being written.
        what: &'static str,
        /// What the encoder said.
        source: rmp_serde::encode::Error,
    },
}

/// How deep maps and lists may nest; ours do three times. The decoder recurses, also into fields that
/// it only passes over, and its own limit of 1024 is more than a thread's stack holds.
const DEPTH_LIMIT: usize = 32;

pub(crate) fn decode<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, MessagePackError> {
    // fixmap, map16, map32
    if !matches!(bytes.first(), Some(0x80..=0x8f | 0xde | 0xdf)) {
        return Err(MessagePackError::NotAMap { what });
    }
    let mut rest = bytes;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    decoder.set_max_depth(DEPTH_LIMIT);
    let value =
        T::deserialize(&mut decoder).map_err(|source| MessagePackError::Decode { what, source })?;
    match rest.len() {
        0 => Ok(value),
        count => Err(MessagePackError::Trailing { what, count }),
    }
}

pub(crate) fn encode<T: Serialize>(
    what: &'static str,
    value: &T,
) -> Result<Vec<u8>, MessagePackError> {
    rmp_serde::to_vec_named(value).map_err(|source| MessagePackError::Encode { what, source })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Known {}

    /// `{x: [[…nil…]]}`, of that many lists.
    fn nested(lists: usize) -> Vec<u8> {
        [b"\x81\xa1x", vec![0x91; lists].as_slice(), b"\xc0"].concat()
    }

    #[test]
    fn an_unknown_field_may_nest_but_not_until_the_stack_is_full() {
        decode::<Known>("a test", &nested(DEPTH_LIMIT - 2)).expect("a newer sender's field");
        for lists in [DEPTH_LIMIT, 1000, 1 << 19] {
            let error = decode::<Known>("a test", &nested(lists)).expect_err("too deep");
            assert!(
                matches!(
                    error,
                    MessagePackError::Decode {
                        source: rmp_serde::decode::Error::DepthLimitExceeded,
                        ..
                    }
                ),
                "{lists}: {error:?}"
            );
        }
    }
}
