//! The kernel's command line, as far as it speaks to PID 1. Pure: the text of `/proc/cmdline` in,
//! options and warnings out.
//!
//! ```text
//!  console=ttyS0 beyond.stop_budget=60 "dyndbg=file a.c +p" -- word
//!  the kernel's   PID 1's               the kernel's            PID 1's
//! ```
//!
//! The names of our options have a dot because the kernel takes such words for parameters of a
//! module that it does not have, and hands them to nobody. Words without one become arguments and
//! environment of `/sbin/init`, and end here as nothing at all: no word ends PID 1, for that would be
//! a kernel panic.

use std::time::Duration;

use crate::cli::STOP_BUDGET_SECONDS;
use crate::settings::{Warning, keys};

/// Names under which an operator can only have meant an option of ours.
const PREFIX: &str = "beyond.";
const STOP_BUDGET: &str = "beyond.stop_budget";
/// Every option there is.
const NAMES: [&str; 1] = [STOP_BUDGET];

/// What it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// Total time for a stop.
    pub(crate) stop_budget: Option<Duration>,
    /// What was meant for PID 1 and is not in force. Never has a value that is not a known option's.
    pub(crate) warnings: Vec<Warning>,
}

impl CommandLine {
    /// As with the kernel's own options, the last of several counts.
    pub(crate) fn parse(text: &str) -> CommandLine {
        let mut line = CommandLine::default();
        let mut to_init = false;
        for word in words(text) {
            match (word.name, word.value) {
                ("--", None) if !to_init => to_init = true,
                (name, value) if name.starts_with(PREFIX) => line.option(name, value),
                (name, _) if to_init => line.stranger(name),
                _ => {}
            }
        }
        line
    }

    fn option(&mut self, name: &str, value: Option<&str>) {
        // The kernel takes one for the other in its own names.
        if name.replace('-', "_") != STOP_BUDGET {
            return self.stranger(name);
        }
        let seconds = value.and_then(|value| value.parse().ok());
        match seconds.filter(|seconds| STOP_BUDGET_SECONDS.contains(seconds)) {
            Some(seconds) => self.stop_budget = Some(Duration::from_secs(seconds)),
            None => self.warnings.push(Warning(format!(
                "{name} on the kernel's command line is {:?} and is ignored; accepted: whole seconds \
                 from {} to {}",
                value.unwrap_or_default(),
                STOP_BUDGET_SECONDS.start(),
                STOP_BUDGET_SECONDS.end()
            ))),
        }
    }

    fn stranger(&mut self, name: &str) {
        let nearest = NAMES
            .into_iter()
            .min_by_key(|known| keys::distance(name, known));
        self.warnings.push(Warning(format!(
            "{name:?} on the kernel's command line is not an option of PID 1 and is ignored. HINT: \
             the nearest is {}=…",
            nearest.unwrap_or(STOP_BUDGET)
        )));
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Word<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

/// Cuts as the kernel does (`next_arg` of lib/cmdline.c): a blank within quotes does not end a word,
/// the first `=` ends its name, and quotes are taken away only around a whole word or a whole value.
fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(is_blank);
        let quoted = rest.starts_with('"');
        let start = usize::from(quoted);
        let mut in_quotes = quoted;
        let end = rest[start..].find(|character| {
            in_quotes ^= character == '"';
            is_blank(character) && !in_quotes
        });
        let (word, after) = rest.split_at(end.map_or(rest.len(), |end| start + end));
        rest = after;
        (!word.is_empty()).then(|| Word::of(word))
    })
}

fn is_blank(character: char) -> bool {
    // `isspace` of C, which has the vertical tab and Rust's `is_ascii_whitespace` has not.
    matches!(character, ' ' | '\t'..='\r')
}

