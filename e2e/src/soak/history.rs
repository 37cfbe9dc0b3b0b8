//! What happens in a round, as text: `sink; write 16x tiny direct; commits 200; cut-network; heal; lose-host`.
//!
//! Any list of events is a history, so that one can be dropped from it: what makes no sense where it stands is
//! passed over.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result, bail, ensure};

use crate::ledger::entry::Commit;
use crate::ledger::transaction::{Size, Work};
use crate::sql::Door;

/// Whose machine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Its WAL is held by a sink: nothing that was acknowledged may be lost.
    Sink,
    /// It has none: with its host goes what came after its flush point.
    Alone,
}

/// What happens, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// So many more writers begin, and go on beside everything that follows.
    Write {
        writers: usize,
        size: Size,
        door: Door,
    },
    /// So many more commits are acknowledged.
    Commits(u64),
    /// A table is made.
    Ddl,
    /// A transaction is prepared and left.
    Prepare,
    /// A checkpoint is asked for, and nobody waits for it.
    Checkpoint,
    /// What is on the volume becomes its flush point.
    Flush,
    /// Somebody beside the database writes past the page cache and never flushes.
    Neighbour,
    /// No packet goes between the database and its sink.
    CutNetwork,
    Heal,
    /// The sink shuts down and boots.
    RestartSink,
    /// SIGKILL, and boots.
    CrashSink,
}

/// How a round ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    LoseHost,
    PowerCut { sectors: bool },
}

/// A round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    pub(super) kind: Kind,
    pub(super) events: Vec<Event>,
    pub(super) end: End,
}

/// What each writer of a round does; its number is its place.
#[derive(Debug, Default)]
pub(super) struct Roll(pub(super) Vec<Work>);

impl Roll {
    /// How many rows make that commit whole; none for a writer that there is not.
    pub(super) fn rows_of(&self, commit: Commit) -> Option<i64> {
        let work = self.0.get(commit.writer)?;
        Some(work.transaction(commit)?.rows)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write {
                writers,
                size,
                door,
            } => write!(f, "write {writers}x {size} {door}"),
            Self::Commits(commits) => write!(f, "commits {commits}"),
            Self::Ddl => f.write_str("ddl"),
            Self::Prepare => f.write_str("prepare"),
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Flush => f.write_str("flush"),
            Self::Neighbour => f.write_str("neighbour"),
            Self::CutNetwork => f.write_str("cut-network"),
            Self::Heal => f.write_str("heal"),
            Self::RestartSink => f.write_str("restart-sink"),
            Self::CrashSink => f.write_str("crash-sink"),
        }
    }
}

impl FromStr for Event {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<_> = text.split_whitespace().collect();
        Ok(match words[..] {
            ["write", writers, size, door] => {
                let number = writers.strip_suffix('x').unwrap_or(writers);
                let number: usize = number.parse().context("how many write, as in 16x")?;
                ensure!((1..=64).contains(&number), "1x to 64x write at a time");
                let door = Door::ALL.into_iter().find(|it| it.to_string() == door);
                Self::Write {
                    writers: number,
                    size: size.parse()?,
                    door: door.context("a writer comes in pooled or direct")?,
                }
            }
            ["commits", commits] => Self::Commits(commits.parse().context("how many commits")?),
            ["ddl"] => Self::Ddl,
            ["prepare"] => Self::Prepare,
            ["checkpoint"] => Self::Checkpoint,
            ["flush"] => Self::Flush,
            ["neighbour"] => Self::Neighbour,
            ["cut-network"] => Self::CutNetwork,
            ["heal"] => Self::Heal,
            ["restart-sink"] => Self::RestartSink,
            ["crash-sink"] => Self::CrashSink,
            _ => bail!("{text:?} is no event of a history"),
        })
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Sink => "sink; ",
            Kind::Alone => "alone; ",
        })?;
        for event in &self.events {
            write!(f, "{event}; ")?;
        }
        f.write_str(match self.end {
            End::LoseHost => "lose-host",
            End::PowerCut { sectors: true } => "power-cut sectors",
            End::PowerCut { sectors: false } => "power-cut blocks",
        })
    }
}

impl FromStr for History {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<_> = text.split(';').map(str::trim).collect();
        let [kind, events @ .., end] = &parts[..] else {
            bail!("{text:?} is no history: sink or alone, events, lose-host or power-cut");
        };
        let kind = match *kind {
            "sink" => Kind::Sink,
            "alone" => Kind::Alone,
            other => bail!("a history begins with sink or alone, not with {other:?}"),
        };
        let end = match *end {
            "lose-host" => End::LoseHost,
            "power-cut sectors" => End::PowerCut { sectors: true },
            "power-cut blocks" => End::PowerCut { sectors: false },
            other => bail!(
                "a history ends with lose-host, power-cut sectors or power-cut blocks, not with {other:?}"
            ),
        };
        let events = events.iter().map(|event| event.parse());
        Ok(Self {
            kind,
            events: events.collect::<Result<_>>()?,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::History;

    #[test]
    fn a_history_is_what_it_says() {
        for text in [
            "sink; write 16x tiny pooled; commits 200; ddl; prepare; cut-network; heal; restart-sink; crash-sink; \
             checkpoint; lose-host",
            "alone; write 1x big direct; neighbour; flush; power-cut sectors",
            "alone; power-cut blocks",
        ] {
            let history: History = text.parse().unwrap();
            assert_eq!(history.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_history_is_refused() {
        for text in [
            "",
            "sink",
            "flush; lose-host",
            "sink; flush",
            "sink; write 0x tiny direct; lose-host",
            "sink; write 4x small direct; lose-host",
            "sink; commits; lose-host",
        ] {
            assert!(text.parse::<History>().is_err(), "{text}");
        }
    }
}
