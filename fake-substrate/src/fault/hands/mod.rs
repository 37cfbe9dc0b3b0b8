//! What breaks and heals whatever the substrate's process cannot, for want of Docker: the network
//! between containers, and volumes.
//!
//! The book stays with the process. What it says is carried out by comparing: whoever adds or clears a
//! fault, or starts a machine, brings the machines concerned in line with what stands. So it may be
//! done again at any time, and what a killed client left half-done is completed by the next.

mod ballast;
mod disk;
mod network;
mod oneshot;

use std::collections::BTreeSet;

use crate::admin::{AdminClient, AdminError};
use crate::docker::{Docker, DockerError};
use crate::hosts::HostError;
use crate::lock::LockError;
use crate::names::{MachineName, SubstrateName};
use crate::owner::Owner;

use super::{Fault, NewFault, Partition, Party, Seat, Standing, VolumeTrouble};

/// Docker, and the book of the substrate's process.
#[derive(Clone, Debug)]
pub struct Hands {
    pub(crate) docker: Docker,
    pub(crate) admin: AdminClient,
    pub(crate) substrate: SubstrateName,
    pub(crate) owner: Option<Owner>,
}

/// A fault could not be carried out, or not be healed.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The substrate's own process failed, or said no.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Docker failed.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// Another process holds the substrate.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The rules in a network namespace could not be changed.
    #[error(
        "cannot change which packets reach {whom}: {why}\nHINT: needs nf_tables in the kernel that runs Docker, and this version's image: `fake-substrate up` replaces it"
    )]
    Rules {
        /// Whose namespace.
        whom: String,
        /// What nft said.
        why: String,
    },
    /// A volume could not be filled or emptied.
    #[error(
        "cannot change how full the volume of machine {machine} is: {why}\nHINT: `fake-substrate fault ls` tells whether the fault stands"
    )]
    Volume {
        /// Whose.
        machine: String,
        /// What was said.
        why: String,
    },
    /// A host could not be told.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The volume is no disk.
    #[error(
        "the volume of machine {machine} is a folder of Docker's: it has no requests that could fail or be late\nHINT: a machine made with --volumes block has"
    )]
    NoDisk {
        /// Whose.
        machine: String,
    },
    /// The room on the volume is the host's own.
    #[error(
        "the volume of machine {machine} is a folder on Docker's own disk: filling it would fill that\nHINT: it takes a volume of a size of its own, in memory or of the block store"
    )]
    SharedDisk {
        /// Whose.
        machine: String,
    },
}

impl Hands {
    /// Breaks something. The substrate's log has the line before anything happens; what then cannot be
    /// carried out ends at once.
    pub async fn break_down(&self, new: NewFault) -> Result<Standing, FaultError> {
        let new = NewFault {
            caller_carries_out: new.fault.seat() == Seat::Host,
            ..new
        };
        let standing = self.admin.add_fault(&new).await?;
        let carried_out = match &standing.fault {
            Fault::Partition(cut) => self.settle_network(&parties(cut)).await,
            Fault::Volume(volume) => match volume.trouble {
                VolumeTrouble::Full { leave } => self.fill(&volume.machine, leave).await,
                VolumeTrouble::Disk(_) => self.trouble_disk(&volume.machine).await,
            },
            Fault::S3(_) | Fault::Mmds(_) | Fault::Link(_) | Fault::Clock(_) => Ok(()),
        };
        if let Err(error) = carried_out {
            // The first failure is the one to tell.
            drop(self.heal(&standing).await);
            return Err(error);
        }
        Ok(standing)
    }

    /// Ends the fault of that number, whoever carries it out.
    pub async fn heal_numbered(&self, id: u32) -> Result<(), FaultError> {
        match self.standing(id).await? {
            Some(standing) => self.heal(&standing).await,
            // In the process's words.
            None => Ok(self.admin.strike_out_fault(id).await?),
        }
    }

    /// The same, if it has not ended by itself.
    pub(crate) async fn heal_if_standing(&self, id: u32) -> Result<(), FaultError> {
        match self.standing(id).await? {
            Some(standing) => self.heal(&standing).await,
            None => Ok(()),
        }
    }

