//! What the other members of a cluster answer, and what that means for one that would write. Pure.

use serde::Deserialize;
use thiserror::Error;
use wire::lsn::Lsn;

use crate::settings::StandbyName;

/// A member that answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Member {
    pub(crate) system_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) timeline: u32,
    /// It follows somebody.
    pub(crate) in_recovery: bool,
    /// The end of the WAL that is safe there, of one that follows.
    pub(crate) flushed_lsn: Option<Lsn>,
    /// The slot of whoever asks, if it has one there.
    pub(crate) slot: Option<Slot>,
}

/// What keeps WAL for a standby.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Slot {
    pub(crate) status: Option<String>,
}

impl Slot {
    /// It keeps nothing any more, and never will again (facts A 22).
    pub(crate) fn is_lost(&self) -> bool {
        self.status.as_deref() == Some("lost")
    }
}

impl Member {
    /// For a sentence.
    pub(crate) fn name(&self) -> &str {
        self.instance_id.as_deref().unwrap_or("without a name")
    }
}

/// This volume's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ours {
    pub(crate) system_id: String,
    pub(crate) timeline: u32,
    /// It was shut down, and has nothing to recover.
    pub(crate) clean: bool,
    /// The end of its WAL, the beginnings of a record that never became whole among it.
    pub(crate) end: Lsn,
}

/// Everybody who could be asked before the boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// `None`: there is no cluster on this volume.
    pub(crate) ours: Option<Ours>,
    pub(crate) others: Vec<Member>,
}

/// Why this machine must not write.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum Objection {
    #[error(
        "instance {instance} of this cluster went on to timeline {timeline}, and this volume is on timeline {ours}: it was promoted while this machine was away, and a second writer would lose commits. Nothing was changed.\n\
         HINT: set BEYOND_PG_TIER=replica, with BEYOND_PG_PRIMARY_CONNINFO naming that machine: this one then rejoins it and gives up what nobody else has"
    )]
    Outranked {
        instance: String,
        timeline: u32,
        ours: u32,
    },
    #[error(
        "instance {instance} writes to this cluster on timeline {timeline}, which is this volume's own. Nothing was changed.\n\
         HINT: one of the two is a copy that has no instance id of its own; stop it, and keep both volumes"
    )]
    SecondWriter { instance: String, timeline: u32 },
    #[error(
        "instance {instance}, which follows this machine, has WAL up to {theirs}, and this volume's ends at {ours}: what was acknowledged in between is there alone, and opening here would give it up. Nothing was changed.\n\
         HINT: `promote` that machine, and boot this one with BEYOND_PG_TIER=replica: it rejoins. To give those commits up instead, empty that machine's volume before this one is booted"
    )]
    Behind {
        instance: String,
        theirs: Lsn,
        ours: Lsn,
    },
    #[error(
        "instance {instance}, a member of this cluster by BEYOND_PG_PRIMARY_CONNINFO, holds the cluster {theirs}, and this volume {ours}. Nothing was changed.\n\
         HINT: attach the volume that belongs to this cluster, or boot this machine as a replica; leave BEYOND_PG_PRIMARY_CONNINFO out to start a cluster of its own"
    )]
    Foreign {
        instance: String,
        theirs: String,
        ours: String,
    },
}

impl Members {
    /// Whether somebody is on a later timeline of this volume's cluster.
    pub(crate) fn outranks_us(&self) -> bool {
        matches!(self.objection(), Some(Objection::Outranked { .. }))
    }

    /// The first reason not to write.
    pub(crate) fn objection(&self) -> Option<Objection> {
        self.others.iter().find_map(|other| self.of(other))
    }

