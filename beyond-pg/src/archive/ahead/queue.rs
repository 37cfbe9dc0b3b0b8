//! What is under way, and what comes next. Pure, but for the tasks that it holds.

use std::collections::BTreeMap;

use tokio::task::JoinHandle;

use crate::archive::file::{Kind, Segment, WalFile};

/// One task for each file, by its name.
#[derive(Debug)]
pub(super) struct Queue<T> {
    under_way: BTreeMap<String, JoinHandle<T>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue {
            under_way: BTreeMap::new(),
        }
    }
}

impl<T> Queue<T> {
    /// The task of this file, which is the caller's from here on.
    pub(super) fn take(&mut self, name: &str) -> Option<JoinHandle<T>> {
        self.under_way.remove(name)
    }

    /// Ends what none of these names is of, and answers which of them has no task yet.
    pub(super) fn turn_to(&mut self, names: Vec<String>) -> Vec<String> {
        self.under_way.retain(|name, task| {
            let kept = names.contains(name);
            if !kept {
                task.abort();
            }
            kept
        });
        let missing = |name: &String| !self.under_way.contains_key(name);
        names.into_iter().filter(missing).collect()
    }

    pub(super) fn add(&mut self, name: String, task: JoinHandle<T>) {
        self.under_way.insert(name, task);
    }
}

/// A whole segment; everything else is small and rare, and not done ahead.
pub(super) fn segment(name: &str) -> Option<Segment> {
    match WalFile::parse(name)?.kind() {
        Kind::Segment(segment) if segment.to_string() == name => Some(segment),
        Kind::Segment(_) | Kind::History | Kind::Backup => None,
    }
}

/// The segments that Postgres asks for after `asked`: it goes by name.
pub(super) fn ready_behind(
    asked: &str,
    ready: impl Iterator<Item = String>,
    room: usize,
) -> Vec<String> {
    let behind = |name: &String| name.as_str() > asked && segment(name).is_some();
    let mut names: Vec<String> = ready.filter(behind).collect();
    names.sort_unstable();
    names.truncate(room);
    names
}

/// The segments that recovery asks for after this one, as long as it stays on this timeline.
pub(super) fn follow(asked: Segment, room: usize) -> Vec<String> {
    let after = |n| Segment {
        number: asked.number + n,
        ..asked
    };
    (1_u64..).take(room).map(|n| after(n).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn postgres_goes_by_name_and_only_whole_segments_are_done_ahead() {
        let ready = names(&[
            "000000010000000000000005",
            "000000010000000000000004",
            "00000002.history",
            "000000010000000000000003",
            "000000010000000000000006.partial",
            "000000020000000000000006",
            "000000010000000000000002",
        ]);
        let behind = |room| ready_behind("000000010000000000000003", ready.iter().cloned(), room);
        assert_eq!(
            behind(2),
            ["000000010000000000000004", "000000010000000000000005"]
        );
        assert_eq!(behind(9).last().unwrap(), "000000020000000000000006");
        assert!(behind(0).is_empty());
    }

    #[test]
    fn recovery_goes_on_across_the_parts_of_a_name() {
        let asked = segment("0000000300000000000000FE").unwrap();
        assert_eq!(
            follow(asked, 2),
            ["0000000300000000000000FF", "000000030000000100000000"]
        );
    }

    #[tokio::test]
    async fn a_task_goes_on_for_as_long_as_it_is_wanted() {
        let mut queue = Queue::default();
        for name in ["a", "b"] {
            queue.add(name.to_owned(), tokio::spawn(async move { name }));
        }
        assert_eq!(queue.turn_to(names(&["b", "c"])), ["c"]);
        assert!(queue.take("a").is_none());
        assert_eq!(queue.take("b").unwrap().await.unwrap(), "b");
        assert_eq!(queue.turn_to(names(&["b"])), ["b"]);
    }
}
