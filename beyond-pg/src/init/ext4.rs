//! What an ext4 says about itself: enough to tell one from anything else, and whether its device has
//! outgrown it.

/// Where on the device the superblock lies, in bytes.
pub(crate) const SUPERBLOCK_AT: u64 = 1024;
/// How long it is.
pub(crate) const SUPERBLOCK_BYTES: usize = 1024;

const MAGIC: u16 = 0xEF53;
const BLOCKS_LOW: usize = 0x04;
const LOG_BLOCK_SIZE: usize = 0x18;
const MAGIC_AT: usize = 0x38;
const FEATURE_INCOMPAT: usize = 0x60;
const BLOCKS_HIGH: usize = 0x150;
const INCOMPAT_64BIT: u32 = 0x80;
/// 64 KiB, the largest block that ext4 knows.
const LARGEST_LOG: u32 = 6;

/// The size of a file system, as its superblock has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) block_bytes: u64,
    pub(crate) blocks: u64,
}

impl Superblock {
    /// `None` is: not an ext4.
    pub(crate) fn parse(bytes: &[u8; SUPERBLOCK_BYTES]) -> Option<Superblock> {
        let magic = u16::from_le_bytes([bytes[MAGIC_AT], bytes[MAGIC_AT + 1]]);
        let log = word(bytes, LOG_BLOCK_SIZE);
        if magic != MAGIC || log > LARGEST_LOG {
            return None;
        }
        // Only with this feature is the upper half a part of the number.
        let high = match word(bytes, FEATURE_INCOMPAT) & INCOMPAT_64BIT {
            0 => 0,
            _ => word(bytes, BLOCKS_HIGH),
        };
        Some(Superblock {
            block_bytes: 1024 << log,
            blocks: u64::from(high) << 32 | u64::from(word(bytes, BLOCKS_LOW)),
        })
    }

    /// The number of blocks it could have on a device of that size, when that is more than it has. A
    /// device that is smaller is no reason for anything: the kernel refuses to mount it.
    pub(crate) fn growth(&self, device_bytes: u64) -> Option<u64> {
        let possible = device_bytes / self.block_bytes;
        (possible > self.blocks).then_some(possible)
    }
}

fn word(bytes: &[u8; SUPERBLOCK_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `mkfs.ext4` writes it: 4 KiB blocks, 64-bit.
    fn superblock(blocks: u64) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        let [low, high] = [blocks & 0xFFFF_FFFF, blocks >> 32].map(|half| half.to_le_bytes());
        bytes[0x04..0x08].copy_from_slice(&low[..4]);
        bytes[0x18] = 2;
        bytes[0x38..0x3A].copy_from_slice(&[0x53, 0xEF]);
        bytes[0x60..0x64].copy_from_slice(&0x2C2_u32.to_le_bytes());
        bytes[0x150..0x154].copy_from_slice(&high[..4]);
        bytes
    }

    #[test]
    fn an_ext4_is_known_by_its_magic_number() {
        let found = Superblock::parse(&superblock(2_621_440)).unwrap();
        assert_eq!(found.block_bytes, 4096);
        assert_eq!(found.blocks * found.block_bytes, 10 << 30);
        assert_eq!(Superblock::parse(&[0; SUPERBLOCK_BYTES]), None);
        let mut other = superblock(1);
        other[0x39] = 0;
        assert_eq!(Superblock::parse(&other), None);
    }

    #[test]
    fn a_block_size_that_no_ext4_has_is_not_an_ext4() {
        let mut bytes = superblock(1);
        bytes[0x18] = 7;
        assert_eq!(Superblock::parse(&bytes), None);
    }

    #[test]
    fn the_upper_half_of_the_size_counts_only_where_there_is_one() {
        let mut bytes = superblock(5 << 32 | 7);
        assert_eq!(Superblock::parse(&bytes).unwrap().blocks, 5 << 32 | 7);
        bytes[0x60] = 0x42;
        assert_eq!(Superblock::parse(&bytes).unwrap().blocks, 7);
    }

    #[test]
    fn it_grows_to_the_whole_blocks_of_its_device_and_never_shrinks() {
        let one_gib = Superblock {
            block_bytes: 4096,
            blocks: 262_144,
        };
        assert_eq!(one_gib.growth(1 << 30), None);
        assert_eq!(one_gib.growth((1 << 30) + 4095), None);
        assert_eq!(one_gib.growth((1 << 30) + 4096), Some(262_145));
        assert_eq!(one_gib.growth(2 << 30), Some(524_288));
        assert_eq!(one_gib.growth(1 << 20), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), SUPERBLOCK_BYTES), device: u64) {
            let bytes = bytes.try_into().unwrap();
            if let Some(found) = Superblock::parse(&bytes)
                && let Some(blocks) = found.growth(device)
            {
                prop_assert!(blocks > found.blocks && blocks * found.block_bytes <= device);
            }
        }
    }
}
