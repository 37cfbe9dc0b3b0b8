//! A stream packed as lz4 and cut into the parts of an upload. Pure.

use std::io::{self, Write as _};

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use ring::digest::{Context, SHA256};

use crate::archive::object;

/// An upload takes 10 000 parts; so many are planned for, and the rest is for what grows meanwhile.
const PLANNED_PARTS: u64 = 4_000;
/// So large is a part at least.
const SMALLEST: usize = 16 << 20;

/// How large the parts of a stream of about so many bytes are, all but the last. They are all of one size,
/// which some object storage insists on; at most three are in memory at a time.
pub(crate) fn part_bytes(stream: u64) -> usize {
    let planned = stream.div_ceil(PLANNED_PARTS);
    let mebibytes = usize::try_from(planned.div_ceil(1 << 20)).unwrap_or(usize::MAX >> 20);
    (mebibytes << 20).max(SMALLEST)
}

/// Packs what is written, and hands it over in parts.
pub(crate) struct Packer {
    encoder: FrameEncoder<Vec<u8>>,
    part: usize,
    digest: Context,
    packed: u64,
}

/// What a whole object came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Packer {
    pub(crate) fn new(part: usize) -> Packer {
        let info = FrameInfo::new()
            .block_size(BlockSize::Max256KB)
            .block_mode(BlockMode::Independent);
        Packer {
            encoder: FrameEncoder::with_frame_info(info, Vec::with_capacity(part)),
            part,
            digest: Context::new(&SHA256),
            packed: 0,
        }
    }

    /// Takes bytes in; a part that is full comes out. A piece may be as large as a part at most.
    pub(crate) fn push(&mut self, piece: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.encoder.write_all(piece)?;
        if self.encoder.get_ref().len() < self.part {
            return Ok(None);
        }
        let rest = self.encoder.get_mut().split_off(self.part);
        let mut next = Vec::with_capacity(self.part);
        next.extend_from_slice(&rest);
        let part = std::mem::replace(self.encoder.get_mut(), next);
        self.note(&part);
        Ok(Some(part))
    }

    /// The last parts, none of them empty, and what all came to.
    pub(crate) fn finish(mut self) -> io::Result<(Vec<Vec<u8>>, Packed)> {
        self.encoder.try_finish()?;
        let rest = std::mem::take(self.encoder.get_mut());
        let parts: Vec<Vec<u8>> = rest.chunks(self.part).map(<[u8]>::to_vec).collect();
        for part in &parts {
            self.note(part);
        }
        let packed = Packed {
            bytes: self.packed,
            sha256: object::hex(self.digest.finish().as_ref()),
        };
        Ok((parts, packed))
    }

    fn note(&mut self, part: &[u8]) {
        self.digest.update(part);
        self.packed += part.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use lz4_flex::frame::FrameDecoder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_thousand_parts_suffice_for_whatever_fits_on_a_volume() {
        assert_eq!(part_bytes(0), SMALLEST);
        assert_eq!(part_bytes(40 << 30), SMALLEST);
        for tebibytes in [1, 3, 16] {
            let stream = tebibytes << 40;
            let part = part_bytes(stream);
            assert_eq!(part % (1 << 20), 0);
            assert!(
                stream / part as u64 <= PLANNED_PARTS,
                "{tebibytes} TB in parts of {part}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_parts_are_one_frame_of_what_went_in_and_all_but_the_last_are_full(
            seed in any::<u64>(),
            lengths in prop::collection::vec(0_usize..60_000, 0..40),
        ) {
            const PART: usize = 300_000;
            let mut random = seed | 1;
            let mut noise = |length: usize| -> Vec<u8> {
                let mut next = || {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    random.to_be_bytes()[0]
                };
                (0..length).map(|_| next()).collect()
            };
            let (mut packer, mut parts, mut content) = (Packer::new(PART), Vec::new(), Vec::new());
            for length in lengths {
                let piece = noise(length);
                parts.extend(packer.push(&piece).unwrap());
                content.extend(piece);
            }
            let (last, packed) = packer.finish().unwrap();
            parts.extend(last);
            for part in &parts[..parts.len() - 1] {
                prop_assert_eq!(part.len(), PART);
            }
            let whole = parts.concat();
            prop_assert_eq!(packed.bytes, whole.len() as u64);
            prop_assert_eq!(&packed.sha256, &object::digest(&whole));
            let mut came = Vec::new();
            FrameDecoder::new(whole.as_slice()).read_to_end(&mut came).unwrap();
            prop_assert_eq!(came, content);
        }
    }
}
