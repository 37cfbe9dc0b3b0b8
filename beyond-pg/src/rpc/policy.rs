//! Which command may be carried out in which state of the machine. Pure, and total: a new command or
//! state does not compile until it has its answer here.

use wire::rpc::schema::COMMANDS;
use wire::rpc::{CommandName, Lifecycle};

use crate::settings::Tier;

/// What is to be done about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Do,
    /// It makes sense in another state; the reason in words.
    NotNow(&'static str),
}

pub(crate) fn verdict(command: CommandName, state: Lifecycle) -> Verdict {
    use CommandName as C;
    use Lifecycle as L;
    match (command, state) {
        // The machine's truth is told in every state, and a stop may come at any time.
        (C::Capabilities | C::Health | C::Shutdown, _) => Verdict::Do,
        (C::Promote | C::SetSyncStandbys, L::Booting) => Verdict::NotNow("no server runs yet"),
        (C::Promote | C::SetSyncStandbys, L::Starting) => {
            Verdict::NotNow("no client has got in yet")
        }
        (C::Promote | C::SetSyncStandbys, L::Ready | L::Restarting) => Verdict::Do,
        (C::Promote | C::SetSyncStandbys, L::Stopping) => {
            Verdict::NotNow("its last checkpoint is on the way")
        }

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
    }
}

/// Why a machine of that tier does not do it, in words with a way out; the rest each of them can do.
pub(crate) fn objection(command: CommandName, tier: Tier) -> Option<String> {
    use CommandName as C;
    use Tier as T;
    let way_out = match (command, tier) {
        (C::Promote, T::Single | T::Primary) => "it writes already; ask the replica",
        (C::Promote | C::SetSyncStandbys | C::Backup | C::ArchiveNow, T::Sink) => {
            "it runs no database; ask its primary"
        }
        (C::SetSyncStandbys, T::Single) => {
            "boot it as tier primary, which makes the role that a replica logs in as"
        }
        (C::SetSyncStandbys, T::Replica) => "commits are its primary's; ask that one",
        (C::ArchiveNow, T::Replica) => "its primary archives; ask that one",
        _ => return None,
    };
    Some(format!(
        "cannot do {command} on a machine of tier {tier}\nHINT: {way_out}"
    ))
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
        assert!(names.contains(&"promote".to_owned()));
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
    }

    #[test]
    fn a_primary_is_not_promoted_and_a_replica_has_no_commits_of_its_own() {
        let words = |command, tier| objection(command, tier).unwrap();
        assert_eq!(
            words(CommandName::Promote, Tier::Primary),
            "cannot do promote on a machine of tier primary\nHINT: it writes already; ask the replica"
        );
        for tier in [Tier::Single, Tier::Replica, Tier::Sink] {
            let words = words(CommandName::SetSyncStandbys, tier);
            assert!(words.contains("\nHINT: "), "{words}");
        }
        assert_eq!(objection(CommandName::Promote, Tier::Replica), None);
        assert_eq!(objection(CommandName::SetSyncStandbys, Tier::Primary), None);
        for tier in [Tier::Single, Tier::Primary, Tier::Replica, Tier::Sink] {
            assert_eq!(objection(CommandName::Health, tier), None);
        }
    }
}
