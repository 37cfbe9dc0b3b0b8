//! The part of a plan that makes a machine a primary or a replica: whether it may be what it was asked to be,
//! and what its volume lacks for that.

use super::{Boot, Refusal};
use crate::boot::facts::{Facts, Pgdata};
use crate::boot::step::DiskStep;
use crate::fork::Belonging;
use crate::replication::upstream::{Upstream, passfile_line};
use crate::settings::{Role, Secret};

impl Boot<'_> {
    /// Whether the disk and the other members let this machine be what it was asked to be.
    pub(super) fn check_standing(&self, facts: &Facts) -> Result<(), Refusal> {
        match &self.settings.role {
            Role::Replica { .. } | Role::Sink { .. } => return Ok(()),
            Role::Single | Role::Primary { .. } => {}
        }
        match self.belonging(facts) {
            Belonging::CopyOf { .. } => return Ok(()),
            Belonging::Ours | Belonging::OursAtLast => {}
        }
        if facts.marks.follows {
            return Err(Refusal::Follows {
                pgdata: self.layout.pgdata(),
                tier: self.settings.role.tier(),
            });
        }
        match facts.members.objection() {
            Some(objection) => Err(objection.into()),
            None => Ok(()),
        }
    }

    /// Whom this machine follows.
    pub(super) fn upstream(&self) -> Option<Upstream> {
        Upstream::of(self.layout, &self.settings.role)
    }

    /// A cluster that does not follow yet, or not as this instance.
    pub(super) fn joins(&self, facts: &Facts) -> bool {
        let unlike = |stamp: &String| Some(stamp) != self.instance().as_ref();
        self.upstream().is_some()
            && facts.pgdata == Pgdata::Cluster
            && (!facts.marks.follows
                || facts.rewind.is_some()
                || facts.stamp.as_ref().is_some_and(unlike))
    }

    pub(super) fn rejoin(&self, facts: &Facts) -> Option<DiskStep> {
        let upstream = self.upstream().filter(|_| self.joins(facts))?;
        let unlike = |stamp: &String| Some(stamp) != self.instance().as_ref();
        Some(DiskStep::Rejoin {
            upstream,
            copy: facts.stamp.as_ref().is_some_and(unlike),
            rewind: facts.rewind,
        })
    }

    /// What a standby's Postgres logs in with.
    pub(super) fn passfile(&self, facts: &Facts) -> Option<DiskStep> {
        let wanted = match &self.settings.role {
            Role::Replica {
                replication_password,
                ..
            } => Some(Secret::new(passfile_line(replication_password))),
            Role::Single | Role::Primary { .. } | Role::Sink { .. } => None,
        };
        match wanted {
            Some(line) if facts.passfile.as_ref() != Some(&line) => {
                Some(DiskStep::KeepPassword(line))
            }
            None if facts.passfile.is_some() => Some(DiskStep::ForgetPassword),
            _ => None,
        }
    }
}
