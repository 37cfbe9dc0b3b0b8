//! A pack: blocks that were uploaded together, each with a checksum of its own, so that any run of
//! them can be fetched and trusted without the rest.
//!
//! ```text
//! ["BYPK"][version u16 LE][0 u16][pack id u64 LE][blocks u32 LE][crc32c of these 20 bytes u32 LE]
//! [block 0: 4096 bytes][crc32c u32 LE] [block 1 …
//! ```
//!
//! A block's checksum covers the pack's id and the block's index as well: bytes that are whole but
//! belong elsewhere do not pass.

use super::map::{BLOCK, ObjectId};

const MAGIC: [u8; 4] = *b"BYPK";
const VERSION: u16 = 1;
/// Bytes in front of the first block.
pub const HEAD: usize = 24;
/// A block with its checksum.
pub const STRIDE: usize = BLOCK + 4;
/// At most this many blocks: 4 MiB of content.
pub const LONGEST: usize = 1024;

/// One block's content.
pub type Content = [u8; BLOCK];

/// Why bytes are not a pack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Not the length that the head tells, or no head at all.
    #[error("pack {pack} has {there} bytes where {wanted} belong")]
    Length {
        /// Which pack was asked for.
        pack: ObjectId,
        /// How many there are.
        there: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// The head is not one of ours, or is another pack's.
    #[error("what is stored as pack {0} has no head of that pack")]
    Head(ObjectId),
    /// A block is not what was uploaded.
    #[error("block {index} of pack {pack} is damaged: its checksum does not fit")]
    Block {
        /// Which pack.
        pack: ObjectId,
        /// Which block of it.
        index: u32,
    },
}

/// Builds a pack, block by block.
#[derive(Debug)]
pub struct Builder {
    id: ObjectId,
    blocks: u32,
    bytes: Vec<u8>,
}

impl Builder {
    /// An empty pack that will hold `blocks`.
    pub fn new(id: ObjectId, blocks: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEAD + blocks * STRIDE);
        bytes.resize(HEAD, 0);
        Self {
            id,
            blocks: 0,
            bytes,
        }
    }

    /// The next block.
    pub fn push(&mut self, content: &Content) {
        self.bytes.extend(content);
        let sum = checksum(self.id, self.blocks, content);
        self.bytes.extend(sum.to_le_bytes());
        self.blocks += 1;
    }

    /// The object.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes[..HEAD].copy_from_slice(&head(self.id, self.blocks));
        self.bytes
    }
}

fn head(id: ObjectId, blocks: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&MAGIC);
    head[4..6].copy_from_slice(&VERSION.to_le_bytes());
    head[8..16].copy_from_slice(&id.0.to_le_bytes());
    head[16..20].copy_from_slice(&blocks.to_le_bytes());
    let sum = crc32c::crc32c(&head[..20]);
    head[20..].copy_from_slice(&sum.to_le_bytes());
    head
}

fn checksum(id: ObjectId, index: u32, content: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&id.0.to_le_bytes()), &index.to_le_bytes());
    crc32c::crc32c_append(place, content)
}

/// Where a run of blocks lies in the object.
pub fn range(first: u32, blocks: u32) -> (u64, u64) {
    let stride = STRIDE as u64;
    (
        HEAD as u64 + u64::from(first) * stride,
        u64::from(blocks) * stride,
    )
}

/// How many blocks a pack of so many bytes has.
pub fn blocks_of(bytes: u64) -> u64 {
    bytes.saturating_sub(HEAD as u64) / STRIDE as u64
}

