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

pub(crate) fn decode<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, MessagePackError> {
    // fixmap, map16, map32
    if !matches!(bytes.first(), Some(0x80..=0x8f | 0xde | 0xdf)) {
        return Err(MessagePackError::NotAMap { what });
    }
    let mut rest = bytes;
    let value = rmp_serde::from_read(&mut rest)
        .map_err(|source| MessagePackError::Decode { what, source })?;
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
