//! How full the volume is, counted as if the reserve file always stood: lending it to Postgres must
//! not look like room that somebody made. And what of the reserve file is given up to whom.
//!
//! ```text
//!   0        LAST_PART              half of a start's part                          whole
//!   │ sessions │       a start of Postgres       │ sessions, or a start of Postgres   │
//! ```
//!
//! It is given up from its end. Sessions have its last part when a start has had the rest: whoever
//! eats that too keeps nobody out who would make room.

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
/// What no start of Postgres gets of the reserve: a single loan.
const LAST_PART: u64 = LOAN;

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
    /// How large the reserve file shall be: what a start of Postgres gets, and the last part. A volume
    /// too small for that has none.
    pub(crate) fn wanted_reserve(&self) -> u64 {
        match self.wanted_for_a_start() {
            0 => 0,
            bytes => bytes + LAST_PART,
        }
    }

    /// Four WAL segments, at most 4 % of the volume, but never less than two segments, since Postgres
    /// needs the rest of one and perhaps a new one to end a recovery, and less would not do.
    pub(super) fn wanted_for_a_start(&self) -> u64 {
        if self.total < 16 * SEGMENT {
            return 0;
        }
        (self.total / 25).clamp(2 * SEGMENT, 4 * SEGMENT)
    }

    /// What a start of Postgres can have of the reserve file that is there.
    pub(super) fn kept_for_a_start(&self) -> u64 {
        self.reserve.saturating_sub(LAST_PART)
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

    /// What the reserve file shall shrink to, so that sessions get in. Half of what a start of Postgres
    /// gets stays, since that needs more than a session does; once a start had it, all may go.
    pub(crate) fn reserve_after_a_loan(&self) -> Option<u64> {
        if !self.is_full() || self.reserve == 0 {
            return None;
        }
        let left = self.reserve.saturating_sub(LOAN);
        let stays = match self.kept_for_a_start() {
            0 => 0,
            _ => self.wanted_for_a_start() / 2 + LAST_PART,
        };
        (left >= stays).then_some(left)
    }

    /// What the reserve file shall shrink to before Postgres is started on this.
    pub(crate) fn reserve_after_a_release(&self) -> Option<u64> {
        (self.is_full() && self.kept_for_a_start() > 0).then_some(LAST_PART)
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
    fn the_reserve_is_two_to_four_segments_and_a_loan_and_nothing_on_a_volume_too_small_for_that() {
        for (total, reserve) in [
            (100, 0),
            (255, 0),
            (256, 34),
            (400, 34),
            (800, 34),
            (1000, 42),
            (1600, 66),
            (1_000_000, 66),
        ] {
            let wanted = volume(total, 0, 0).wanted_reserve();
            assert_eq!(wanted / MIB, reserve, "on {total} MB");
        }
    }

    #[test]
    fn lending_the_reserve_makes_a_volume_no_emptier() {
        let before = volume(1600, 1596, 66);
        let lent = volume(1600, 1596 - 66, 0);
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
        assert_eq!(volume(1600, 0, 0).reserve_to_make(), Some(66 * MIB));
        assert_eq!(volume(1600, 100, 66).reserve_to_make(), None);
        // 85 % with the reserve that is not there yet.
        assert_eq!(volume(1600, 1360 - 66, 0).reserve_to_make(), None);
        assert_eq!(volume(1600, 1359 - 66, 0).reserve_to_make(), Some(66 * MIB));
        // The last part does not stand for the rest.
        assert_eq!(volume(1600, 1360 - 64, 2).reserve_to_make(), None);
        assert_eq!(volume(1600, 1359 - 64, 2).reserve_to_make(), Some(66 * MIB));
        assert_eq!(volume(100, 10, 0).reserve_to_make(), None);
    }

    #[test]
    fn a_reserve_of_another_size_is_made_again_where_there_is_room() {
        for reserve in [32, 64, 65, 67, 100] {
            let made = volume(1600, 200, reserve).reserve_to_make();
            assert_eq!(made, Some(66 * MIB), "{reserve} MB");
            let made = volume(1600, 1500, reserve).reserve_to_make();
            assert_eq!(made, None, "{reserve} MB");
        }
    }

    #[test]
    fn a_start_gets_all_but_the_last_part_and_only_when_less_than_two_segments_are_left() {
        let left = Some(LAST_PART);
        assert_eq!(volume(1600, 1569, 66).reserve_after_a_release(), left);
        assert_eq!(volume(1600, 1568, 66).reserve_after_a_release(), None);
        assert_eq!(volume(1600, 1590, 2).reserve_after_a_release(), None);
        assert_eq!(volume(1600, 1590, 0).reserve_after_a_release(), None);
    }

    #[test]
    fn what_was_made_in_another_size_is_given_up_alike() {
        for reserve in [3, 32, 64, 100] {
            let full = volume(1600, 1600, reserve);
            assert_eq!(full.reserve_after_a_release(), Some(LAST_PART));
        }
        // Where none is wanted any more.
        let small = volume(100, 100, 32);
        assert_eq!(small.reserve_after_a_release(), Some(LAST_PART));
        // Less than a last part.
        let crumb = volume(1600, 1600, 1);
        assert_eq!(crumb.reserve_after_a_release(), None);
        assert_eq!(crumb.reserve_after_a_loan(), Some(0));
    }

    /// As often as sessions are kept out; what they are lent somebody else takes.
    fn lend(mut full: Volume) -> (u32, Volume) {
        let mut loans = 0;
        while let Some(left) = full.reserve_after_a_loan() {
            full.reserve = left;
            loans += 1;
        }
        (loans, full)
    }

    #[test]
    fn sessions_are_lent_a_little_at_a_time_and_half_of_a_starts_part_stays() {
        let (loans, full) = lend(volume(1600, 1600, 66));
        assert_eq!((loans, full.reserve / MIB), (16, 34));
        assert_eq!(full.kept_for_a_start(), 32 * MIB);
        assert_eq!(full.reserve_after_a_release(), Some(LAST_PART));
        assert_eq!(volume(1600, 800, 66).reserve_after_a_loan(), None);
        assert_eq!(volume(100, 100, 0).reserve_after_a_loan(), None);
    }

    #[test]
    fn sessions_are_lent_the_last_part_when_nothing_else_is_left() {
        let (loans, full) = lend(volume(1600, 1600, 2));
        assert_eq!((loans, full.reserve), (1, 0));
        assert_eq!(volume(1600, 800, 2).reserve_after_a_loan(), None);
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