    /// Ends every fault, and tells which. Machines are brought in line even where none stands: what an
    /// earlier process of the substrate left goes, too.
    pub async fn heal_everything(&self) -> Result<Vec<Standing>, FaultError> {
        let standing = self.admin.faults().await?;
        for one in standing.iter().filter(|one| one.fault.seat() == Seat::Host) {
            self.heal(one).await?;
        }
        self.admin.clear_faults().await?;
        self.settle().await?;
        Ok(standing)
    }

    async fn standing(&self, id: u32) -> Result<Option<Standing>, FaultError> {
        let standing = self.admin.faults().await?;
        Ok(standing.into_iter().find(|one| one.id == id))
    }

    /// The line in the log, then the healing: whoever reads on sees what follows from it behind it.
    async fn heal(&self, standing: &Standing) -> Result<(), FaultError> {
        self.admin.strike_out_fault_if_standing(standing.id).await?;
        match &standing.fault {
            Fault::Partition(cut) => self.settle_network(&parties(cut)).await,
            Fault::Volume(volume) => match volume.trouble {
                VolumeTrouble::Full { .. } => self.empty(&volume.machine).await,
                VolumeTrouble::Disk(_) => self.settle_disks(Some(&volume.machine)).await,
            },
            Fault::S3(_) | Fault::Mmds(_) | Fault::Link(_) | Fault::Clock(_) => Ok(()),
        }
    }

    /// Brings every container in line with what stands, and every disk.
    pub(crate) async fn settle(&self) -> Result<(), FaultError> {
        self.settle_network(&BTreeSet::from([Party::Everything]))
            .await?;
        self.settle_disks(None).await
    }

    /// The block store of a host that was started again has forgotten what is the matter with its disks: a
    /// machine that boots meets it all the same.
    pub(crate) async fn before_start_of(&self, machine: &MachineName) -> Result<(), FaultError> {
        match self.settle_disks(Some(machine.as_str())).await {
            // A substrate whose process is gone has no faults.
            Err(FaultError::Admin(AdminError::Unreachable { .. })) => Ok(()),
            settled => settled,
        }
    }

    /// A machine that starts has a new network namespace, and may have another of Docker's addresses:
    /// its own rules are made anew, and those of whoever is cut off from it.
    pub(crate) async fn after_start_of(&self, machine: &MachineName) -> Result<(), FaultError> {
        let standing = match self.admin.faults().await {
            Ok(standing) => standing,
            // A substrate whose process is gone has no faults.
            Err(AdminError::Unreachable { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let started = Party::Machine(machine.to_string());
        let cut_off = partitions(&standing)
            .flat_map(parties_of(&started))
            .collect::<BTreeSet<_>>();
        match cut_off.is_empty() {
            true => Ok(()),
            false => self.settle_network(&cut_off).await,
        }
    }
}

fn partitions(standing: &[Standing]) -> impl Iterator<Item = &Partition> {
    standing.iter().filter_map(|one| match &one.fault {
        Fault::Partition(cut) => Some(cut),
        _ => None,
    })
}

fn parties(cut: &Partition) -> BTreeSet<Party> {
    BTreeSet::from([cut.from.clone(), cut.to.clone()])
}

/// Both sides of a partition that is about that machine, the machine itself in the place of everybody.
fn parties_of(started: &Party) -> impl Fn(&Partition) -> Vec<Party> {
    move |cut| {
        let concerned = cut.from.means(started) || cut.to.means(started);
        let itself = |party: Party| match party {
            // One machine is isolated, and another starts: it is about these two.
            Party::Everything if !parties(cut).contains(started) => started.clone(),
            party => party,
        };
        match concerned {
            true => parties(cut).into_iter().map(itself).collect(),
            false => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concerned(from: &str, to: &str, started: &str) -> Vec<String> {
        let cut = Partition {
            from: from.to_owned().into(),
            to: to.to_owned().into(),
            one_way: false,
        };
        let started = started.to_owned().into();
        let parties = parties_of(&started)(&cut).into_iter();
        parties.map(String::from).collect()
    }

    #[test]
    fn a_machine_that_starts_concerns_those_it_is_cut_off_from() {
        assert_eq!(concerned("db", "standby", "db"), ["db", "standby"]);
        assert_eq!(concerned("db", "standby", "other"), [""; 0]);
        assert_eq!(concerned("db", "everything", "db"), ["db", "everything"]);
        assert_eq!(concerned("db", "everything", "new"), ["db", "new"]);
        assert_eq!(concerned("db", "service", "db"), ["db", "service"]);
    }
}