    /// Those of the standbys that did not answer.
    pub(crate) fn silent_of<'a>(&self, standbys: &'a [StandbyName]) -> Vec<&'a str> {
        let answered = |name: &&str| {
            let mut others = self.others.iter();
            // Postgres compares the names of standbys so.
            others.any(|other| other.name().eq_ignore_ascii_case(name))
        };
        let names = standbys.iter().map(StandbyName::as_str);
        names.filter(|name| !answered(name)).collect()
    }

    /// A host that was lost took WAL with it which a standby on the same timeline has.
    fn behind(ours: &Ours, other: &Member) -> Option<Objection> {
        let theirs = other.flushed_lsn?;
        (other.timeline == ours.timeline && theirs > ours.end).then(|| Objection::Behind {
            instance: other.name().to_owned(),
            theirs,
            ours: ours.end,
        })
    }

    fn of(&self, other: &Member) -> Option<Objection> {
        let instance = other.name().to_owned();
        let Some(ours) = &self.ours else {
            return Some(Objection::Foreign {
                instance,
                theirs: other.system_id.clone(),
                ours: "none".to_owned(),
            });
        };
        let timeline = other.timeline;
        if other.system_id != ours.system_id {
            Some(Objection::Foreign {
                instance,
                theirs: other.system_id.clone(),
                ours: ours.system_id.clone(),
            })
        } else if timeline > ours.timeline {
            Some(Objection::Outranked {
                instance,
                timeline,
                ours: ours.timeline,
            })
        } else if timeline == ours.timeline && !other.in_recovery {
            Some(Objection::SecondWriter { instance, timeline })
        } else {
            Self::behind(ours, other)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(system_id: &str, timeline: u32, in_recovery: bool) -> Member {
        Member {
            system_id: system_id.to_owned(),
            instance_id: Some("i-b".to_owned()),
            timeline,
            in_recovery,
            flushed_lsn: in_recovery.then(|| "0/5000000".parse().unwrap()),
            slot: None,
        }
    }

    fn asked(others: Vec<Member>) -> Members {
        let ours = Ours {
            system_id: "7".to_owned(),
            timeline: 2,
            clean: false,
            end: "0/5000000".parse().unwrap(),
        };
        Members {
            ours: Some(ours),
            others,
        }
    }

    #[test]
    fn nobody_or_somebody_who_follows_us_is_no_reason() {
        assert_eq!(asked(vec![]).objection(), None);
        assert_eq!(asked(vec![member("7", 2, true)]).objection(), None);
        // A former primary that has yet to be told.
        assert_eq!(asked(vec![member("7", 1, false)]).objection(), None);
        assert_eq!(Members::default().objection(), None);
    }

    #[test]
    fn a_later_timeline_is_a_reason_whether_its_member_writes_or_follows() {
        for follows in [false, true] {
            let members = asked(vec![member("7", 1, true), member("7", 3, follows)]);
            assert!(members.outranks_us());
            let words = members.objection().unwrap().to_string();
            assert!(
                words.starts_with(
                    "instance i-b of this cluster went on to timeline 3, and this volume is on timeline 2"
                ),
                "{words}"
            );
            assert!(
                words.contains("\nHINT: set BEYOND_PG_TIER=replica"),
                "{words}"
            );
        }
    }

    #[test]
    fn a_standby_that_has_more_wal_of_our_timeline_is_a_reason() {
        let ahead = |timeline| Member {
            flushed_lsn: Some("0/5000001".parse().unwrap()),
            ..member("7", timeline, true)
        };
        let words = asked(vec![ahead(2)]).objection().unwrap().to_string();
        assert!(
            words.starts_with(
                "instance i-b, which follows this machine, has WAL up to 0/5000001, and this volume's ends at 0/5000000"
            ),
            "{words}"
        );
        // Positions of another timeline say nothing; what left ours after them is looked at by its timeline.
        assert_eq!(asked(vec![ahead(1)]).objection(), None);
    }

    #[test]
    fn each_standby_is_waited_for_by_its_name_and_others_do_not_stand_in_for_it() {
        let names = ["I-B", "i-c"].map(|name| StandbyName::parse(name).unwrap());
        assert_eq!(asked(vec![]).silent_of(&names), ["I-B", "i-c"]);
        let twice = vec![member("7", 2, true), member("7", 2, true)];
        assert_eq!(asked(twice).silent_of(&names), ["i-c"]);
        assert!(asked(vec![]).silent_of(&[]).is_empty());
    }

    #[test]
    fn another_writer_on_our_own_timeline_and_another_cluster_are_reasons() {
        let twin = asked(vec![member("7", 2, false)]).objection();
        assert!(matches!(twin, Some(Objection::SecondWriter { .. })));
        let foreign = asked(vec![member("8", 1, true)]).objection();
        assert!(matches!(foreign, Some(Objection::Foreign { .. })));
        assert!(!asked(vec![member("8", 9, false)]).outranks_us());
    }

    #[test]
    fn an_empty_volume_does_not_begin_a_second_cluster_beside_one_that_is_there() {
        let members = Members {
            ours: None,
            others: vec![member("7", 1, true)],
        };
        assert!(matches!(
            members.objection(),
            Some(Objection::Foreign { .. })
        ));
    }
}
