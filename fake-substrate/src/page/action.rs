//! What a person may do to a machine from the page, and when. Pure.

use std::fmt;
use std::str::FromStr;

use crate::machine::state::{State, Verb, Verdict};

/// What a button does to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Restart,
    Fork,
    Crash,
}

/// Where its button stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// What anybody does to a machine.
    Everyday,
    /// With the name of the new machine.
    Forks,
    /// What breaks something on purpose.
    Breaks,
}

impl Action {
    pub(super) const ALL: [Self; 5] = [
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Fork,
        Self::Crash,
    ];

    /// As the command line calls it, and the address that its form is sent to.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Fork => "fork",
            Self::Crash => "crash",
        }
    }

    /// On its button.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::Stop => "Stop",
            Self::Restart => "Restart",
            Self::Fork => "Fork",
            Self::Crash => "Crash",
        }
    }

    /// What becomes of the machine.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Start => "Boot it and wait until clients get in",
            Self::Stop => "Shut it down cleanly",
            Self::Restart => "Shut it down cleanly and boot it again",
            Self::Fork => "A new machine on a copy of its volume",
            Self::Crash => "SIGKILL of the whole machine: what reached the volume stays",
        }
    }

    pub(super) const fn group(self) -> Group {
        match self {
            Self::Start | Self::Stop | Self::Restart => Group::Everyday,
            Self::Fork => Group::Forks,
            Self::Crash => Group::Breaks,
        }
    }

    /// Whether it may be done to a machine that stands like this; else why not. `busy` is what is
    /// being done to it already.
    pub(super) fn availability(self, state: State, busy: Option<&str>) -> Result<(), String> {
        if let Some(busy) = busy {
            return Err(format!("under way: {busy}"));
        }
        let possible = match self {
            Self::Start => state.allows(Verb::Start) == Verdict::Go,
            // One that does not run has nothing to be stopped first.
            Self::Stop | Self::Restart => state.allows(Verb::Stop) == Verdict::Go,
            Self::Crash => state.allows(Verb::Crash) == Verdict::Go,
            // One that was never booted has nothing to copy; a frozen one cannot prepare.
            Self::Fork => state == State::Running || state.has_ended(),
        };
        if possible {
            Ok(())
        } else {
            Err(format!("the machine is {state}"))
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// No button sends this.
#[derive(Debug, thiserror::Error)]
#[error("there is no action {0:?}: reload the page")]
pub(super) struct NoSuchAction(String);

impl FromStr for Action {
    type Err = NoSuchAction;

    fn from_str(given: &str) -> Result<Self, NoSuchAction> {
        let named = Self::ALL.into_iter().find(|action| action.word() == given);
        named.ok_or_else(|| NoSuchAction(given.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::Action;
    use crate::machine::state::State;

    #[test]
    fn each_state_has_its_buttons() {
        let crashed = State::Crashed {
            exit_code: 137,
            out_of_memory: false,
        };
        let table: [(State, &[Action]); 6] = [
            (State::Created, &[Action::Start]),
            (
                State::Running,
                &[Action::Stop, Action::Restart, Action::Fork, Action::Crash],
            ),
            (State::Paused, &[Action::Crash]),
            (State::Stopped, &[Action::Start, Action::Fork]),
            (crashed, &[Action::Start, Action::Fork]),
            (State::Removing, &[]),
        ];
        for (state, available) in table {
            for action in Action::ALL {
                let answer = action.availability(state, None);
                assert_eq!(
                    answer.is_ok(),
                    available.contains(&action),
                    "{action} {state}"
                );
            }
        }
    }

    #[test]
    fn a_machine_that_something_is_done_to_is_left_alone() {
        for action in Action::ALL {
            let refused = action.availability(State::Running, Some("fork db to copy"));
            assert_eq!(refused, Err("under way: fork db to copy".to_owned()));
        }
    }

    #[test]
    fn every_action_is_found_by_its_word() {
        for action in Action::ALL {
            assert_eq!(action.word().parse::<Action>().unwrap(), action);
        }
        assert!("drop".parse::<Action>().is_err());
    }
}
