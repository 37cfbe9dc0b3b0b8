//! What can be wrong with a setting, in words for the operator.
//!
//! All problems of a document are reported at once (contract 4): whoever fixes one typo should
//! not have to boot again to hear of the next.

use std::fmt;

/// One setting that cannot be used. Holds the value only where it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The key as the operator wrote it.
    pub(crate) key: String,
    /// What is wrong; the value is in it unless it is a secret.
    pub(crate) what: String,
    /// What would be accepted.
    pub(crate) accepted: String,
}

impl Problem {
    /// A required setting that is absent.
    pub(crate) fn missing(key: &str, accepted: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            what: "is not set".to_owned(),
            accepted: accepted.into(),
        }
    }

    /// A value that may be shown and is not accepted.
    pub(crate) fn value(key: &str, value: &str, accepted: impl Into<String>) -> Self {
        let what = if value.is_empty() {
            "is empty".to_owned()
        } else {
            format!("is {value:?}")
        };
        Self {
            key: key.to_owned(),
            what,
            accepted: accepted.into(),
        }
    }

    /// A problem that is told without showing the value.
    pub(crate) fn hidden(key: &str, what: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            what: what.into(),
            accepted: accepted.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; accepted: {}", self.key, self.what, self.accepted)
    }
}

/// Everything that is wrong with one document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Problems {
    /// Where the settings came from, as a phrase: `metadata service`, `environment`.
    pub(crate) asked: &'static str,
    /// Never empty.
    pub(crate) problems: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let settings = if count == 1 { "setting" } else { "settings" };
        write!(
            f,
            "{count} {settings} from the {} cannot be used:",
            self.asked
        )?;
        for problem in &self.problems {
            write!(f, "\n  - {problem}")?;
        }
        let them = if count == 1 { "it" } else { "them" };
        write!(f, "\nHINT: correct {them}; the volume was not touched.")
    }
}

/// Something to say that does not stop the boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning(pub(crate) String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
