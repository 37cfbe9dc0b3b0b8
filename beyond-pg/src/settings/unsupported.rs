//! Words that are accepted and whose boot paths do not exist yet: the one list of them.
//!
//! Boot refuses with these sentences rather than ignoring a setting: a machine that was asked for
//! a second copy of every commit and quietly runs without one is worse than none.

use super::keys;
use super::{Role, Settings, Unsupported};

impl Settings {
    /// What this machine was asked for and cannot do yet. Empty: boot may go on.
    pub(crate) fn not_yet_supported(&self) -> Vec<Unsupported> {
        let tier = match &self.role {
            Role::Single => None,
            role => Some(format!("{}={} is", keys::TIER.name, role.tier())),
        };
        let asked = [
            tier,
            self.sink
                .is_some()
                .then(|| format!("{} is", keys::WAL_SINK.name)),
        ];
        asked
            .into_iter()
            .flatten()
            .map(|what| refusal(&what))
            .collect()
    }
}

fn refusal(what: &str) -> Unsupported {
    Unsupported(format!(
        "{what} understood but this image cannot do it yet; the machine does not start, because \
         running without it would promise what it does not keep. HINT: leave the setting out, or \
         use an image that supports it."
    ))
}