impl<'a> Word<'a> {
    fn of(word: &'a str) -> Word<'a> {
        let word = unquoted(word);
        match word.split_once('=') {
            // A word that begins with `=` has no name that could be told from its value.
            Some((name, value)) if !name.is_empty() => Word {
                name,
                value: Some(unquoted(value)),
            },
            _ => Word {
                name: word,
                value: None,
            },
        }
    }
}

/// Without the quote in front, and without one at the end if there was one in front.
fn unquoted(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(inside) => inside.strip_suffix('"').unwrap_or(inside),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(&str, Option<&str>)> {
        words(text).map(|word| (word.name, word.value)).collect()
    }

    fn warnings(text: &str) -> Vec<String> {
        let line = CommandLine::parse(text);
        line.warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_are_cut_as_the_kernel_cuts_them() {
        for (text, expected) in [
            ("", vec![]),
            (" \t\n", vec![]),
            ("ro  quiet\n", vec![("ro", None), ("quiet", None)]),
            ("a=b=c", vec![("a", Some("b=c"))]),
            ("a= b", vec![("a", Some("")), ("b", None)]),
            ("=a", vec![("=a", None)]),
            ("a=\"b c\" d", vec![("a", Some("b c")), ("d", None)]),
            ("\"a=b c\" d", vec![("a", Some("b c")), ("d", None)]),
            ("\"a b\"", vec![("a b", None)]),
            ("a=b\"c d\"e", vec![("a", Some("b\"c d\"e"))]),
            ("a=\"open to the end", vec![("a", Some("open to the end"))]),
            ("\"", vec![("", None)]),
            ("\"\" a", vec![("", None), ("a", None)]),
            ("a\u{b}b", vec![("a", None), ("b", None)]),
            ("für=\"ü ü\"", vec![("für", Some("ü ü"))]),
        ] {
            assert_eq!(pairs(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_stop_budget_is_the_last_usable_one() {
        for (text, seconds) in [
            ("console=ttyS0 beyond.stop_budget=60 ro\n", Some(60)),
            ("beyond.stop_budget=60 beyond.stop_budget=5", Some(5)),
            ("beyond.stop_budget=\"7\"", Some(7)),
            ("beyond.stop-budget=8", Some(8)),
            ("ro -- beyond.stop_budget=9", Some(9)),
            ("stop_budget=60 xbeyond.stop_budget=60 ro", None),
            ("console=\"beyond.stop_budget=60\"", None),
        ] {
            let line = CommandLine::parse(text);
            assert_eq!(
                line.stop_budget,
                seconds.map(Duration::from_secs),
                "{text:?}"
            );
            assert_eq!(line.warnings, [], "{text:?}");
        }
    }

    #[test]
    fn a_budget_that_is_none_is_named_and_the_one_before_it_stays() {
        for value in ["", "0", "-1", "1.5", "60s", "86401", "18446744073709551616"] {
            let line =
                CommandLine::parse(&format!("beyond.stop_budget=3 beyond.stop_budget={value}"));
            assert_eq!(line.stop_budget, Some(Duration::from_secs(3)), "{value:?}");
            let words: Vec<_> = line.warnings.iter().map(ToString::to_string).collect();
            let expected = format!(
                "beyond.stop_budget on the kernel's command line is {value:?} and is ignored; \
                 accepted: whole seconds from 1 to 86400"
            );
            assert_eq!(words, [expected]);
        }
    }

    #[test]
    fn what_is_meant_for_us_and_unknown_is_warned_about_and_the_rest_is_nobodys_business() {
        let text = "root=/dev/vda ro quiet boot archive --plan beyond_x=1 beyond.stop_bugdet=5 \
                    password=hunter2 -- --stop-budget token=hunter2";
        let budget = "HINT: the nearest is beyond.stop_budget=…";
        let expected = ["beyond.stop_bugdet", "--stop-budget", "token"].map(|name| {
            format!(
                "{name:?} on the kernel's command line is not an option of PID 1 and is ignored. {budget}"
            )
        });
        assert_eq!(warnings(text), expected);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_gives_a_budget_that_no_clock_can_hold(
            text in prop_oneof![
                any::<String>(),
                "([a-z.=\" -]|beyond\\.stop_budget=|[0-9]){0,60}",
            ],
        ) {
            let line = CommandLine::parse(&text);
            if let Some(budget) = line.stop_budget {
                prop_assert!(STOP_BUDGET_SECONDS.contains(&budget.as_secs()));
            }
        }

        #[test]
        fn a_quoted_value_is_read_back_whatever_stands_in_it(
            values in prop::collection::vec("[^\"]{0,12}", 0..6),
        ) {
            let text: String = values.iter().map(|value| format!("name=\"{value}\" ")).collect();
            let read: Vec<_> = words(&text).map(|word| word.value.unwrap_or("none")).collect();
            prop_assert_eq!(read, values);
        }
    }
}
