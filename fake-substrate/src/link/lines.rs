//! The log lines of one machine, the latest of them. Pure.

use std::collections::VecDeque;

use wire::log::LogLine;

use crate::admin::{KeptLine, LogPage};

/// What is kept of a machine's log: two minutes of full-length pgaudit records at the rate that a
/// machine may send, hours of an ordinary one.
const KEPT_BYTES: usize = 32 << 20;
/// What a line costs beside its text.
const ENVELOPE: usize = size_of::<KeptLine>();
/// How much one page holds, so that an answer is neither late nor huge.
const PAGE_BYTES: usize = 1 << 20;

/// A ring: the oldest lines go when there is no more room.
#[derive(Debug)]
pub(super) struct Lines {
    kept: VecDeque<KeptLine>,
    bytes: usize,
    limit: usize,
    last: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self::within(KEPT_BYTES)
    }
}

impl Lines {
    fn within(limit: usize) -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
            limit,
            last: 0,
        }
    }

    /// Keeps a line; answers its number.
    pub(super) fn push(&mut self, line: LogLine, connection: u64, arrived_unix_ms: u64) -> u64 {
        self.last += 1;
        let kept = KeptLine {
            seq: self.last,
            arrived_unix_ms,
            connection,
            line,
        };
        self.bytes += cost(&kept);
        self.kept.push_back(kept);
        while self.bytes > self.limit && self.kept.len() > 1 {
            self.bytes -= self.kept.pop_front().map_or(0, |oldest| cost(&oldest));
        }
        self.last
    }

    /// The number of the latest line; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The lines after that one, as many as fit a page, and at least one where there is one.
    pub(super) fn page(&self, after: u64) -> LogPage {
        // A number from before this process: what it has is all new to whoever asks.
        let after = if after > self.last { 0 } else { after };
        let skipped = self.kept.partition_point(|line| line.seq <= after);
        let mut room = PAGE_BYTES;
        let mut lines = Vec::new();
        for line in self.kept.range(skipped..) {
            let cost = cost(line);
            if cost > room && !lines.is_empty() {
                break;
            }
            room = room.saturating_sub(cost);
            lines.push(line.clone());
        }
        let first = lines.first().map_or(after + 1, |line| line.seq);
        LogPage {
            missed: first - after - 1,
            after: lines.last().map_or(after, |line| line.seq),
            lines,
        }
    }
}

fn cost(line: &KeptLine) -> usize {
    ENVELOPE + line.line.line.len() + line.line.execution_id.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::log::Stream;

    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine {
            stream: Stream::Stderr,
            line: text.to_owned(),
            truncated: false,
            execution_id: String::new(),
        }
    }

    fn numbers(page: &LogPage) -> Vec<u64> {
        page.lines.iter().map(|line| line.seq).collect()
    }

    #[test]
    fn the_oldest_lines_go_and_whoever_missed_them_is_told_how_many() {
        let mut lines = Lines::within(2 * (ENVELOPE + 10));
        for text in ["first line", "second one", "third line"] {
            lines.push(line(text), 1, 7);
        }
        let page = lines.page(0);
        assert_eq!(numbers(&page), [2, 3]);
        assert_eq!((page.missed, page.after), (1, 3));
        assert_eq!(numbers(&lines.page(2)), [3]);
        assert_eq!(lines.page(2).missed, 0);
        let nothing = LogPage {
            lines: vec![],
            after: 3,
            missed: 0,
        };
        assert_eq!(lines.page(3), nothing);
    }

    #[test]
    fn a_line_larger_than_the_ring_is_kept_alone() {
        let mut lines = Lines::within(1);
        lines.push(line("small"), 1, 7);
        lines.push(line(&"x".repeat(2 * PAGE_BYTES)), 1, 7);
        assert_eq!(numbers(&lines.page(0)), [2], "kept, and a page of its own");
    }

    #[test]
    fn a_number_from_an_earlier_process_begins_at_the_beginning() {
        let mut lines = Lines::default();
        lines.push(line("first"), 1, 7);
        assert_eq!(numbers(&lines.page(500)), [1]);
        assert_eq!(lines.page(500).missed, 0);
    }

    proptest! {
        /// Page by page, every line that is kept is seen once, in order, and the rest is counted.
        #[test]
        fn pages_tell_everything_once(
            lengths in prop::collection::vec(0usize..400_000, 0..40),
            limit in 1usize..4_000_000,
        ) {
            let mut lines = Lines::within(limit);
            for length in &lengths {
                lines.push(line(&"x".repeat(*length)), 1, 7);
            }
            let (mut after, mut missed, mut seen) = (0, 0, Vec::new());
            loop {
                let page = lines.page(after);
                if page.lines.is_empty() {
                    break;
                }
                (after, missed) = (page.after, missed + page.missed);
                seen.extend(numbers(&page));
            }
            let expected: Vec<u64> = (missed + 1..=lines.last()).collect();
            prop_assert_eq!(seen, expected);
            prop_assert!(lines.bytes <= limit || lines.kept.len() == 1);
        }
    }
}
