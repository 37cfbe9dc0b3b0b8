//! Disks that fail or are slow: what their block stores are told.

use crate::docker::container;
use crate::fault::{Fault, Standing};
use crate::hosts::{HostError, Hosts};
use crate::machine::disk::Disk;
use crate::names::{InvalidName, MachineName};
use crate::volume::trouble::Trouble;

use super::{FaultError, Hands};

impl Hands {
    /// Tells the block store of a machine's disk what stands. A machine without a disk is refused.
    pub(super) async fn trouble_disk(&self, machine: &str) -> Result<(), FaultError> {
        let name: MachineName = machine
            .parse()
            .map_err(|error: InvalidName| HostError::from(error))?;
        let container = self.substrate.machine_container(&name);
        let seen = container::inspect(&self.docker, &container).await?;
        match seen.and_then(|seen| Disk::of(&seen).ok()) {
            Some(Disk::Block { .. }) => self.settle_disks(Some(machine)).await,
            Some(Disk::Folder) | None => Err(FaultError::NoDisk {
                machine: machine.to_owned(),
            }),
        }
    }

    /// Tells every block store that runs what stands for that machine's disk, or for each. One that does
    /// not run remembers nothing.
    pub(super) async fn settle_disks(&self, machine: Option<&str>) -> Result<(), FaultError> {
        let standing = self.admin.faults().await?;
        let hosts = Hosts::of(&self.docker, &self.substrate);
        for name in hosts.names().await? {
            let host = match hosts.running(&name).await {
                Ok(host) => host,
                Err(HostError::NotRunning(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            for volume in host.store.volumes().await? {
                let concerned = machine.is_none_or(|machine| volume.name.as_str() == machine);
                let before = volume.troubles.iter().map(|struck| struck.trouble);
                let now = troubles_of(volume.name.as_str(), &standing);
                if concerned && !now.iter().copied().eq(before) {
                    host.store.trouble_volume(&volume.name, &now).await?;
                }
            }
        }
        Ok(())
    }
}

/// What is the matter with a machine's disk, the oldest first.
fn troubles_of(machine: &str, standing: &[Standing]) -> Vec<Trouble> {
    let of_machine = standing.iter().filter_map(|one| match &one.fault {
        Fault::Volume(volume) if volume.machine == machine => volume.of_disk(),
        _ => None,
    });
    of_machine.collect()
}
