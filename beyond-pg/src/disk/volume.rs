//! How full the volume is, counted as if the reserve file always stood: lending it to Postgres must
//! not look like room that somebody made.

use std::fs;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::layout::Layout;

const MIB: u64 = 1 << 20;
const SEGMENT: u64 = 16 * MIB;
/// What a backend writes before it lets a session in, the cache of its catalogs, takes less than a
/// tenth of this.
const LOAN: u64 = 2 * MIB;

/// A volume at one moment, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Volume {
    /// Size of the file system: what sizes are derived from, because it does not change by itself.
    pub(crate) total: u64,
    /// What files take.
    pub(crate) used: u64,
    /// What Postgres may still take. With `used` it makes less than `total` where blocks are kept for root.
    pub(crate) available: u64,
    /// Size of the reserve file; 0 when there is none.
    pub(crate) reserve: u64,
}

#[derive(Debug, Error)]
pub(crate) enum VolumeError {
    #[error("asking how full the volume at {path} is")]
    Ask { path: PathBuf, source: nix::Error },
    #[error("looking at the reserve file {path}")]
    Reserve { path: PathBuf, source: io::Error },
}

/// Looks at the volume.
pub(crate) fn observe(layout: &Layout) -> Result<Volume, VolumeError> {
    let path = layout.volume();
    let stat =
        nix::sys::statvfs::statvfs(&path).map_err(|source| VolumeError::Ask { path, source })?;
    let path = layout.reserve();
    let reserve = match fs::symlink_metadata(&path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(VolumeError::Reserve { path, source }),
    };
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Ok(Volume {
        total: bytes(stat.blocks()),
        used: bytes(stat.blocks().saturating_sub(stat.blocks_free())),
        available: bytes(stat.blocks_available()),
        reserve,
    })
}

impl Volume {
    /// How large the reserve file shall be: four WAL segments, at most 4 % of the volume, but never
    /// less than two segments, since Postgres needs the rest of one and perhaps a new one to end a
    /// recovery, and less would not do. A volume too small for that has none.
    pub(crate) fn wanted_reserve(&self) -> u64 {
        if self.total < 16 * SEGMENT {
            return 0;
        }
        (self.total / 25).clamp(2 * SEGMENT, 4 * SEGMENT)
    }

    /// What the reserve file lacks of its size.
    fn lent(&self) -> u64 {
        self.wanted_reserve().saturating_sub(self.reserve)
    }

    /// What is left beside the reserve.
    pub(crate) fn room(&self) -> u64 {
        self.available.saturating_sub(self.lent())
    }

    /// Below this the volume counts as full: Postgres may be unable to make its next segments.
    /// Always less than the tenth that is left when transactions become read-only.
    pub(crate) fn least_room(&self) -> u64 {
        (self.total / 16).min(2 * SEGMENT)
    }

    /// Whether at least so many hundredths of what Postgres can use are used. `df` counts alike.
    pub(crate) fn is_used(&self, percent: u64) -> bool {
        let size = u128::from(self.used) + u128::from(self.available);
        let taken = size - u128::from(self.room());
        size > 0 && taken * 100 >= size * u128::from(percent)
    }

    /// The same as a figure for people.
    pub(crate) fn used_percent(&self) -> u64 {
        (0..=100)
            .rev()
            .find(|percent| self.is_used(*percent))
            .unwrap_or(0)
    }

    /// Postgres, started on this, may find no room to end its recovery with.
    pub(crate) fn is_full(&self) -> bool {
        self.room() < self.least_room()
    }

    /// The size with which to make the reserve file now, when it is not as it should be and there
    /// is ample room.
    pub(crate) fn reserve_to_make(&self) -> Option<u64> {
        let wanted = self.wanted_reserve();
        let ample = !self.is_used(super::ladder::READ_ONLY_ENDS);
        (wanted > 0 && self.reserve != wanted && ample).then_some(wanted)
    }

    /// What the reserve file shall shrink to, so that sessions get in. Half of it stays: a start of
    /// Postgres needs more than a session does.
    pub(crate) fn reserve_after_a_loan(&self) -> Option<u64> {
        let left = self.reserve.checked_sub(LOAN)?;
        (self.is_full() && left >= self.wanted_reserve() / 2).then_some(left)
    }

