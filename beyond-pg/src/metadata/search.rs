//! Where to look for settings and when to stop looking: pure, fed with answers (contract 4, 9).
//!
//! ```text
//!                  no link-local address, not our own kernel
//!            ┌──────────────► environment ──── password ────► Use
//!   source ──┤                     └── none ──► Wait, look again (an address may come later)
//!            └──────────────► metadata service ─ document ──► Use
//!                  else            ├── unusable answer ─────► Wait, ask again, never fall back
//!                                  └── nothing listens, five times over, and a password in the
//!                                      environment ─────────► Use the environment, loudly
//! ```

use std::time::Duration;

use super::Metadata;
use super::mmds::MmdsError;
use crate::settings::keys;

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Mmds,
    Environment,
}

/// A container without a link-local address never asks: its packet would leave by the default
/// route and, on a cloud host, reach the cloud's own metadata service. A machine with its own
/// kernel has no such host beneath it and may have a route instead of an address.
pub(super) fn source(has_link_local: bool, own_kernel: bool) -> Ask {
    if has_link_local || own_kernel {
        Ask::Mmds
    } else {
        Ask::Environment
    }
}

/// How often nothing may be there before the environment counts. The service is up before the
/// machine is, so that this is for machines that have none.
const ABSENCES: u32 = 5;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The same reason is repeated in the log no more often than this.
const REPEAT: Duration = Duration::from_secs(60);

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These are the settings; say this first, if anything.
    Use(Metadata, Option<String>),
    /// Say this, if anything, and look again after the pause.
    Wait {
        say: Option<String>,
        pause: Duration,
    },
}

/// The state of a search.
#[derive(Debug)]
pub(super) struct Search {
    absences: u32,
    pause: Duration,
    reason: String,
    quiet_for: Duration,
}

impl Search {
    pub(super) fn new() -> Self {
        let (reason, quiet_for) = (String::new(), Duration::ZERO);
        Self {
            absences: 0,
            pause: FIRST_PAUSE,
            reason,
            quiet_for,
        }
    }

    /// The metadata service is not to be asked; this is the environment.
    pub(super) fn on_environment(&mut self, environment: Metadata) -> Next {
        if is_meant(&environment) {
            return Next::Use(environment, None);
        }
        self.wait(format!(
            "no settings yet: this machine has no link-local address, so no metadata service is \
             asked, and the environment has no {password}. HINT: start the container with `-e \
             {password}=…`, or attach it to its platform's network",
            password = keys::PASSWORD.name
        ))
    }

    /// The metadata service was asked, and the environment was looked at as well.
    pub(super) fn on_answer(
        &mut self,
        answer: Result<Metadata, MmdsError>,
        environment: Metadata,
    ) -> Next {
        let error = match answer {
            Ok(document) => return Next::Use(document, None),
            Err(error) => error,
        };
        self.absences = if error.is_absent() {
            self.absences + 1
        } else {
            0
        };
        if self.absences >= ABSENCES && is_meant(&environment) {
            let loudly = format!(
                "settings come from the environment: there is no metadata service ({error})"
            );
            return Next::Use(environment, Some(loudly));
        }
        self.wait(format!("no settings yet, asking again: {error}"))
    }

    fn wait(&mut self, reason: String) -> Next {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        let news = reason != self.reason || self.quiet_for >= REPEAT;
        self.quiet_for = if news { pause } else { self.quiet_for + pause };
        let say = news.then(|| reason.clone());
        self.reason = reason;
        Next::Wait { say, pause }
    }
}

/// Whether somebody set this environment up for a database: it has a password, or tried to.
fn is_meant(environment: &Metadata) -> bool {
    let password = environment.values.get(keys::PASSWORD.name);
    password.is_some_and(|password| !password.is_empty()) || !environment.problems.is_empty()
}
