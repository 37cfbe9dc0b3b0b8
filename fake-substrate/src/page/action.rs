//! What a person may do to a machine from the page, and when. Pure.

use std::fmt;
use std::str::FromStr;

use crate::backend::Backend;
use crate::machine::state::{State, Verb, Verdict};

/// What a button does to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Restart,
    Flush,
    Rehome,
    Fork,
    Crash,
    PowerCut,
    LoseHost,
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
    pub(super) const ALL: [Self; 9] = [
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Flush,
        Self::Rehome,
        Self::Fork,
        Self::Crash,
        Self::PowerCut,
        Self::LoseHost,
    ];

    /// As the command line calls it, and the address that its form is sent to.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Flush => "flush",
            Self::Rehome => "rehome",
            Self::Fork => "fork",
            Self::Crash => "crash",
            Self::PowerCut => "power-cut",
            Self::LoseHost => "lose-host",
        }
    }

    /// On its button.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::Stop => "Stop",
            Self::Restart => "Restart",
            Self::Flush => "Flush",
            Self::Rehome => "Rehome",
            Self::Fork => "Fork",
            Self::Crash => "Crash",
            Self::PowerCut => "Power cut",
            Self::LoseHost => "Lose host",
        }
    }

    /// What becomes of the machine.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Start => "Boot it and wait until clients get in",
            Self::Stop => "Shut it down cleanly",
            Self::Restart => "Shut it down cleanly and boot it again",
            Self::Flush => "Make now the flush point: what the loss of its host falls back to",
            Self::Rehome => "Boot it on another host, on its volume as of the flush point",
            Self::Fork => "A new machine on a copy of its volume",
            Self::Crash => "SIGKILL of the whole machine: what reached the volume stays",
            Self::PowerCut => {
                "Its disk loses what was not flushed, or part of it, and it is killed"
            }
            Self::LoseHost => {
                "Its host is gone with every machine on it; volumes fall back to their flush points"
            }
        }
    }

    pub(super) const fn group(self) -> Group {
        match self {
            Self::Start | Self::Stop | Self::Restart | Self::Flush | Self::Rehome => {
                Group::Everyday
            }
            Self::Fork => Group::Forks,
            Self::Crash | Self::PowerCut | Self::LoseHost => Group::Breaks,
        }
    }

    /// Whether it may be done to a machine that stands like this; else why not. `busy` is what is
    /// being done to it already.
    pub(super) fn availability(
        self,
        state: State,
        backend: Backend,
        busy: Option<&str>,
    ) -> Result<(), String> {
        if let Some(busy) = busy {
            return Err(format!("under way: {busy}"));
        }
        if self.wants_a_disk() && backend == Backend::Copy {
            return Err("its volume is a folder, and no disk of a host".to_owned());
        }
        let possible = match self {
            Self::Start => state.allows(Verb::Start) == Verdict::Go,
            // One that does not run has nothing to be stopped first.
            Self::Stop | Self::Restart => state.allows(Verb::Stop) == Verdict::Go,
            Self::Flush => state.allows(Verb::Flush) == Verdict::Go,
            Self::Rehome => state.allows(Verb::Rehome) == Verdict::Go,
            Self::Fork => state.allows(Verb::Fork) == Verdict::Go,
            Self::Crash => state.allows(Verb::Crash) == Verdict::Go,
            Self::PowerCut => state.allows(Verb::PowerCut) == Verdict::Go,
            // A host goes whatever its machines do; it cannot go twice.
            Self::LoseHost => !matches!(state, State::Lost | State::Removing),
        };
        if possible {
            Ok(())
        } else {
            Err(format!("the machine is {state}"))
        }
    }

    /// Whether it is about what a disk and its host can lose.
    const fn wants_a_disk(self) -> bool {
        match self {
            Self::Flush | Self::Rehome | Self::PowerCut | Self::LoseHost => true,
            Self::Start | Self::Stop | Self::Restart | Self::Fork | Self::Crash => false,
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
    use crate::backend::Backend;
    use crate::machine::state::State;

    #[test]
    fn each_state_has_its_buttons() {
        use Action::{Crash, Flush, Fork, LoseHost, PowerCut, Rehome, Restart, Start, Stop};
        let crashed = State::Crashed {
            exit_code: 137,
            out_of_memory: false,
        };
        let table: [(State, &[Action]); 7] = [
            (State::Created, &[Start, Flush, Fork, LoseHost]),
            (
                State::Running,
                &[Stop, Restart, Flush, Fork, Crash, PowerCut, LoseHost],
            ),
            (State::Paused, &[Flush, Fork, Crash, PowerCut, LoseHost]),
            (State::Stopped, &[Start, Flush, Fork, LoseHost]),
            (crashed, &[Start, Flush, Fork, LoseHost]),
            (State::Lost, &[Rehome]),
            (State::Removing, &[]),
        ];
        for (state, available) in table {
            for action in Action::ALL {
                let answer = action.availability(state, Backend::Block, None);
                let expected = available.contains(&action);
                assert_eq!(answer.is_ok(), expected, "{action} {state}");
                let on_a_folder = action.availability(state, Backend::Copy, None);
                let disk = [Flush, Rehome, PowerCut, LoseHost].contains(&action);
                assert_eq!(on_a_folder.is_ok(), expected && !disk, "{action} {state}");
            }
        }
    }

    #[test]
    fn a_machine_that_something_is_done_to_is_left_alone() {
        for action in Action::ALL {
            let busy = Some("fork db to copy");
            let refused = action.availability(State::Running, Backend::Block, busy);
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
