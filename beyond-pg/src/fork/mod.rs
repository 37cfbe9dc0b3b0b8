//! Leaving the parent: what a machine does once, before any client gets in, when its volume is a copy
//! of another's (contract 11, facts C 43 and 44).
//!
//! ```text
//!  stamp ≠ our instance                                           stamp = our instance
//!    │                                                                       ▲
//!    ▼                                                                       │
//!  BeginFork ─► journal ─► LeaveParent: Postgres on a socket of its own ─► stamp ─► journal gone
//!                            recovers onto a new timeline
//!                            drops slots, disables subscriptions, pauses jobs
//!                            takes our own password
//! ```
//!
//! Cut anywhere, the next boot does it again: each part looks before it acts, and a timeline that was
//! left is not left twice, because the journal knows which one was the parent's. Until the stamp is
//! ours, Postgres listens nowhere that a client, the pooler or a hook could reach, starts no worker
//! that would dial out, and archives nothing.
//!
//! What becomes of each thing that a volume brings along stands in `docs/forks.md`; `leave` and
//! `hygiene` do it.

mod hygiene;
pub(crate) mod leave;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::settings::RestoreTarget;

/// What is kept on the volume while a fork leaves its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Journal {
    /// Whose volume this was.
    pub(crate) parent: String,
    /// Whose it will be.
    pub(crate) child: String,
    /// The timeline that is the parent's.
    pub(crate) timeline: u32,
}

/// What is kept of a restore that has ended: the same target in the settings of a later boot asks for
/// nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restored {
    /// Who was restored: a fork begins with its parent's record.
    pub(crate) instance: String,
    /// To where.
    pub(crate) target: String,
}

impl Restored {
    pub(crate) fn new(instance: &str, target: &RestoreTarget) -> Restored {
        Restored {
            instance: instance.to_owned(),
            target: target.to_string(),
        }
    }
}

/// The parts of leaving a parent, in order; each is a step of the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Replay what the volume holds, onto a timeline of our own.
    Recover,
    DropSlots,
    ResetSettings,
    /// In each database: subscriptions and jobs.
    Quiet,
    SetPassword,
    /// Make the volume ours.
    Sign,
}

impl Part {
    pub(crate) const ALL: [Part; 6] = [
        Part::Recover,
        Part::DropSlots,
        Part::ResetSettings,
        Part::Quiet,
        Part::SetPassword,
        Part::Sign,
    ];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Recover => "recover onto a timeline of its own",
            Part::DropSlots => "drop the parent's replication slots",
            Part::ResetSettings => "reset what leads to the parent's peers",
            Part::Quiet => "disable subscriptions and pause jobs",
            Part::SetPassword => "take the password of its own metadata",
            Part::Sign => "stamp the volume as its own",
        })
    }
}

/// Told when a part begins and when it ends.
pub(crate) trait Progress {
    fn began(&self, part: Part);
    fn ended(&self, part: Part);
}

/// Whose volume this is, seen from this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Belonging {
    /// It is ours, or nobody's yet, or this machine has no identity.
    Ours,
    /// It is ours, and what the leaving kept has yet to go.
    OursAtLast,
    /// It is a copy of that instance's, which this machine has to leave first.
    CopyOf {
        parent: String,
        ours: String,
        /// The journal of this very leaving exists already.
        begun: bool,
    },
}

/// Compares the stamp on the volume with who this machine is. A journal of somebody else's leaving (a
/// fork of a fork that was cut) counts as none. A machine that is restored leaves its own future as a fork
/// leaves its parent.
pub(crate) fn belonging(
    stamp: Option<&str>,
    ours: Option<&str>,
    journal: Option<&Journal>,
    restores: bool,
) -> Belonging {
    match (stamp, ours) {
        (Some(stamp), Some(ours)) if stamp != ours || restores => Belonging::CopyOf {
            parent: stamp.to_owned(),
            ours: ours.to_owned(),
            begun: journal.is_some_and(|journal| journal.parent == stamp && journal.child == ours),
        },
        (Some(_), Some(_)) if journal.is_some() => Belonging::OursAtLast,
        _ => Belonging::Ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(parent: &str, child: &str) -> Journal {
        Journal {
            parent: parent.to_owned(),
            child: child.to_owned(),
            timeline: 1,
        }
    }

    fn copy(begun: bool) -> Belonging {
        Belonging::CopyOf {
            parent: "a".to_owned(),
            ours: "b".to_owned(),
            begun,
        }
    }

    #[test]
    fn a_stamp_of_another_instance_makes_a_volume_a_copy() {
        assert_eq!(belonging(Some("a"), Some("b"), None, false), copy(false));
        assert_eq!(
            belonging(Some("a"), Some("a"), None, false),
            Belonging::Ours
        );
        assert_eq!(belonging(None, Some("a"), None, false), Belonging::Ours);
        assert_eq!(belonging(Some("a"), None, None, false), Belonging::Ours);
    }

    #[test]
    fn a_leaving_that_was_cut_is_gone_on_with_and_that_of_another_is_not_ours() {
        assert_eq!(
            belonging(Some("a"), Some("b"), Some(&journal("a", "b")), false),
            copy(true)
        );
        // b was forked while it was leaving a: to c, it is a copy of a that nobody has left.
        assert_eq!(
            belonging(Some("a"), Some("b"), Some(&journal("a", "c")), false),
            copy(false)
        );
        assert_eq!(
            belonging(Some("a"), Some("b"), Some(&journal("z", "b")), false),
            copy(false)
        );
        assert_eq!(
            belonging(Some("b"), Some("b"), Some(&journal("a", "b")), false),
            Belonging::OursAtLast
        );
    }

    #[test]
    fn a_machine_that_is_restored_leaves_its_own_future() {
        let itself = |begun| Belonging::CopyOf {
            parent: "a".to_owned(),
            ours: "a".to_owned(),
            begun,
        };
        let of = |journal: Option<Journal>| belonging(Some("a"), Some("a"), journal.as_ref(), true);
        assert_eq!(of(None), itself(false));
        assert_eq!(of(Some(journal("a", "a"))), itself(true));
        // Its snapshot was taken while it left a parent.
        assert_eq!(of(Some(journal("z", "a"))), itself(false));
    }
}
