//! What happens in a round, drawn from its seed and from nothing else: the same seed is the same load and
//! the same cut. What the disk's cache holds when the power goes is up to the clock of the run.

use fake_substrate::admin::CutPower;
use fake_substrate::volume::store::cut::{Dice, Tear};

use super::entry::Commit;
use crate::sql::Door;

/// The load of one round, and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    pub(super) writers: Vec<Writer>,
    /// The power goes when that many commits were acknowledged to all of them together.
    pub(super) commits: u64,
    /// Whether somebody beside the database writes past the page cache and never flushes: a disk's cache that
    /// has something to lose.
    pub(super) neighbour: bool,
    /// Whether a checkpoint is asked for right before the power goes, and nobody waits for it.
    pub(super) checkpoint_last: bool,
    pub(super) seed_of_cut: u64,
    pub(super) tear: Tear,
}

/// One client that commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) door: Door,
    seed: u64,
}

/// What a writer does before it waits for an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) rows: i64,
    /// Between its first and its second half, so that rows are on the disk of which it is not known yet
    /// whether they count.
    pub(super) checkpoint: bool,
}

impl History {
    pub(super) fn drawn(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let writers = (0..2 + dice.below(5)).map(|_nth| Writer {
            door: Door::ALL[dice.below(Door::ALL.len())],
            seed: any(&mut dice),
        });
        Self {
            writers: writers.collect(),
            commits: 100 + dice.below(601) as u64,
            neighbour: dice.below(2) == 0,
            checkpoint_last: dice.below(2) == 0,
            seed_of_cut: any(&mut dice),
            tear: [Tear::Block, Tear::Sector][dice.below(2)],
        }
    }

    pub(super) fn cut(&self) -> CutPower {
        CutPower {
            seed: Some(self.seed_of_cut),
            tear: self.tear,
        }
    }

    /// How many rows make that commit whole; none for a writer that there is not.
    pub(super) fn rows_of(&self, writer: usize, nth: i64) -> Option<i64> {
        let writer = self.writers.get(writer)?;
        Some(writer.transaction(nth).rows)
    }
}

impl Writer {
    /// The nth thing that it does, counted from 1.
    pub(super) fn transaction(&self, nth: i64) -> Transaction {
        let mut dice = Dice::new(self.seed.wrapping_add(nth.unsigned_abs()));
        let rows = match dice.below(10) {
            0 => 300 + dice.below(1201),
            _ => 1 + dice.below(3),
        };
        Transaction {
            rows: i64::try_from(rows).unwrap_or(i64::MAX),
            checkpoint: dice.below(30) == 0,
        }
    }
}

impl Transaction {
    /// The whole of it in one message.
    pub(super) fn sql(self, commit: Commit) -> String {
        let Commit { round, writer, nth } = commit;
        let first = self.rows / 2;
        let insert = |from: i64, to: i64| {
            format!(
                "INSERT INTO commits (round, writer, nth, part) \
                 SELECT {round}, {writer}, {nth}, part FROM generate_series({from}, {to}) part"
            )
        };
        let between = if self.checkpoint { "CHECKPOINT; " } else { "" };
        let (half, rest) = (insert(1, first), insert(first + 1, self.rows));
        format!("BEGIN; {half}; {between}{rest}; COMMIT")
    }
}

/// Any number that a seed can be.
fn any(dice: &mut Dice) -> u64 {
    dice.below(usize::MAX) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Commit, Door, History, Tear, Transaction};

    #[test]
    fn a_seed_is_one_history_and_another_seed_another() {
        assert_eq!(History::drawn(7), History::drawn(7));
        assert_ne!(History::drawn(7), History::drawn(8));
        let of = |seed| History::drawn(seed).writers[0].transaction(5);
        assert_eq!(of(7), of(7));
    }

    #[test]
    fn everything_that_may_be_drawn_is_drawn() {
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let history = History::drawn(seed);
            assert!((2..=6).contains(&history.writers.len()));
            assert!((100..=700).contains(&history.commits));
            seen.insert(match history.tear {
                Tear::Block => "blocks",
                Tear::Sector => "sectors",
            });
            seen.insert(if history.neighbour {
                "neighbour"
            } else {
                "alone"
            });
            seen.insert(if history.checkpoint_last {
                "amid"
            } else {
                "any time"
            });
            for writer in &history.writers {
                seen.insert(match writer.door {
                    Door::Pooled => "pooled",
                    Door::Direct => "direct",
                });
                for nth in 1..=30 {
                    let Transaction { rows, checkpoint } = writer.transaction(nth);
                    assert!((1..=3).contains(&rows) || (300..=1500).contains(&rows));
                    seen.insert(if rows > 3 { "big" } else { "tiny" });
                    seen.insert(if checkpoint { "checkpoint" } else { "without" });
                }
            }
        }
        assert_eq!(seen.len(), 12, "{seen:?}");
    }

    #[test]
    fn the_writers_of_a_round_do_different_things() {
        let history = History::drawn(3);
        let rows = |writer: usize| -> Vec<i64> {
            let of = |nth| history.rows_of(writer, nth).unwrap();
            (1..=40).map(of).collect()
        };
        assert_ne!(rows(0), rows(1));
        assert_eq!(history.rows_of(history.writers.len(), 1), None);
    }

    #[test]
    fn a_checkpoint_stands_between_the_halves_of_a_transaction() {
        let commit = Commit {
            round: 9,
            writer: 2,
            nth: 4,
        };
        let transaction = Transaction {
            rows: 5,
            checkpoint: true,
        };
        let insert = "INSERT INTO commits (round, writer, nth, part) SELECT 9, 2, 4, part FROM";
        assert_eq!(
            transaction.sql(commit),
            format!(
                "BEGIN; {insert} generate_series(1, 2) part; CHECKPOINT; \
                 {insert} generate_series(3, 5) part; COMMIT"
            )
        );
    }
}