/// Every block of a whole pack.
pub fn decode(id: ObjectId, bytes: &[u8]) -> Result<Vec<&Content>, PackError> {
    let Some((start, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Err(PackError::Length {
            pack: id,
            there: bytes.len(),
            wanted: HEAD,
        });
    };
    let blocks = u32::from_le_bytes([start[16], start[17], start[18], start[19]]);
    if *start != head(id, blocks) {
        return Err(PackError::Head(id));
    }
    let wanted = (blocks as usize).checked_mul(STRIDE);
    if wanted != Some(rest.len()) {
        return Err(PackError::Length {
            pack: id,
            there: bytes.len(),
            wanted: wanted.map_or(usize::MAX, |wanted| HEAD + wanted),
        });
    }
    decode_run(id, 0, rest)
}

/// The blocks of a run that begins with block `first`: what [`range`] of the object holds. The last
/// run of a pack may be shorter than was asked for.
pub fn decode_run(id: ObjectId, first: u32, bytes: &[u8]) -> Result<Vec<&Content>, PackError> {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    if !rest.is_empty() {
        return Err(PackError::Length {
            pack: id,
            there: bytes.len(),
            wanted: (strides.len() + 1) * STRIDE,
        });
    }
    let mut index = first;
    let mut blocks = Vec::with_capacity(strides.len());
    for stride in strides {
        let damaged = PackError::Block { pack: id, index };
        let (Some(content), Some(sum)) = (
            stride.first_chunk::<BLOCK>(),
            stride.last_chunk::<4>().copied(),
        ) else {
            return Err(damaged);
        };
        if checksum(id, index, content) != u32::from_le_bytes(sum) {
            return Err(damaged);
        }
        blocks.push(content);
        index = index.checked_add(1).ok_or(damaged)?;
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::{Builder, Content, HEAD, PackError, STRIDE, decode, decode_run, range};
    use crate::volume::store::map::{BLOCK, ObjectId};
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    const ID: ObjectId = ObjectId(0x0102_0304_0506_0708);

    fn packed(id: ObjectId, contents: &[u8]) -> Vec<u8> {
        let mut pack = Builder::new(id, contents.len());
        for byte in contents {
            pack.push(&block(*byte));
        }
        pack.finish()
    }

    fn block(byte: u8) -> Content {
        let mut content = [byte; BLOCK];
        content[9] = byte.wrapping_add(1);
        content
    }

    #[test]
    fn the_head_is_these_bytes() {
        let empty = packed(ID, &[]);
        assert_eq!(
            empty[..20],
            *b"BYPK\x01\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\0\0\0\0"
        );
        assert_eq!(empty.len(), HEAD);
    }

    #[test]
    fn a_whole_pack_stored_under_another_name_is_refused() {
        let bytes = packed(ObjectId(1), &[5]);
        assert_eq!(decode(ID, &bytes).unwrap_err(), PackError::Head(ID));
        let run = decode_run(ID, 0, &bytes[HEAD..]);
        assert_eq!(run.unwrap_err(), PackError::Block { pack: ID, index: 0 });
    }

    #[test]
    fn a_run_that_belongs_one_block_further_on_is_refused() {
        let bytes = packed(ID, &[5, 5, 5]);
        assert!(decode_run(ID, 1, &bytes[HEAD + STRIDE..]).is_ok());
        assert!(decode_run(ID, 0, &bytes[HEAD + STRIDE..]).is_err());
    }

    proptest! {
        #[test]
        fn what_was_packed_is_read_back_whole_and_in_runs(contents in prop::collection::vec(any::<u8>(), 1..9), at in any::<prop::sample::Index>()) {
            let bytes = packed(ID, &contents);
            let expected: Vec<_> = contents.iter().map(|byte| block(*byte)).collect();
            prop_assert_eq!(decode(ID, &bytes).unwrap(), expected.iter().collect::<Vec<_>>());
            let first = at.index(contents.len());
            let (offset, length) = range(u32::try_from(first).unwrap(), 100);
            let from = usize::try_from(offset).unwrap();
            let to = bytes.len().min(from + usize::try_from(length).unwrap());
            let run = decode_run(ID, u32::try_from(first).unwrap(), &bytes[from..to]).unwrap();
            prop_assert_eq!(run, expected[first..].iter().collect::<Vec<_>>());
        }

        #[test]
        fn a_truncated_pack_is_an_error(contents in prop::collection::vec(any::<u8>(), 0..4), at in any::<prop::sample::Index>()) {
            let bytes = packed(ID, &contents);
            prop_assert!(decode(ID, &bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn a_flipped_byte_is_an_error(contents in prop::collection::vec(any::<u8>(), 1..4), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = packed(ID, &contents);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(decode(ID, &bytes).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2 * STRIDE), first in any::<u32>()) {
            prop_assert!(decode(ID, &bytes).is_err());
            let run = decode_run(ID, first, &bytes);
            prop_assert!(run.is_err() || bytes.is_empty());
        }
    }
}
