//! The log lines that the host received, of all machines in the order in which they were fetched.
//! A fixed number is kept; whoever reads more slowly than they come is told how many it missed.

use std::collections::{BTreeMap, VecDeque};

use crate::admin::KeptLine;

/// How many lines are kept for pages that are opened now.
const KEPT: usize = 500;
/// How many of a machine's lines from before the page was opened are fetched.
const FROM_BEFORE: u64 = 100;
/// A longer line is cut for display; `fake-substrate logs` has all of it.
const SHOWN: usize = 2000;

/// A line, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Counts the lines of this process.
    pub(super) number: u64,
    pub(super) machine: String,
    /// Which run of which program wrote it.
    pub(super) source: String,
    pub(super) arrived_ms: u64,
    pub(super) severity: Severity,
    pub(super) text: String,
    /// Bytes that are not shown.
    pub(super) cut: usize,
}

/// How a line is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Plain,
    /// Somebody came or went: most of the lines of an idle machine, and hidden until asked for.
    Connection,
    Warning,
    Error,
}

impl Severity {
    /// As PID 1, Postgres and PgBouncer mark their lines; the first mark counts, for what follows it
    /// is text.
    pub(super) fn of(line: &str) -> Self {
        let mark = |word: &str| match word.trim_end_matches(':') {
            "WARN" | "WARNING" => Some(Self::Warning),
            "ERROR" | "FATAL" | "PANIC" => Some(Self::Error),
            "TRACE" | "DEBUG" | "INFO" | "NOTICE" | "LOG" | "DETAIL" | "HINT" | "STATEMENT"
            | "CONTEXT" | "QUERY" => Some(Self::Plain),
            _ => None,
        };
        if CONNECTIONS.iter().any(|words| line.contains(words)) {
            return Self::Connection;
        }
        let words = line.split_whitespace().take(MARK_WITHIN);
        words.into_iter().find_map(mark).unwrap_or(Self::Plain)
    }
}

/// What Postgres says of each session.
const CONNECTIONS: [&str; 4] = [
    " LOG:  connection received: ",
    " LOG:  connection authenticated: ",
    " LOG:  connection authorized: ",
    " LOG:  disconnection: ",
];

/// The prefix of Postgres has fewer words than this before the severity.
const MARK_WITHIN: usize = 9;

/// The lines of all machines.
#[derive(Debug, Default)]
pub(super) struct Feed {
    latest: u64,
    lines: VecDeque<Line>,
    /// The host's number of the last line fetched, for each machine.
    fetched: BTreeMap<String, u64>,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) lines: Vec<Line>,
    /// So many came before these and are not kept.
    pub(super) missed: u64,
}

impl Feed {
    /// From which of the host's lines on to fetch, when it has come to `last`.
    pub(super) fn after(&self, machine: &str, last: u64) -> u64 {
        let first = last.saturating_sub(FROM_BEFORE);
        self.fetched.get(machine).copied().unwrap_or(first)
    }

    /// Takes in what was fetched; `after` is what to ask for next.
    pub(super) fn take_in(&mut self, machine: &str, lines: Vec<KeptLine>, after: u64) {
        self.fetched.insert(machine.to_owned(), after);
        for kept in lines {
            self.latest += 1;
            if self.lines.len() == KEPT {
                self.lines.pop_front();
            }
            self.lines.push_back(Line::of(self.latest, machine, kept));
        }
    }

    /// The number of the latest line.
    pub(super) fn latest(&self) -> u64 {
        self.latest
    }

    /// Every line that is kept.
    pub(super) fn kept(&self) -> Vec<Line> {
        self.lines.iter().cloned().collect()
    }

    /// What came after that line. A number that was not given yet is an earlier process's: then
    /// everything.
    pub(super) fn since(&self, number: u64) -> Since {
        let number = if number > self.latest { 0 } else { number };
        let oldest = self.lines.front().map_or(self.latest, |line| line.number);
        let missed = match number {
            0 => 0,
            _ => oldest.saturating_sub(number + 1),
        };
        let newer = self.lines.iter().filter(|line| line.number > number);
        Since {
            lines: newer.cloned().collect(),
            missed,
        }
    }
}

