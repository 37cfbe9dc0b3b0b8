//! The life of a machine, and which verb means what in each state. Pure.
//!
//! ```text
//!            start            stop, or PID 1 ends by itself with 0
//!  Created ────────► Running ──────────────────────────────────────► Stopped ─┐
//!     │                 │  ▲                                            │     │ start
//!     │                 │  └────────────────────────────────────────────┼─────┘
//!     │                 └── crash, out of memory, PID 1 fails ──► Crashed (start leads back too)
//!     └──────────────────────────── remove ◄────────────────────────────┘
//!
//!  any of these, on a block volume ── its host is lost ──► Lost ── rehome ──► Created
//! ```

use std::fmt;

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// Made, never booted.
    Created,
    /// PID 1 runs.
    Running,
    /// Frozen by somebody's `docker pause`.
    Paused,
    /// PID 1 ended with 0: a clean power-off.
    Stopped,
    /// PID 1 ended in any other way.
    Crashed {
        /// As a shell tells it: 128 + the signal for a killed process.
        exit_code: i64,
        /// The kernel killed it for want of memory.
        out_of_memory: bool,
    },
    /// The host of its volume is gone; object storage may have the volume.
    Lost,
    /// Docker is taking it away, or failed to.
    Removing,
}

/// What a person or a scenario asks of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Boot it.
    Start,
    /// Shut it down cleanly.
    Stop,
    /// SIGKILL of PID 1 and everything under it.
    Crash,
    /// The same, and before it its volume loses what was not flushed.
    PowerCut,
    /// Make its volume's content of now the flush point.
    Flush,
    /// Make another machine on a copy of its volume.
    Fork,
    /// Give it other limits, or a larger disk.
    Resize,
    /// Bring it up on another host.
    Rehome,
    /// Run a program in it.
    Exec,
}

/// What comes of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Go,
    /// It is already so; nothing to do, and no error.
    AlreadySo,
    /// It makes no sense now.
    Refused,
}

impl State {
    /// What `verb` means for a machine in this state.
    pub const fn allows(self, verb: Verb) -> Verdict {
        match (self, verb) {
            (Self::Created | Self::Stopped | Self::Crashed { .. }, Verb::Start)
            | (Self::Running, Verb::Stop | Verb::Crash | Verb::PowerCut | Verb::Exec)
            // SIGKILL reaches a frozen process, and is the way out for one.
            | (Self::Paused, Verb::Crash | Verb::PowerCut)
            // What is on a volume does not depend on whether somebody runs on it.
            | (
                Self::Created | Self::Running | Self::Paused | Self::Stopped | Self::Crashed { .. },
                Verb::Flush | Verb::Fork | Verb::Resize,
            )
            | (Self::Lost, Verb::Rehome) => Verdict::Go,
            (Self::Running, Verb::Start)
            | (Self::Created | Self::Stopped | Self::Crashed { .. }, Verb::Stop) => Verdict::AlreadySo,
            // A machine that does not run cannot crash: saying "already so" would let a scenario
            // believe that it killed something.
            (
                Self::Created | Self::Stopped | Self::Crashed { .. },
                Verb::Crash | Verb::PowerCut | Verb::Exec,
            )
            | (Self::Paused, Verb::Start | Verb::Stop | Verb::Exec)
            // Two machines never hold one volume: while its host lives, nobody else gets it.
            | (
                Self::Created | Self::Running | Self::Paused | Self::Stopped | Self::Crashed { .. },
                Verb::Rehome,
            )
            | (
                Self::Lost,
                Verb::Start
                | Verb::Stop
                | Verb::Crash
                | Verb::PowerCut
                | Verb::Exec
                | Verb::Flush
                | Verb::Fork
                | Verb::Resize,
            )
            | (Self::Removing, _) => Verdict::Refused,
        }
    }

    /// What to do about a refusal of `verb` in this state.
    pub const fn way_out(self, verb: Verb) -> &'static str {
        if let (
            Verb::Rehome,
            Self::Created | Self::Running | Self::Paused | Self::Stopped | Self::Crashed { .. },
        ) = (verb, self)
        {
            return "its host lives, and two machines never hold one volume; fake-substrate lose-host";
        }
        match self {
            Self::Created | Self::Stopped | Self::Crashed { .. } => {
                "start it first: fake-substrate start"
            }
            Self::Running => "stop it first: fake-substrate stop",
            Self::Paused => "it was paused by hand: docker unpause",
            Self::Lost => "its volume comes back on another host: fake-substrate rehome",
            Self::Removing => "wait until Docker has removed it, then try again",
        }
    }

    /// Whether PID 1 has ended.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Stopped | Self::Crashed { .. })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Running => f.write_str("running"),
            Self::Paused => f.write_str("paused"),
            Self::Stopped => f.write_str("stopped"),
            Self::Crashed {
                out_of_memory: true,
                ..
            } => f.write_str("crashed (out of memory)"),
            Self::Crashed { exit_code: 137, .. } => f.write_str("crashed (killed)"),
            Self::Crashed { exit_code, .. } => write!(f, "crashed (exit code {exit_code})"),
            Self::Lost => f.write_str("lost"),
            Self::Removing => f.write_str("being removed"),
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Crash => "crash",
            Self::PowerCut => "cut the power of",
            Self::Flush => "flush",
            Self::Fork => "fork",
            Self::Resize => "resize",
            Self::Rehome => "rehome",
            Self::Exec => "run a program in",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{State, Verb, Verdict};

    const CRASHED: State = State::Crashed {
        exit_code: 137,
        out_of_memory: false,
    };

    #[test]
    fn every_verb_has_one_meaning_in_every_state() {
        use Verdict::{AlreadySo, Go, Refused};
        let verbs = [
            Verb::Start,
            Verb::Stop,
            Verb::Crash,
            Verb::PowerCut,
            Verb::Exec,
            Verb::Flush,
            Verb::Fork,
            Verb::Resize,
            Verb::Rehome,
        ];
        let off = [
            Go, AlreadySo, Refused, Refused, Refused, Go, Go, Go, Refused,
        ];
        let table = [
            (State::Created, off),
            (
                State::Running,
                [AlreadySo, Go, Go, Go, Go, Go, Go, Go, Refused],
            ),
            (
                State::Paused,
                [Refused, Refused, Go, Go, Refused, Go, Go, Go, Refused],
            ),
            (State::Stopped, off),
            (CRASHED, off),
            (
                State::Lost,
                [
                    Refused, Refused, Refused, Refused, Refused, Refused, Refused, Refused, Go,
                ],
            ),
            (State::Removing, [Refused; 9]),
        ];
        for (state, verdicts) in table {
            assert_eq!(verbs.map(|verb| state.allows(verb)), verdicts, "{state}");
        }
    }

    #[test]
    fn a_crash_tells_its_cause() {
        assert_eq!(CRASHED.to_string(), "crashed (killed)");
        assert_eq!(
            State::Crashed {
                exit_code: 137,
                out_of_memory: true
            }
            .to_string(),
            "crashed (out of memory)"
        );
        assert_eq!(
            State::Crashed {
                exit_code: 1,
                out_of_memory: false
            }
            .to_string(),
            "crashed (exit code 1)"
        );
    }
}
