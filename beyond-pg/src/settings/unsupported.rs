//! Words that are accepted and whose boot paths do not exist yet: the one list of them.
//!
//! Boot refuses with these sentences rather than ignoring a setting: a machine that was asked for
//! a second copy of every commit and quietly runs without one is worse than none.

use super::keys;
use super::{Role, Settings, Unsupported};

impl Settings {
    /// What this machine was asked for and cannot do yet. Empty: boot may go on.
    pub(crate) fn not_yet_supported(&self) -> Vec<Unsupported> {
        match &self.role {
            Role::Single | Role::Sink { .. } => Vec::new(),
            role => vec![refusal(&format!("{}={} is", keys::TIER.name, role.tier()))],
        }
    }
}

fn refusal(what: &str) -> Unsupported {
    Unsupported(format!(
        "{what} understood but this image cannot do it yet; the machine does not start, because \
         running without it would promise what it does not keep. HINT: leave the setting out, or \
         use an image that supports it."
    ))
}
