//! What a machine has, held against what it acknowledged.

use std::collections::BTreeMap;
use std::fmt;

use super::entry::{Commit, Entry};
use super::history::History;

/// How many of each are told of by name.
const NAMED: usize = 3;

/// A round in which nothing was lost, in commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) acknowledged: usize,
    pub(super) found: usize,
    /// Of those found, whose answer was under way when the power went.
    pub(super) beyond: usize,
    pub(super) rows: i64,
}

/// A promise that was broken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) acknowledged: usize,
    /// Acknowledged, and nothing of it is there.
    pub(super) lost: Vec<Commit>,
    /// Not the rows that make it whole: too few, or too many.
    pub(super) not_whole: Vec<Commit>,
    /// There, and never asked for: its writer was not that far.
    pub(super) never_asked: Vec<Commit>,
}

/// Every acknowledged commit must be there whole and once; of each writer one more may be, whole as well.
pub(super) fn verdict(
    history: &History,
    acknowledged: &[Entry],
    found: &[Entry],
) -> Result<Kept, Broken> {
    let mut broken = Broken {
        acknowledged: acknowledged.len(),
        ..Broken::default()
    };
    let there: BTreeMap<Commit, i64> = found.iter().map(|it| (it.commit, it.rows)).collect();
    let mut last = vec![0; history.writers.len()];
    for Entry { commit, rows } in acknowledged {
        match there.get(commit) {
            None => broken.lost.push(*commit),
            Some(found) if found == rows => {}
            Some(_other) => broken.not_whole.push(*commit),
        }
        if let Some(last) = last.get_mut(commit.writer) {
            *last = commit.nth.max(*last);
        }
    }
    let mut beyond = 0;
    for (commit, rows) in &there {
        match last.get(commit.writer) {
            Some(last) if commit.nth <= *last => {}
            Some(last) if commit.nth == last + 1 => {
                beyond += 1;
                if history.rows_of(commit.writer, commit.nth) != Some(*rows) {
                    broken.not_whole.push(*commit);
                }
            }
            _ => broken.never_asked.push(*commit),
        }
    }
    if !(broken.lost.is_empty() && broken.not_whole.is_empty() && broken.never_asked.is_empty()) {
        return Err(broken);
    }
    Ok(Kept {
        acknowledged: acknowledged.len(),
        found: there.len(),
        beyond,
        rows: there.values().sum(),
    })
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} acknowledged commits", self.acknowledged)?;
        let kinds = [
            ("are gone", &self.lost),
            ("are not whole", &self.not_whole),
            ("were never asked for", &self.never_asked),
        ];
        let mut between = "";
        for (what, commits) in kinds {
            if let Some(named) = named(commits) {
                write!(f, "{between} {} {what} ({named})", commits.len())?;
                between = ",";
            }
        }
        Ok(())
    }
}

fn named(commits: &[Commit]) -> Option<String> {
    let named: Vec<_> = commits.iter().take(NAMED).map(Commit::to_string).collect();
    let more = if commits.len() > NAMED { ", …" } else { "" };
    (!named.is_empty()).then(|| named.join(", ") + more)
}

#[cfg(test)]
mod tests {
    use super::{Commit, Entry, History, verdict};

    const WRITER: usize = 1;

    fn history() -> History {
        History::drawn(11)
    }

    fn commit(nth: i64) -> Commit {
        Commit {
            round: 1,
            writer: WRITER,
            nth,
        }
    }

    fn whole(nth: i64) -> Entry {
        Entry {
            commit: commit(nth),
            rows: history().rows_of(WRITER, nth).unwrap(),
        }
    }

    fn entries(to: i64) -> Vec<Entry> {
        (1..=to).map(whole).collect()
    }

    #[test]
    fn what_was_acknowledged_is_there_and_one_more_may_be() {
        for (found, beyond) in [(20, 0), (21, 1)] {
            let kept = verdict(&history(), &entries(20), &entries(found)).unwrap();
            let counts = (kept.acknowledged, kept.found, kept.beyond);
            assert_eq!(counts, (20, usize::try_from(found).unwrap(), beyond));
        }
    }

    #[test]
    fn an_acknowledged_commit_that_is_gone_is_lost() {
        let mut found = entries(21);
        found.remove(6);
        let broken = verdict(&history(), &entries(20), &found).unwrap_err();
        assert_eq!(broken.lost, [commit(7)]);
        assert_eq!(
            broken.to_string(),
            "of 20 acknowledged commits 1 are gone (commit 7 of writer 1 in round 1)"
        );
    }

    #[test]
    fn half_a_commit_or_one_that_is_there_twice_is_not_whole() {
        for nth in [5, 21] {
            for rows in [whole(nth).rows - 1, 2 * whole(nth).rows] {
                let mut found = entries(21);
                found[usize::try_from(nth - 1).unwrap()].rows = rows;
                let broken = verdict(&history(), &entries(20), &found).unwrap_err();
                assert_eq!(broken.not_whole, [commit(nth)]);
            }
        }
    }

    #[test]
    fn what_nobody_asked_for_is_told() {
        let mut found = entries(20);
        found.push(whole(22));
        let broken = verdict(&history(), &entries(20), &found).unwrap_err();
        assert_eq!(broken.never_asked, [commit(22)]);
    }
}