    /// Whether the reserve file shall go before Postgres is started on this.
    pub(crate) fn releases_reserve(&self) -> bool {
        self.is_full() && self.reserve > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(total_mb: u64, used_mb: u64, reserve_mb: u64) -> Volume {
        Volume {
            total: total_mb * MIB,
            used: used_mb * MIB,
            available: (total_mb - used_mb) * MIB,
            reserve: reserve_mb * MIB,
        }
    }

    #[test]
    fn the_reserve_is_two_to_four_segments_and_nothing_on_a_volume_too_small_for_that() {
        for (total, reserve) in [
            (100, 0),
            (255, 0),
            (256, 32),
            (400, 32),
            (800, 32),
            (1000, 40),
            (1600, 64),
            (1_000_000, 64),
        ] {
            let wanted = volume(total, 0, 0).wanted_reserve();
            assert_eq!(wanted / MIB, reserve, "on {total} MB");
        }
    }

    #[test]
    fn lending_the_reserve_makes_a_volume_no_emptier() {
        let before = volume(1600, 1596, 64);
        let lent = volume(1600, 1596 - 64, 0);
        assert_eq!(before.room(), lent.room());
        assert_eq!(before.used_percent(), lent.used_percent());
        assert!(before.is_full() && lent.is_full());
    }

    #[test]
    fn blocks_that_are_kept_for_root_count_neither_as_used_nor_as_free() {
        let kept_for_root = Volume {
            total: 1000 * MIB,
            used: 475 * MIB,
            available: 475 * MIB,
            reserve: 40 * MIB,
        };
        assert_eq!(kept_for_root.used_percent(), 50);
    }

    #[test]
    fn a_file_system_without_a_size_is_not_full() {
        let nothing = volume(0, 0, 0);
        assert!(!nothing.is_full() && !nothing.is_used(80));
    }

    #[test]
    fn the_reserve_is_made_only_where_there_is_ample_room_for_it() {
        assert_eq!(volume(1600, 0, 0).reserve_to_make(), Some(64 * MIB));
        assert_eq!(volume(1600, 100, 64).reserve_to_make(), None);
        // 85 % with the reserve that is not there yet.
        assert_eq!(volume(1600, 1360 - 64, 0).reserve_to_make(), None);
        assert_eq!(volume(1600, 1359 - 64, 0).reserve_to_make(), Some(64 * MIB));
        assert_eq!(volume(100, 10, 0).reserve_to_make(), None);
    }

    #[test]
    fn a_reserve_of_another_size_is_made_again_on_a_volume_that_has_grown() {
        assert_eq!(volume(1600, 100, 32).reserve_to_make(), Some(64 * MIB));
    }

    #[test]
    fn the_reserve_goes_only_when_less_than_two_segments_are_left() {
        assert!(volume(1600, 1569, 64).releases_reserve());
        assert!(!volume(1600, 1568, 64).releases_reserve());
        assert!(!volume(1600, 1590, 0).releases_reserve());
    }

    #[test]
    fn sessions_are_lent_a_little_at_a_time_and_never_more_than_half() {
        let mut full = volume(1600, 1596, 64);
        let mut loans = 0;
        while let Some(left) = full.reserve_after_a_loan() {
            full.reserve = left;
            full.used -= LOAN;
            full.available += LOAN;
            loans += 1;
        }
        assert_eq!((loans, full.reserve / MIB), (16, 32));
        assert!(full.releases_reserve(), "a start gets what is left");
        assert_eq!(volume(1600, 800, 64).reserve_after_a_loan(), None);
        assert_eq!(volume(100, 100, 0).reserve_after_a_loan(), None);
    }

    #[test]
    fn full_comes_after_read_only_on_a_volume_of_any_size() {
        for total in [16, 100, 256, 400, 1600, 1_000_000] {
            let at_ninety = volume(total, total * 9 / 10, 0);
            let least = at_ninety.least_room();
            assert!(least * 10 < at_ninety.total, "on {total} MB: {least}");
        }
    }
}
