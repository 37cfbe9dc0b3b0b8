//! The end of a machine's output, as it stands in an error. Pure.

use std::fmt;

/// How much of a machine's output is looked through.
pub(super) const LOOKED_THROUGH: usize = 500;
/// How much of it an error carries.
const SHOWN: usize = 30;

/// The latest lines, each once: a machine that waits says the same thing every few seconds, and
/// the reason, said once before, is what matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastLines(Vec<String>);

impl LastLines {
    /// Keeps the last of each set of lines that differ only in their time.
    pub(super) fn of(lines: &[String]) -> Self {
        let mut kept: Vec<&String> = Vec::new();
        for line in lines.iter().rev() {
            if kept.len() == SHOWN {
                break;
            }
            if !kept
                .iter()
                .any(|known| without_time(known) == without_time(line))
            {
                kept.push(line);
            }
        }
        Self(kept.into_iter().rev().cloned().collect())
    }
}

/// Both PID 1 and Postgres begin a line with the time, in digits and their separators.
fn without_time(line: &str) -> &str {
    line.trim_start_matches(|c: char| c.is_ascii_digit() || "-:.TZ ".contains(c))
}

impl fmt::Display for LastLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("; it has written nothing");
        }
        f.write_str("; its last lines:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{LastLines, SHOWN};

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_reason_is_not_pushed_out_by_what_is_said_over_and_over() {
        let mut output = lines(&["2026-11-22T09:00:00Z ERROR unknown tier"]);
        output.extend(
            (10..59).map(|second| format!("2026-11-22T09:00:{second}Z  INFO asking again")),
        );
        let told = LastLines::of(&output).to_string();
        assert_eq!(
            told,
            "; its last lines:\n    2026-11-22T09:00:00Z ERROR unknown tier\n    2026-11-22T09:00:58Z  INFO asking again"
        );
    }

    #[test]
    fn only_so_much_is_shown() {
        let output: Vec<_> = (0..99).map(|n| format!("line {n}")).collect();
        let told = LastLines::of(&output);
        assert_eq!(told.0.len(), SHOWN);
        assert_eq!(told.0.last().map(String::as_str), Some("line 98"));
        assert_eq!(LastLines::of(&[]).to_string(), "; it has written nothing");
    }
}
