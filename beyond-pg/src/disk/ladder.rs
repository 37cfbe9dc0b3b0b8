//! The stages of a volume that fills up. Pure, and without a clock: a stage depends on what is seen
//! now and on the stage before.
//!
//! ```text
//!              ≥ 80 %            ≥ 90 %              less than two segments left
//!   Fine ────────────► Filling ────────► ReadOnly ────────────► Full
//!        ◄────────────         ◄────────          ◄────────────
//!              < 75 %            < 85 %              half as much again left
//! ```
//!
//! Any stage may follow any other: a volume can fill, or be made larger, between two looks. The way
//! down is later than the way up, so that a volume at a boundary does not change to and fro.

use super::Volume;

const FILLING: u64 = 80;
const FILLING_ENDS: u64 = 75;
pub(super) const READ_ONLY: u64 = 90;
pub(super) const READ_ONLY_ENDS: u64 = 85;

/// How far it has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    #[default]
    Fine,
    /// Said, nothing else.
    Filling,
    /// Transactions are read-only unless they say otherwise.
    ReadOnly,
    /// The same, and Postgres gets the reserve file's room, but for its last part, when it has to start
    /// on this.
    Full,
}

impl Stage {
    fn has_begun(self, volume: &Volume) -> bool {
        match self {
            Stage::Fine => true,
            Stage::Filling => volume.is_used(FILLING),
            Stage::ReadOnly => volume.is_used(READ_ONLY),
            Stage::Full => volume.is_full(),
        }
    }

    fn has_ended(self, volume: &Volume) -> bool {
        match self {
            Stage::Fine => false,
            Stage::Filling => !volume.is_used(FILLING_ENDS),
            Stage::ReadOnly => !volume.is_used(READ_ONLY_ENDS),
            Stage::Full => volume.room() >= volume.least_room() * 3 / 2,
        }
    }

    /// Whether transactions are read-only by default.
    pub(super) fn is_read_only(self) -> bool {
        self >= Stage::ReadOnly
    }
}

/// Remembers the stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Ladder {
    stage: Stage,
}

impl Ladder {
    /// The stage of the last look.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// The stage that follows from this look.
    pub(super) fn look(&mut self, volume: &Volume) -> Stage {
        let reached = self.stage;
        let lasts = |stage: Stage| stage <= reached && !stage.has_ended(volume);
        self.stage = [Stage::Full, Stage::ReadOnly, Stage::Filling]
            .into_iter()
            .find(|stage| stage.has_begun(volume) || lasts(*stage))
            .unwrap_or(Stage::Fine);
        self.stage
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// 1600 MB with its reserve.
    fn with_left(left_mb: u64) -> Volume {
        Volume {
            total: 1600 * MIB,
            used: (1600 - left_mb) * MIB,
            available: left_mb * MIB,
            reserve: 66 * MIB,
        }
    }

    #[test]
    fn stages_come_at_80_and_90_percent_and_end_5_below() {
        let mut ladder = Ladder::default();
        for (left, stage) in [
            (1600, Stage::Fine),
            (321, Stage::Fine),
            (320, Stage::Filling),
            (161, Stage::Filling),
            (160, Stage::ReadOnly),
            (240, Stage::ReadOnly),
            (241, Stage::Filling),
            (400, Stage::Filling),
            (401, Stage::Fine),
            (32, Stage::ReadOnly),
            (31, Stage::Full),
            (47, Stage::Full),
            (48, Stage::ReadOnly),
            (0, Stage::Full),
            (1600, Stage::Fine),
        ] {
            assert_eq!(ladder.look(&with_left(left)), stage, "{left} MB left");
        }
    }

    prop_compose! {
        fn volumes()(
            total in 0_u64..4_000_000_000_000,
            kept in 0_u64..6,
            used in 0_u64..=1000,
            reserve in 0_u64..100_000_000,
        ) -> Volume {
            let size = total / 100 * (100 - kept);
            let used = size / 1000 * used;
            Volume { total, used, available: size - used, reserve: reserve.min(used) }
        }
    }

    proptest! {
        #[test]
        fn a_constant_reading_changes_the_stage_at_most_once(
            before in volumes(), volume in volumes(),
        ) {
            let mut ladder = Ladder::default();
            ladder.look(&before);
            let stage = ladder.look(&volume);
            prop_assert_eq!(ladder.look(&volume), stage);
        }

        #[test]
        fn whatever_came_before_an_empty_volume_is_fine_and_a_full_one_full(
            before in proptest::collection::vec(volumes(), 0..8), total in 1_u64 << 24..1 << 45,
        ) {
            let mut ladder = Ladder::default();
            for volume in &before {
                ladder.look(volume);
            }
            let reserve = 0;
            let full = Volume { total, used: total, available: 0, reserve };
            prop_assert_eq!(ladder.look(&full), Stage::Full);
            let reserve = full.wanted_reserve();
            let empty = Volume { total, used: 0, available: total, reserve };
            prop_assert_eq!(ladder.look(&empty), Stage::Fine);
        }

        #[test]
        fn more_room_never_means_a_later_stage(before in volumes(), volume in volumes()) {
            let mut one = Ladder::default();
            one.look(&before);
            let mut other = one.clone();
            let freed = volume.used / 3;
            let more_room = Volume {
                used: volume.used - freed,
                available: volume.available + freed,
                ..volume
            };
            prop_assert!(other.look(&more_room) <= one.look(&volume));
        }

        /// Postgres dies again and again, sessions are kept out in between, and the reserve, which another
        /// version may have made, is looked after as the watch does.
        #[test]
        fn a_start_gets_its_part_once_for_each_time_of_ample_room_and_sessions_get_the_last_one(
            total in 1_u64 << 28..1 << 40,
            mut reserve in 0_u64..100 * MIB,
            lives in proptest::collection::vec((0_u64..=1000, 0_u32..40), 1..40),
        ) {
            let mut had_room = true;
            for (used, kept_out) in lives {
                let others = (total - reserve) / 1000 * used;
                let now = |reserve| Volume {
                    total, used: others + reserve, available: total - others - reserve, reserve,
                };
                if let Some(left) = now(reserve).reserve_after_a_release() {
                    prop_assert!(had_room);
                    had_room = false;
                    reserve = left;
                    prop_assert!(left > 0 && now(left).kept_for_a_start() == 0);
                }
                if let Some(bytes) = now(reserve).reserve_to_make() {
                    prop_assert!(!now(bytes).is_used(READ_ONLY_ENDS));
                    had_room = true;
                    reserve = bytes;
                }
                reserve = eaten(total, reserve, kept_out)?;
            }
        }
    }

    /// What is left of the reserve when somebody takes all room, and so many sessions are kept out then.
    fn eaten(total: u64, mut reserve: u64, kept_out: u32) -> Result<u64, TestCaseError> {
        for _ in 0..kept_out {
            let used = total;
            let full = Volume {
                total,
                used,
                available: 0,
                reserve,
            };
            match full.reserve_after_a_loan() {
                Some(left) => {
                    prop_assert!(left < reserve);
                    let lent = Volume {
                        reserve: left,
                        ..full
                    };
                    let half = full.wanted_for_a_start() / 2;
                    prop_assert!(full.kept_for_a_start() == 0 || lent.kept_for_a_start() >= half);
                    reserve = left;
                }
                None => prop_assert!(reserve == 0 || full.kept_for_a_start() > 0),
            }
        }
        Ok(reserve)
    }
}
