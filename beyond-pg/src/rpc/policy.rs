//! Which command may be carried out in which state of the machine. Pure.

use wire::rpc::Command;

/// What the machine is doing, as far as a command cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// Settings are sought or the disk is made ready; there is no server.
    Booting,
    /// The servers are on their way up, or up again after a crash.
    Starting,
    /// Clients get in.
    Ready,
    /// A stop was asked for.
    Stopping,
}

impl Lifecycle {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Lifecycle::Booting => "booting",
            Lifecycle::Starting => "starting",
            Lifecycle::Ready => "ready",
            Lifecycle::Stopping => "stopping",
        }
    }
}

/// What is to be done about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Do,
    /// It makes sense in another state.
    NotNow,
    /// No state makes it work: this version cannot do it.
    NotBuilt,
}

pub(crate) fn verdict(command: &Command, state: Lifecycle) -> Verdict {
    match command {
        // The machine's truth is told in every state, and a stop may come at any time.
        Command::Capabilities | Command::Health | Command::Shutdown => Verdict::Do,
        Command::Checkpoint | Command::Reload => match state {
            Lifecycle::Ready => Verdict::Do,
            Lifecycle::Booting | Lifecycle::Starting | Lifecycle::Stopping => Verdict::NotNow,
        },
        Command::Backup
        | Command::PrepareFork
        | Command::Promote
        | Command::SetSyncStandbys { .. }
        | Command::ArchiveNow => Verdict::NotBuilt,
    }
}

/// The refusal, as the host reads it.
pub(crate) fn refusal(command: &Command, state: Lifecycle, verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Do => None,
        Verdict::NotNow => Some(format!(
            "cannot do {command:?} while the machine is {}\nHINT: ask again when `health` says ready",
            state.name()
        )),
        Verdict::NotBuilt => Some(format!(
            "this version cannot do {command:?}\nHINT: `capabilities` lists what it can"
        )),
    }
}

/// The names of the commands that work in some state.
pub(crate) fn capabilities() -> Vec<String> {
    ["capabilities", "health", "checkpoint", "reload", "shutdown"]
        .map(str::to_owned)
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [Lifecycle; 4] = [
        Lifecycle::Booting,
        Lifecycle::Starting,
        Lifecycle::Ready,
        Lifecycle::Stopping,
    ];

    #[test]
    fn health_and_shutdown_are_answered_in_every_state() {
        for state in STATES {
            for command in [Command::Health, Command::Capabilities, Command::Shutdown] {
                assert_eq!(
                    verdict(&command, state),
                    Verdict::Do,
                    "{command:?} {state:?}"
                );
            }
        }
    }

    #[test]
    fn what_needs_postgres_waits_for_it() {
        for state in STATES {
            let expected = if state == Lifecycle::Ready {
                Verdict::Do
            } else {
                Verdict::NotNow
            };
            assert_eq!(verdict(&Command::Checkpoint, state), expected, "{state:?}");
            assert_eq!(verdict(&Command::Reload, state), expected, "{state:?}");
        }
    }

    #[test]
    fn the_capabilities_are_the_commands_that_work_when_ready() {
        let commands = [
            Command::Capabilities,
            Command::Health,
            Command::Checkpoint,
            Command::Reload,
            Command::Backup,
            Command::PrepareFork,
            Command::Promote,
            Command::SetSyncStandbys { names: Vec::new() },
            Command::ArchiveNow,
            Command::Shutdown,
        ];
        let works = |command: &Command| verdict(command, Lifecycle::Ready) == Verdict::Do;
        let names: Vec<_> = commands
            .iter()
            .zip(wire::rpc::COMMANDS)
            .filter(|(command, _)| works(command))
            .map(|(_, name)| name.to_owned())
            .collect();
        assert_eq!(names, capabilities());
    }

    #[test]
    fn a_refusal_names_the_command_the_state_and_the_way_out() {
        let words = refusal(&Command::Checkpoint, Lifecycle::Starting, Verdict::NotNow).unwrap();
        assert_eq!(
            words,
            "cannot do Checkpoint while the machine is starting\n\
             HINT: ask again when `health` says ready"
        );
    }
}
