//! One commit in words: as the book keeps it, and as the database tells of it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

/// Which commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Commit {
    pub(crate) round: u64,
    pub(crate) writer: usize,
    pub(crate) nth: i64,
}

/// A commit with how many rows are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) commit: Commit,
    pub(crate) rows: i64,
    /// How many entries the book had when it was begun: whoever has this commit has those.
    pub(crate) after: usize,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { round, writer, nth } = self;
        write!(f, "commit {nth} of writer {writer} in round {round}")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            commit: Commit { round, writer, nth },
            rows,
            after,
        } = self;
        write!(f, "{round} {writer} {nth} {rows} {after}")
    }
}

impl FromStr for Entry {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let read = || format!("reading an entry of a ledger: {line:?}");
        let words: Vec<_> = line.split(' ').collect();
        let [round, writer, nth, rows, after] = words[..] else {
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
            after: after.parse().with_context(read)?,
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
        let entry = Entry {
            commit,
            rows: 900,
            after: 12,
        };
        assert_eq!(entry.to_string().parse::<Entry>().unwrap(), entry);
        for line in ["", "3 1 77 900", "3 1 77 900 1 1", "3 1 -7x 900 0"] {
            assert!(line.parse::<Entry>().is_err(), "{line}");
        }
    }
}
