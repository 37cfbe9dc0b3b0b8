//! How an error is told: what failed, because of what, and what to do.

use std::error::Error;

/// Messages carry their hint behind this, wherever in the chain of causes they stand.
const HINT: &str = "\nHINT: ";

/// An error and its causes, each said once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What failed.
    pub what: String,
    /// Because of what, outermost first.
    pub because: Vec<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Told {
    /// Reads an error to its root.
    pub fn of(error: &dyn Error) -> Self {
        let mut told = Self {
            what: String::new(),
            because: Vec::new(),
            hint: None,
        };
        let mut said = String::new();
        let mut next = Some(error);
        while let Some(error) = next {
            next = error.source();
            let message = error.to_string();
            let (message, hint) = message.split_once(HINT).unwrap_or((&message, ""));
            if said.is_empty() {
                message.clone_into(&mut told.what);
            } else if !said.contains(message) {
                // Many errors repeat their cause in their own words; once is enough.
                told.because.push(message.to_owned());
            }
            said.push_str(message);
            // The outermost hint knows what was wanted; those of causes would only argue with it.
            if told.hint.is_none() && !hint.is_empty() {
                told.hint = Some(hint.to_owned());
            }
        }
        told
    }
}
