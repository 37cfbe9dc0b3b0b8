//! Which command may be carried out in which state of the machine. Pure, and total: a new command or
//! state does not compile until it has its answer here.

use wire::rpc::schema::COMMANDS;
use wire::rpc::{CommandName, Lifecycle};

/// What is to be done about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Do,
    /// It makes sense in another state; the reason in words.
    NotNow(&'static str),
    /// No state makes it work: this version cannot do it.
    NotBuilt,
}

pub(crate) fn verdict(command: CommandName, state: Lifecycle) -> Verdict {
    use CommandName as C;
    use Lifecycle as L;
    match (command, state) {
        // The machine's truth is told in every state, and a stop may come at any time.
        (C::Capabilities | C::Health | C::Shutdown, _) => Verdict::Do,
        (C::Promote | C::SetSyncStandbys, _) => Verdict::NotBuilt,

        (C::Checkpoint | C::Reload | C::Backup | C::PrepareFork | C::ArchiveNow, L::Booting) => {
            Verdict::NotNow("no server runs yet")
        }
        (C::Reload, L::Starting) => {
            Verdict::NotNow("the servers read their configuration as they start")
        }
        (C::Checkpoint | C::Backup | C::PrepareFork | C::ArchiveNow, L::Starting) => {
            Verdict::NotNow("no client has got in yet")
        }

        (C::Checkpoint | C::Reload | C::Backup | C::PrepareFork | C::ArchiveNow, L::Ready) => {
            Verdict::Do
        }

        // It may be the pooler alone that is down; when it is Postgres, asking it says so.
        (C::Checkpoint | C::Reload | C::Backup | C::ArchiveNow, L::Restarting) => Verdict::Do,
        (C::PrepareFork, L::Restarting) => {
            Verdict::NotNow("a fork would inherit what made a server end")
        }

        (C::Checkpoint | C::Reload | C::Backup | C::PrepareFork | C::ArchiveNow, L::Stopping) => {
            Verdict::NotNow("its last checkpoint is on the way")
        }
    }
}

/// The refusal, as the host reads it.
pub(crate) fn refusal(command: CommandName, state: Lifecycle, verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Do => None,
        Verdict::NotNow(reason) => {
            let way_out = match state {
                Lifecycle::Stopping => "start the machine, and ask when `health` says ready",
                Lifecycle::Booting
                | Lifecycle::Starting
                | Lifecycle::Ready
                | Lifecycle::Restarting => "ask again when `health` says ready",
            };
            Some(format!(
                "cannot do {command} while the machine is {state}: {reason}\nHINT: {way_out}"
            ))
        }
        Verdict::NotBuilt => Some(format!(
            "this version cannot do {command}\nHINT: `capabilities` lists what it can"
        )),
    }
}

/// The names of the commands that work in some state.
pub(crate) fn capabilities() -> Vec<String> {
    let is_built = |command| {
        Lifecycle::ALL
            .into_iter()
            .any(|state| verdict(command, state) == Verdict::Do)
    };
    let names = COMMANDS.iter().map(|row| row.name);
    names
        .filter(|name| is_built(*name))
        .map(|name| name.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_tells_in_which_states_a_command_is_carried_out() {
        for row in &COMMANDS {
            let name = row.name;
            for state in Lifecycle::ALL {
                let does = verdict(name, state) == Verdict::Do;
                assert_eq!(does, row.states.contains(&state), "{name} {state}");
                let never = verdict(name, state) == Verdict::NotBuilt;
                assert_eq!(never, !row.is_built(), "{name} {state}");
            }
        }
    }

    #[test]
    fn health_capabilities_and_shutdown_are_answered_in_every_state() {
        for state in Lifecycle::ALL {
            for name in [
                CommandName::Health,
                CommandName::Capabilities,
                CommandName::Shutdown,
            ] {
                assert_eq!(verdict(name, state), Verdict::Do, "{name} {state}");
            }
        }
    }

    #[test]
    fn the_capabilities_are_the_commands_that_work_when_ready() {
        let works = |name| verdict(name, Lifecycle::Ready) == Verdict::Do;
        let names: Vec<_> = COMMANDS
            .iter()
            .map(|row| row.name)
            .filter(|name| works(*name))
            .map(|name| name.to_string())
            .collect();
        assert_eq!(names, capabilities());
        assert!(names.contains(&"prepare_fork".to_owned()));
        assert!(!names.contains(&"promote".to_owned()));
    }

    #[test]
    fn whatever_is_not_done_is_refused_in_words_with_a_way_out() {
        for row in &COMMANDS {
            for state in Lifecycle::ALL {
                let verdict = verdict(row.name, state);
                match refusal(row.name, state, verdict) {
                    Some(words) => {
                        assert_ne!(verdict, Verdict::Do);
                        assert!(words.contains(row.name.as_str()), "{words}");
                        assert!(words.contains("\nHINT: "), "{words}");
                    }
                    None => assert_eq!(verdict, Verdict::Do),
                }
            }
        }
    }

    #[test]
    fn a_refusal_names_the_command_the_state_the_reason_and_the_way_out() {
        let words = |name, state| refusal(name, state, verdict(name, state)).unwrap();
        assert_eq!(
            words(CommandName::Checkpoint, Lifecycle::Starting),
            "cannot do checkpoint while the machine is starting: no client has got in yet\n\
             HINT: ask again when `health` says ready"
        );
        assert_eq!(
            words(CommandName::PrepareFork, Lifecycle::Stopping),
            "cannot do prepare_fork while the machine is stopping: its last checkpoint is on the \
             way\nHINT: start the machine, and ask when `health` says ready"
        );
        assert_eq!(
            words(CommandName::Promote, Lifecycle::Ready),
            "this version cannot do promote\nHINT: `capabilities` lists what it can"
        );
    }
}
