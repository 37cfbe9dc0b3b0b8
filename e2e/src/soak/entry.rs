//! One commit in words: as the ledger keeps it, and as the machine tells of it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

/// Which commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Commit {
    pub(super) round: u64,
    pub(super) writer: usize,
    pub(super) nth: i64,
}

/// A commit with how many rows are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) commit: Commit,
    pub(super) rows: i64,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { round, writer, nth } = self;
        write!(f, "commit {nth} of writer {writer} in round {round}")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Commit { round, writer, nth } = self.commit;
        write!(f, "{round} {writer} {nth} {}", self.rows)
    }
}

impl FromStr for Entry {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let read = || format!("reading an entry of a ledger: {line:?}");
        let words: Vec<_> = line.split(' ').collect();
        let [round, writer, nth, rows] = words[..] else {
            bail!("{}: it has {} words", read(), words.len());
        };
        let commit = Commit {
            round: round.parse().with_context(read)?,
            writer: writer.parse().with_context(read)?,
            nth: nth.parse().with_context(read)?,
        };
        Ok(Self {
            commit,
            rows: rows.parse().with_context(read)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Commit, Entry};

    #[test]
    fn an_entry_survives_its_line() {
        let commit = Commit {
            round: 3,
            writer: 1,
            nth: 77,
        };
        let entry = Entry { commit, rows: 900 };
        assert_eq!(entry.to_string().parse::<Entry>().unwrap(), entry);
        for line in ["", "3 1 77", "3 1 77 900 1", "3 1 -7x 900"] {
            assert!(line.parse::<Entry>().is_err(), "{line}");
        }
    }
}
