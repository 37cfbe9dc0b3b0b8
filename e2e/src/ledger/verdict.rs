//! What a database has, held against what it acknowledged.

use std::collections::BTreeMap;
use std::fmt;

use super::entry::{Commit, Entry};
use super::found::Found;

/// How many of each are told of by name.
const NAMED: usize = 3;

/// A ledger of which nothing was lost, in commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) acknowledged: usize,
    pub(crate) found: usize,
    /// Of those found, whose answer was under way when the connection ended.
    pub(crate) beyond: usize,
    /// Acknowledged and gone, as it was allowed.
    pub(crate) given_up: usize,
    pub(crate) rows: i64,
}

/// A promise that was broken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) acknowledged: usize,
    /// Acknowledged, and nothing of it is there.
    pub(crate) lost: Vec<Commit>,
    /// Not the rows that make it whole: too few, or too many.
    pub(crate) not_whole: Vec<Commit>,
    /// There, and never asked for: its writer was not that far.
    pub(crate) never_asked: Vec<Commit>,
    /// Money that came or went.
    pub(crate) surplus: i64,
    /// Accounts that do not have what the transfers that are there brought them.
    pub(crate) wrong_accounts: i64,
}

/// Every one of the first `floor` acknowledged commits must be there, whole and once; of each writer one more
/// may be, whole as well. What is gone of the rest is the end of it: whoever was begun after another one was
/// acknowledged is not there without it. And the bank is whole.
pub(crate) fn verdict(
    acknowledged: &[Entry],
    floor: usize,
    rows_of: impl Fn(Commit) -> Option<i64>,
    found: &Found,
) -> Result<Kept, Broken> {
    let there: BTreeMap<Commit, i64> = found
        .commits
        .iter()
        .map(|it| (it.commit, it.rows))
        .collect();
    let last = last_of_each(acknowledged);
    let mut broken = Broken {
        acknowledged: acknowledged.len(),
        surplus: found.bank.surplus,
        wrong_accounts: found.bank.wrong_accounts,
        ..Broken::default()
    };
    let mut beyond = 0;
    let mut required = floor;
    for (commit, rows) in &there {
        let (last, entries) = last
            .get(&(commit.round, commit.writer))
            .copied()
            .unwrap_or_default();
        if commit.nth <= last {
            continue;
        }
        if commit.nth != last + 1 {
            broken.never_asked.push(*commit);
            continue;
        }
        match rows_of(*commit) {
            None => broken.never_asked.push(*commit),
            Some(whole) if whole == *rows => {
                beyond += 1;
                required = required.max(entries);
            }
            Some(_other) => broken.not_whole.push(*commit),
        }
    }
    let begun_after = acknowledged
        .iter()
        .filter(|entry| there.contains_key(&entry.commit))
        .map(|entry| entry.after);
    required = begun_after.fold(required, usize::max);
    let mut given_up = 0;
    for (position, Entry { commit, rows, .. }) in acknowledged.iter().enumerate() {
        match there.get(commit) {
            None if position < required => broken.lost.push(*commit),
            None => given_up += 1,
            Some(found) if found == rows => {}
            Some(_other) => broken.not_whole.push(*commit),
        }
    }
    if !broken.nothing() {
        return Err(broken);
    }
    Ok(Kept {
        acknowledged: acknowledged.len(),
        found: there.len(),
        beyond,
        given_up,
        rows: there.values().sum(),
    })
}

/// Of each writer its last acknowledged commit, and how many entries the book had with it.
fn last_of_each(acknowledged: &[Entry]) -> BTreeMap<(u64, usize), (i64, usize)> {
    let mut last = BTreeMap::new();
    for (position, Entry { commit, .. }) in acknowledged.iter().enumerate() {
        last.insert((commit.round, commit.writer), (commit.nth, position + 1));
    }
    last
}