impl Line {
    fn of(number: u64, machine: &str, kept: KeptLine) -> Self {
        let whole = kept.line.line;
        let severity = Severity::of(&whole);
        let text: String = whole.chars().take(SHOWN).collect();
        Self {
            number,
            machine: machine.to_owned(),
            source: kept.line.execution_id,
            arrived_ms: kept.arrived_unix_ms,
            severity,
            cut: whole.len() - text.len(),
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::log::{LogLine, Stream};

    use super::*;

    fn line(seq: u64, text: &str) -> KeptLine {
        KeptLine {
            seq,
            arrived_unix_ms: 1,
            connection: 1,
            line: LogLine {
                stream: Stream::Stderr,
                line: text.to_owned(),
                truncated: false,
                execution_id: "postgres-1".to_owned(),
            },
        }
    }

    fn numbers(since: &Since) -> Vec<u64> {
        since.lines.iter().map(|line| line.number).collect()
    }

    #[test]
    fn a_reader_gets_each_line_once() {
        let mut feed = Feed::default();
        feed.take_in("db", vec![line(1, "a"), line(2, "b")], 2);
        assert_eq!(numbers(&feed.since(0)), [1, 2]);
        feed.take_in("copy", vec![line(1, "c")], 1);
        assert_eq!(numbers(&feed.since(2)), [3]);
        assert_eq!(numbers(&feed.since(3)), [0; 0]);
        assert_eq!(numbers(&feed.since(99)), [1, 2, 3], "of an earlier process");
    }

    #[test]
    fn a_slow_reader_is_told_what_it_missed() {
        let mut feed = Feed::default();
        let flood = 3 * u64::try_from(KEPT).unwrap();
        feed.take_in("db", (1..=flood).map(|seq| line(seq, "x")).collect(), flood);
        let since = feed.since(10);
        assert_eq!(since.lines.len(), KEPT);
        assert_eq!(since.missed, flood - 10 - u64::try_from(KEPT).unwrap());
        assert_eq!(feed.since(flood - 1).missed, 0);
        assert_eq!(feed.kept().len(), KEPT);
    }

    #[test]
    fn of_what_came_before_a_page_was_opened_the_latest_is_fetched() {
        let mut feed = Feed::default();
        assert_eq!(feed.after("db", 5000), 4900);
        assert_eq!(feed.after("db", 5), 0);
        feed.take_in("db", Vec::new(), 4321);
        assert_eq!(feed.after("db", 5000), 4321);
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        let mut feed = Feed::default();
        feed.take_in("db", vec![line(1, &"é".repeat(SHOWN + 1))], 1);
        let kept = feed.kept();
        assert_eq!((kept[0].text.chars().count(), kept[0].cut), (SHOWN, 2));
    }

    #[test]
    fn severities_are_read_where_each_program_puts_them() {
        let prefix = "2026-11-22 09:49:08.412 UTC [33] [app] db=d,user=u,client=h";
        for (line, severity) in [
            (format!("{prefix} ERROR:  no such table"), Severity::Error),
            (
                format!("{prefix} LOG:  the word ERROR: in a text"),
                Severity::Plain,
            ),
            (format!("{prefix} WARNING:  worn"), Severity::Warning),
            (
                format!("{prefix} STATEMENT:  SELECT 'FATAL: '"),
                Severity::Plain,
            ),
            (
                format!("{prefix} LOG:  connection received: host=[local]"),
                Severity::Connection,
            ),
            (
                "2026-11-22 09:49:08.4 UTC [9] WARNING C-0x1: pooler error".to_owned(),
                Severity::Warning,
            ),
            (
                "2026-11-22T09:00:00Z  WARN 85 % full".to_owned(),
                Severity::Warning,
            ),
            (
                "2026-11-22T09:00:00Z  INFO boot 1/3: FATAL is a word".to_owned(),
                Severity::Plain,
            ),
            ("\tFROM nowhere".to_owned(), Severity::Plain),
        ] {
            assert_eq!(Severity::of(&line), severity, "{line}");
        }
    }
}
