//! The shortest history that still fails: one event is dropped after the other. Whoever plays a candidate tells
//! whether it failed.

use super::history::History;

/// Proposes shorter histories.
#[derive(Debug)]
pub(super) struct Shrinker {
    shortest: History,
    /// Which event the next candidate lacks.
    position: usize,
    /// Whether one was dropped since the last pass began.
    shorter: bool,
}

impl Shrinker {
    /// Of one that fails.
    pub(super) fn of(failing: History) -> Self {
        Self {
            position: failing.events.len(),
            shortest: failing,
            shorter: false,
        }
    }

    /// What to play next; none when nothing can be dropped. From the end, since what is near it is what a
    /// failure hangs on.
    pub(super) fn candidate(&mut self) -> Option<History> {
        if self.position == 0 {
            if !self.shorter {
                return None;
            }
            self.shorter = false;
            self.position = self.shortest.events.len();
        }
        // A list that has become empty has nothing to drop.
        self.position = self.position.checked_sub(1)?;
        let mut candidate = self.shortest.clone();
        candidate.events.remove(self.position);
        Some(candidate)
    }

    /// The last candidate was played.
    pub(super) fn told(&mut self, candidate: History, failed: bool) {
        if failed {
            self.shortest = candidate;
            self.shorter = true;
        }
    }

    pub(super) fn shortest(self) -> History {
        self.shortest
    }
}

#[cfg(test)]
mod tests {
    use super::{History, Shrinker};

    fn shrunk(text: &str, fails: impl Fn(&str) -> bool) -> (String, usize) {
        let mut shrinker = Shrinker::of(text.parse().unwrap());
        let mut played = 0;
        while let Some(candidate) = shrinker.candidate() {
            played += 1;
            let failed = fails(&candidate.to_string());
            shrinker.told(candidate, failed);
        }
        (shrinker.shortest().to_string(), played)
    }

    const LONG: &str = "sink; write 4x tiny direct; commits 200; flush; ddl; commits 20; crash-sink; checkpoint; lose-host";

    #[test]
    fn what_a_failure_does_not_hang_on_is_dropped() {
        let (shortest, played) = shrunk(LONG, |it| {
            it.contains("write") && it.contains("commits 20;")
        });
        assert_eq!(
            shortest,
            "sink; write 4x tiny direct; commits 20; lose-host"
        );
        assert!(played < 15, "{played}");
    }

    #[test]
    fn a_failure_that_hangs_on_everything_stays_as_it_is_after_one_pass() {
        let (shortest, played) = shrunk(LONG, |_any| false);
        assert_eq!((shortest.as_str(), played), (LONG, 7));
    }

    #[test]
    fn one_that_hangs_on_nothing_becomes_empty() {
        assert_eq!(shrunk(LONG, |_any| true).0, "sink; lose-host");
    }

    /// A drop may make another one possible that failed before.
    #[test]
    fn a_pass_that_dropped_something_is_followed_by_another() {
        let both_or_none = |it: &str| it.contains("crash-sink") || !it.contains("ddl");
        let (shortest, _played) = shrunk(LONG, both_or_none);
        assert!(
            !shortest.contains("ddl") && !shortest.contains("crash-sink"),
            "{shortest}"
        );
    }

    #[test]
    fn kind_and_end_stay() {
        let history: History = shrunk("alone; flush; power-cut sectors", |_any| true)
            .0
            .parse()
            .unwrap();
        assert_eq!(history.to_string(), "alone; power-cut sectors");
    }
}