impl Broken {
    fn nothing(&self) -> bool {
        self.lost.is_empty()
            && self.not_whole.is_empty()
            && self.never_asked.is_empty()
            && self.surplus == 0
            && self.wrong_accounts == 0
    }
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
        if between.is_empty() {
            f.write_str(" none is gone")?;
        }
        if self.surplus != 0 || self.wrong_accounts != 0 {
            let Self {
                surplus,
                wrong_accounts,
                ..
            } = self;
            write!(
                f,
                "; the bank has {surplus} too much, and {wrong_accounts} accounts are not what the transfers made them"
            )?;
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
    use super::super::bank::Books;
    use super::{Broken, Commit, Entry, Found, Kept, verdict};

    fn commit(writer: usize, nth: i64) -> Commit {
        Commit {
            round: 1,
            writer,
            nth,
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the verdict asks for it")]
    fn rows_of(commit: Commit) -> Option<i64> {
        Some(1 + commit.nth % 3)
    }

    /// Two writers take turns; each commit is begun when the one before it was acknowledged.
    fn entries(to: i64) -> Vec<Entry> {
        let turns = (1..=to).flat_map(|nth| [commit(0, nth), commit(1, nth)]);
        turns
            .enumerate()
            .map(|(after, commit)| Entry {
                commit,
                rows: rows_of(commit).unwrap(),
                after,
            })
            .collect()
    }

    fn found(commits: Vec<Entry>) -> Found {
        let bank = Books {
            surplus: 0,
            wrong_accounts: 0,
        };
        Found { commits, bank }
    }

    fn strict(acknowledged: &[Entry], there: Vec<Entry>) -> Result<Kept, Broken> {
        verdict(acknowledged, acknowledged.len(), rows_of, &found(there))
    }

    #[test]
    fn what_was_acknowledged_is_there_and_one_more_of_each_may_be() {
        for (to, beyond) in [(20, 0), (21, 2)] {
            let kept = strict(&entries(20), entries(to)).unwrap();
            assert_eq!((kept.acknowledged, kept.given_up), (40, 0));
            assert_eq!((kept.found, kept.beyond), (40 + beyond, beyond));
        }
    }

    #[test]
    fn an_acknowledged_commit_that_is_gone_is_lost() {
        let mut there = entries(21);
        there.remove(6);
        let broken = strict(&entries(20), there).unwrap_err();
        assert_eq!(broken.lost, [commit(0, 4)]);
        assert_eq!(
            broken.to_string(),
            "of 40 acknowledged commits 1 are gone (commit 4 of writer 0 in round 1)"
        );
        assert_eq!(strict(&entries(20), Vec::new()).unwrap_err().lost.len(), 40);
    }

    #[test]
    fn half_a_commit_or_one_that_is_there_twice_is_not_whole() {
        for (position, nth) in [(8, 5), (40, 21)] {
            for change in [-1, 1] {
                let mut there = entries(21);
                there[position].rows += change;
                let broken = strict(&entries(20), there).unwrap_err();
                assert_eq!(broken.not_whole, [commit(0, nth)]);
            }
        }
    }

    #[test]
    fn what_nobody_asked_for_is_told() {
        let mut there = entries(20);
        there.push(Entry {
            commit: commit(1, 22),
            ..there[3]
        });
        let broken = strict(&entries(20), there).unwrap_err();
        assert_eq!(broken.never_asked, [commit(1, 22)]);
    }

    #[test]
    fn behind_the_flush_point_the_end_may_be_gone_and_nothing_before_it() {
        let all = entries(20);
        let upto = |end: usize| all[..end].to_vec();
        let judged = |there| verdict(&all, 10, rows_of, &found(there));
        assert_eq!(judged(upto(25)).unwrap().given_up, 15);
        assert_eq!(judged(upto(10)).unwrap().given_up, 30);
        assert_eq!(judged(upto(9)).unwrap_err().lost, [commit(1, 5)]);
        // A later one is there: so must be everything that it was begun after.
        let mut hole = upto(25);
        hole.remove(20);
        assert_eq!(judged(hole).unwrap_err().lost, [commit(0, 11)]);
    }

    #[test]
    fn an_unacknowledged_commit_is_not_there_without_its_writers_others() {
        let all = entries(20);
        let mut there = all[..12].to_vec();
        there.push(entries(21)[40]);
        let broken = verdict(&all, 10, rows_of, &found(there)).unwrap_err();
        assert_eq!(broken.lost.len(), 39 - 12);
    }

    #[test]
    fn commits_that_were_under_way_together_may_come_and_go_apart() {
        let at_once = |writer| Entry {
            commit: commit(writer, 1),
            rows: 2,
            after: 0,
        };
        let all = [at_once(0), at_once(1)];
        let kept = verdict(&all, 0, rows_of, &found(vec![all[1]])).unwrap();
        assert_eq!(kept.given_up, 1);
    }

    #[test]
    fn money_that_came_or_went_is_told() {
        let mut there = found(entries(3));
        there.bank.surplus = -5;
        there.bank.wrong_accounts = 1;
        let broken = verdict(&entries(3), 6, rows_of, &there).unwrap_err();
        assert_eq!(
            broken.to_string(),
            "of 6 acknowledged commits none is gone; \
             the bank has -5 too much, and 1 accounts are not what the transfers made them"
        );
    }
}
