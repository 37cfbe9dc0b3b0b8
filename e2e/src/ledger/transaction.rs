//! What a commit of the ledger does: a pure function of its round, writer and number, so that whoever checks
//! knows how many rows an unacknowledged one has.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use fake_substrate::volume::store::cut::Dice;

use super::bank::{ACCOUNTS, Transfer};
use super::entry::Commit;

/// Where the writers write. The second index sends each row to a page of its own choosing, so that pages
/// which are on the disk already are changed again.
pub(crate) const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS ledger_commits (
        round bigint, writer int, nth bigint, part bigint, token uuid DEFAULT gen_random_uuid(),
        debit int, credit int, amount bigint, PRIMARY KEY (round, writer, nth, part));
    CREATE INDEX IF NOT EXISTS ledger_commits_token ON ledger_commits (token)";

/// How much a writer commits at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    /// One to three rows.
    Tiny,
    /// Mostly tiny, one in ten big.
    Mixed,
    /// Hundreds of rows.
    Big,
}

impl Size {
    pub(crate) const ALL: [Self; 3] = [Self::Tiny, Self::Mixed, Self::Big];
}

/// What somebody commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// One transaction after the other. Where checkpoints are allowed, one in thirty of mixed size has one
    /// between its halves, so that rows are on the disk of which it is not known yet whether they count.
    Stream { size: Size, checkpoints: bool },
    /// Makes a table with an index, once.
    Ddl,
    /// Leaves a prepared transaction, once: acknowledged when PREPARE TRANSACTION was.
    Prepared,
}

/// One transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) rows: i64,
    work: Work,
    checkpoint: bool,
    transfer: Option<Transfer>,
}

impl Work {
    /// The nth that it does, counted from 1; none where it does only one.
    pub(crate) fn transaction(self, commit: Commit) -> Option<Transaction> {
        let Commit { round, writer, nth } = commit;
        let Self::Stream { size, checkpoints } = self else {
            return (nth == 1).then_some(Transaction {
                rows: 3,
                work: self,
                checkpoint: false,
                transfer: None,
            });
        };
        let writer_seed = round.wrapping_mul(0x1_0001).wrapping_add(writer as u64) << 24;
        let mut dice = Dice::new(writer_seed.wrapping_add(nth.unsigned_abs()));
        let (tiny, big) = (1 + dice.below(3), 200 + dice.below(801));
        let one_in_ten = dice.below(10) == 0;
        let rows = match size {
            Size::Tiny => tiny,
            Size::Mixed if !one_in_ten => tiny,
            Size::Mixed | Size::Big => big,
        };
        Some(Transaction {
            rows: i64::try_from(rows).unwrap_or(i64::MAX),
            work: self,
            checkpoint: checkpoints && size == Size::Mixed && dice.below(30) == 0,
            transfer: Some(Transfer::drawn(&mut dice)),
        })
    }
}

impl Transaction {
    /// The whole of it in one message.
    pub(crate) fn sql(self, commit: Commit) -> String {
        let Commit { round, writer, nth } = commit;
        let first = self.rows / 2;
        let (debit, credit, amount) = match self.transfer {
            Some(it) => (it.debit, it.credit, it.amount),
            None => (0, 0, 0),
        };
        let insert = |from: i64, to: i64| {
            format!(
                "INSERT INTO ledger_commits (round, writer, nth, part, debit, credit, amount) \
                 SELECT {round}, {writer}, {nth}, part, {debit}, {credit}, \
                 CASE part WHEN {} THEN {amount} ELSE 0 END FROM generate_series({from}, {to}) part; ",
                self.rows
            )
        };
        let (half, rest) = (insert(1, first), insert(first + 1, self.rows));
        let between = if self.checkpoint { "CHECKPOINT; " } else { "" };
        let transfer = self.transfer.map(Transfer::sql).unwrap_or_default();
        let before = match self.work {
            Work::Ddl => {
                let table = table_of(commit);
                format!(
                    "CREATE TABLE {table} AS SELECT n FROM generate_series(1, 500) n; \
                     CREATE INDEX ON {table} (n); "
                )
            }
            Work::Stream { .. } | Work::Prepared => String::new(),
        };
        let end = match self.work {
            Work::Prepared => format!("PREPARE TRANSACTION '{}'", table_of(commit)),
            Work::Stream { .. } | Work::Ddl => "COMMIT".to_owned(),
        };
        format!("BEGIN; {before}{half}{between}{rest}{transfer}{end}")
    }
}

/// The table that a commit makes, and the name of one that is prepared.
pub(crate) fn table_of(commit: Commit) -> String {
    let Commit { round, writer, .. } = commit;
    format!("ledger_of_{round}_{writer}")
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tiny => "tiny",
            Self::Mixed => "mixed",
            Self::Big => "big",
        })
    }
}

impl FromStr for Size {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        let size = Self::ALL.into_iter().find(|size| size.to_string() == word);
        match size {
            Some(size) => Ok(size),
            None => bail!("{word:?} is no size of transactions: tiny, mixed or big"),
        }
    }
}

impl Transfer {
    fn drawn(dice: &mut Dice) -> Self {
        let debit = dice.below(ACCOUNTS);
        let credit = (debit + 1 + dice.below(ACCOUNTS - 1)) % ACCOUNTS;
        Self {
            debit,
            credit,
            amount: 1 + dice.below(50),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Commit, Size, Work};

    fn commit(writer: usize, nth: i64) -> Commit {
        Commit {
            round: 9,
            writer,
            nth,
        }
    }

    fn stream(size: Size) -> Work {
        Work::Stream {
            size,
            checkpoints: true,
        }
    }

    #[test]
    fn a_commit_is_the_same_each_time_and_the_writers_of_a_round_do_different_things() {
        let rows = |writer| -> Vec<i64> {
            let of = |nth| stream(Size::Mixed).transaction(commit(writer, nth));
            (1..=40).map(|nth| of(nth).unwrap().rows).collect()
        };
        assert_eq!(rows(0), rows(0));
        assert_ne!(rows(0), rows(1));
    }

    #[test]
    fn everything_that_may_be_drawn_is_drawn() {
        let mut seen = BTreeSet::new();
        for size in Size::ALL {
            for nth in 1..=300 {
                let drawn = stream(size).transaction(commit(0, nth)).unwrap();
                let big = (200..=1000).contains(&drawn.rows);
                assert!(big || (1..=3).contains(&drawn.rows));
                let transfer = drawn.transfer.unwrap();
                assert_ne!(transfer.debit, transfer.credit);
                seen.insert((size, big, drawn.checkpoint));
            }
        }
        let (mixed, others) = (Size::Mixed, [(Size::Tiny, false), (Size::Big, true)]);
        for (size, big) in others {
            assert!(seen.contains(&(size, big, false)) && !seen.contains(&(size, !big, false)));
        }
        for big in [true, false] {
            assert!(seen.contains(&(mixed, big, true)) && seen.contains(&(mixed, big, false)));
        }
    }

    #[test]
    fn a_prepared_transaction_is_one_and_moves_no_money() {
        let prepared = Work::Prepared.transaction(commit(7, 1)).unwrap();
        let sql = prepared.sql(commit(7, 1));
        assert!(sql.starts_with("BEGIN; INSERT"), "{sql}");
        assert!(
            sql.ends_with("PREPARE TRANSACTION 'ledger_of_9_7'"),
            "{sql}"
        );
        // It would keep the accounts of the others locked.
        assert!(!sql.contains("UPDATE"), "{sql}");
        assert_eq!(Work::Prepared.transaction(commit(7, 2)), None);
    }
}
