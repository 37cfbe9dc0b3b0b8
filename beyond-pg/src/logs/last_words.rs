//! What a child said last, for whoever has to tell why it does not stay up. Pure but for the lock.

use std::sync::{Arc, Mutex, PoisonError};

use crate::logs::severity::Severity;

/// How much of a line is worth repeating.
const LIMIT: usize = 500;

/// The last words of one run of a child. Clones are the same words.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    /// Of the last message of severity WARNING or above.
    grave: Option<String>,
    last: Option<String>,
}

impl LastWords {
    /// Of a child that never came to speak, by whoever tried to start it.
    pub(crate) fn of(words: &str) -> LastWords {
        let spoken = LastWords::default();
        spoken.hear(Severity::WarningOrAbove, words);
        spoken
    }

    pub(super) fn hear(&self, severity: Severity, line: &str) {
        let line = line[..line.floor_char_boundary(LIMIT)].trim();
        if line.is_empty() {
            return;
        }
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match severity {
            Severity::WarningOrAbove => heard.grave = Some(line.to_owned()),
            Severity::BelowWarning => heard.last = Some(line.to_owned()),
        }
    }

    /// Its last complaint, or what else it said last. A server's very last line is often that it ends.
    pub(crate) fn said(&self) -> Option<String> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.grave.clone().or_else(|| heard.last.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_remembered_before_what_was_said_behind_it() {
        let words = LastWords::default();
        assert_eq!(words.said(), None);
        words.hear(Severity::BelowWarning, "starting");
        assert_eq!(words.said().as_deref(), Some("starting"));
        words.hear(Severity::WarningOrAbove, "FATAL:  no");
        words.hear(Severity::BelowWarning, "LOG:  shut down");
        words.hear(Severity::BelowWarning, "");
        assert_eq!(words.said().as_deref(), Some("FATAL:  no"));
    }

    #[test]
    fn an_endless_line_is_cut_on_a_character() {
        let words = LastWords::default();
        words.hear(Severity::BelowWarning, &"ü".repeat(1000));
        assert_eq!(words.said().unwrap(), "ü".repeat(250));
    }
}
