//! Losing a host, and coming back from it (contract 10 and 13).

use std::time::Duration;

use crate::admin::VolumeReport;
use crate::docker::container;
use crate::hosts::{HostError, Hosts};
use crate::lock::SubstrateLock;
use crate::machine::disk::Disk;
use crate::machine::state::State;
use crate::machine::{Change, Machine};
use crate::names::{HostName, MachineName};
use crate::progress::Progress;
use crate::until::timed;

use super::{Substrate, SubstrateError, views};

/// What went with a host.
#[derive(Debug, Clone)]
pub struct LostHost {
    /// Which.
    pub host: HostName,
    /// Machines whose volumes were there.
    pub machines: Vec<MachineName>,
    /// Every volume that was there, as its block store saw it last; empty when that did not answer.
    pub volumes: Vec<VolumeReport>,
}

/// A machine that is on another host, and not yet booted.
#[derive(Debug)]
pub struct Rehomed {
    /// Which.
    pub machine: Machine,
    /// Where it is now.
    pub host: HostName,
    /// How long it took until the volume was there. Its blocks come when they are read.
    pub took: Duration,
}

impl Substrate {
    /// The host of a machine's volume.
    pub async fn host_of(&self, name: &MachineName) -> Result<HostName, SubstrateError> {
        let machine = self.handle(name.clone());
        Ok(machine.must_have_a_disk("lose the host of").await?)
    }

    /// Loses a host: SIGKILL of its block store first, so that nothing written after that instant is
    /// anywhere; then of every machine of it; then all that it has on its own disk goes.
    ///
    /// Cut before the last step, the host is as after a crash of its block store; the same command again
    /// completes the loss.
    pub async fn lose_host(
        &self,
        host: &HostName,
        progress: &dyn Progress,
    ) -> Result<LostHost, SubstrateError> {
        let lock = SubstrateLock::take(&self.name, progress).await?;
        let hosts = Hosts::of(&self.docker, &self.name);
        if !hosts.names().await?.contains(host) {
            let (substrate, host) = (self.name.clone(), host.clone());
            return Err(HostError::Absent { substrate, host }.into());
        }
        let volumes = match hosts.running(host).await {
            Ok(host) => host.store.volumes().await.unwrap_or_default(),
            // It need not answer to be lost.
            Err(_not_running) => Vec::new(),
        };
        let substrate = self.clone();
        let losing = tokio::spawn({
            let host = host.clone();
            async move {
                let lost = substrate.lose(&host).await;
                drop(lock);
                lost
            }
        });
        let machines = losing
            .await
            .map_err(|_aborted| SubstrateError::CutShort(self.name.clone()))??;
        Ok(LostHost {
            host: host.clone(),
            machines,
            volumes,
        })
    }

    async fn lose(&self, host: &HostName) -> Result<Vec<MachineName>, SubstrateError> {
        let hosts = Hosts::of(&self.docker, &self.name);
        hosts.kill(host).await?;
        let machines = views(&self.docker, &self.name).await?;
        let machines = machines
            .into_iter()
            .filter(|view| view.disk.host() == Some(host));
        let mut lost = Vec::new();
        let mut deaths = Vec::new();
        for view in machines {
            if matches!(view.state, State::Running | State::Paused) {
                deaths.push(self.kill(view.name.clone()));
            }
            lost.push(view.name);
        }
        futures_util::future::try_join_all(deaths).await?;
        hosts.forget(host).await?;
        Ok(lost)
    }

    async fn kill(&self, name: MachineName) -> Result<(), SubstrateError> {
        let name = self.name.machine_container(&name);
        Ok(container::kill(&self.docker, &name).await?)
    }

    /// Brings a lost machine to another host and leaves it off: same settings, metadata and identity, its
    /// volume as of the flush point. Unless told which, to none that has its sink, its primary or a replica of
    /// it. A host is made when there is none, and taken away again when there is nothing to bring to it.
    pub async fn rehome(
        &self,
        name: &MachineName,
        host: Option<&HostName>,
        progress: &dyn Progress,
    ) -> Result<Rehomed, SubstrateError> {
        let machine = self.handle(name.clone());
        machine.must_have_a_disk("rehome").await?;
        machine.may_be_rehomed().await?;
        let lock = SubstrateLock::take(&self.name, progress).await?;
        // Somebody else may have been first.
        machine.may_be_rehomed().await?;
        let host = match host {
            Some(host) => Some(host.clone()),
            None => self.apart_from_its_others(&machine).await?,
        };
        let site = self.site();
        let making = tokio::spawn({
            let machine = machine.clone();
            async move {
                let (host, took) =
                    timed(async { site.bring_to_host(host.as_ref(), machine.name()).await }).await;
                let host = host?;
                let device = host.disk(machine.name()).await?;
                let disk = Disk::Block {
                    host: host.name.clone(),
                    device,
                };
                let change = Change {
                    disk: Some(disk),
                    ..Change::default()
                };
                machine.make_anew(change, lock).await?;
                Ok::<_, SubstrateError>((host.name, took))
            }
        });
        let (host, took) = making
            .await
            .map_err(|_aborted| SubstrateError::CutShort(self.name.clone()))??;
        Ok(Rehomed {
            machine,
            host,
            took,
        })
    }
}
