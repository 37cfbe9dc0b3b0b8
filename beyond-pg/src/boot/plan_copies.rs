//! The part of a plan for a volume that is another's, or is to go back to a moment: whose it is, and what has to be
//! on disk before it can leave its parent.

use super::{Boot, Refusal};
use crate::boot::facts::{Facts, Pgdata};
use crate::boot::step::DiskStep;
use crate::fork::{self, Belonging, Restored};
use crate::settings::{Archive, RestoreTarget, keys};

impl Boot<'_> {
    /// Whether what a restore needs is there.
    pub(super) fn check_restore(&self, facts: &Facts) -> Result<(), Refusal> {
        let from = self.settings.restore_from.is_some();
        let empty = matches!(facts.pgdata, Pgdata::Absent { .. } | Pgdata::HalfMade);
        if self.settings.restore.is_none() && !(from && (empty || facts.fetched)) {
            return Ok(());
        }
        if self.settings.archive == Archive::Off && !from {
            return Err(Refusal::RestoreWithout(keys::ARCHIVE_TARGET.name));
        }
        if self.settings.instance_id.is_none() {
            return Err(Refusal::RestoreWithout(keys::INSTANCE_ID.name));
        }
        match empty && !from {
            true => Err(Refusal::NothingToRestore {
                pgdata: self.layout.pgdata(),
            }),
            false => Ok(()),
        }
    }

    /// Where the restore ends that is yet to be done.
    pub(crate) fn restores(&self, facts: &Facts) -> Option<&RestoreTarget> {
        let target = self.settings.restore.as_ref()?;
        let ours = self.settings.instance_id.as_ref()?;
        let done = facts.restored == Some(Restored::new(ours.as_str(), target));
        // What a backup brings along was done before it was taken.
        (!done || facts.fetched).then_some(target)
    }

    /// Whose this volume is. One without a cluster is nobody's.
    pub(super) fn belonging(&self, facts: &Facts) -> Belonging {
        // Of a copy that follows `rejoin` makes what it shall be.
        if self.upstream().is_some() {
            return Belonging::Ours;
        }
        let ours = self.instance();
        match facts.pgdata {
            Pgdata::Cluster => {
                let (stamp, journal) = (facts.stamp.as_deref(), facts.fork.as_ref());
                let restores = self.restores(facts).is_some() || facts.fetched;
                fork::belonging(stamp, ours.as_deref(), journal, restores)
            }
            _ => Belonging::Ours,
        }
    }

    /// What has to be on disk before a fork can leave its parent.
    pub(super) fn fork(&self, facts: &Facts) -> Vec<DiskStep> {
        match self.belonging(facts) {
            Belonging::Ours => Vec::new(),
            Belonging::OursAtLast => vec![DiskStep::EndFork],
            Belonging::CopyOf { begun: true, .. } => Vec::new(),
            // The certificate goes first: with the journal there, it is a new one already.
            Belonging::CopyOf {
                parent,
                ours: child,
                begun: false,
            } => {
                let parents = !facts.tls.user_manages() && parent != child;
                let discard = parents.then_some(DiskStep::DiscardCertificate);
                discard
                    .into_iter()
                    .chain([DiskStep::BeginFork { parent, child }])
                    .collect()
            }
        }
    }
}
