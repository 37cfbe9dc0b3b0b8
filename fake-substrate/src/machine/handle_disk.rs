//! What can be done to a machine because its volume is a disk that may lose its power or its host.

use crate::admin::{CutPower, FlushPointReport, PowerCutReport};
use crate::docker::container;
use crate::hosts::{self, HostError, Hosts};
use crate::lock::SubstrateLock;
use crate::machine::disk::Disk;
use crate::machine::error::MachineError;
use crate::machine::handle::Machine;
use crate::machine::spec::Overrides;
use crate::machine::state::{Verb, Verdict};
use crate::machine::view::{Change, View};
use crate::names::HostName;
use crate::progress::Quiet;

impl Machine {
    pub(super) fn hosts(&self) -> Hosts<'_> {
        Hosts::of(&self.docker, &self.substrate)
    }

    /// The host of its disk; without a disk, what was to be done makes no sense.
    pub(crate) async fn must_have_a_disk(
        &self,
        tried: &'static str,
    ) -> Result<HostName, MachineError> {
        match self.view().await?.disk {
            Disk::Block { host, .. } => Ok(host),
            Disk::Folder => Err(MachineError::NoDisk {
                name: self.name.clone(),
                tried,
            }),
        }
    }

    /// Only of a machine whose host is gone: nobody else ever gets a volume that somebody has.
    pub(crate) async fn may_be_rehomed(&self) -> Result<(), MachineError> {
        self.may(Verb::Rehome).await.map(drop)
    }

    /// Only of a machine whose volume is somewhere.
    pub(crate) async fn may_be_forked(&self) -> Result<(), MachineError> {
        self.may(Verb::Fork).await.map(drop)
    }

    /// Cuts its power: its disk loses what was not flushed, or part of it, and only then is it killed.
    /// The other way round the kernel would write everything back (substrate.md B.0).
    pub async fn power_cut(&self, cut: CutPower) -> Result<PowerCutReport, MachineError> {
        let host = self.must_have_a_disk("cut the power of").await?;
        self.may(Verb::PowerCut).await?;
        let host = self.hosts().running(&host).await?;
        let volume = hosts::volume_name(&self.name).map_err(HostError::from)?;
        let report = host.store.cut_power(&volume, cut).await;
        let report = report.map_err(HostError::from)?;
        container::kill(&self.docker, &self.container()).await?;
        Ok(report)
    }

    /// Makes its volume's content of now the flush point: what the loss of its host falls back to.
    pub async fn flush(&self) -> Result<FlushPointReport, MachineError> {
        let host = self.must_have_a_disk("flush the volume of").await?;
        self.may(Verb::Flush).await?;
        let host = self.hosts().awake(&host).await?;
        let volume = hosts::volume_name(&self.name).map_err(HostError::from)?;
        let flushed = host.store.flush_volume(&volume).await;
        Ok(flushed.map_err(HostError::from)?)
    }

    /// Sees to it that its disk is there under the name that its container knows, before it is started:
    /// a disk that lost its power, or whose block store was started again, may come back under another
    /// one. Then the container is made anew, as it was but for that.
    pub async fn settle_disk(&self) -> Result<(), MachineError> {
        let view = self.view().await?;
        let Disk::Block { host, device } = &view.disk else {
            return Ok(());
        };
        if view.state.allows(Verb::Start) != Verdict::Go {
            return Ok(());
        }
        let host_now = self.hosts().awake(host).await?;
        let now = host_now.disk(&self.name).await?;
        // Nobody has it mounted now.
        host_now.fit(&self.name).await?;
        if now == *device {
            return Ok(());
        }
        let lock = SubstrateLock::take(&self.substrate, &Quiet).await?;
        let change = Change {
            disk: Some(Disk::Block {
                host: host.clone(),
                device: now,
            }),
            overrides: self.overrides_now().await?,
            ..Change::default()
        };
        self.make_anew(change, lock).await
    }

    /// What its container was made with, as far as it differs from what an image says: Docker does not
    /// tell the two apart, and saying it again changes nothing.
    async fn overrides_now(&self) -> Result<Overrides, MachineError> {
        let seen = container::inspect(&self.docker, &self.container()).await?;
        let seen = seen.ok_or_else(|| self.absent())?;
        Ok(Overrides {
            entrypoint: (!seen.entrypoint.is_empty()).then_some(seen.entrypoint),
            env: seen.env.into_iter().collect(),
        })
    }

    /// Makes its container anew. Between the old container and the new one there is none; that part runs
    /// to its end even when the caller is dropped, and holds the substrate's lock meanwhile.
    pub(crate) async fn make_anew(
        &self,
        change: Change,
        lock: SubstrateLock,
    ) -> Result<(), MachineError> {
        let view: View = self.view().await?;
        if view.state.allows(Verb::Stop) == Verdict::Go {
            container::stop(&self.docker, &self.container(), None).await?;
        }
        let spec = change
            .over(view)
            .container(&self.substrate, self.owner.as_ref());
        let docker = self.docker.clone();
        let swap = tokio::spawn(async move {
            container::remove(&docker, &spec.name).await?;
            let made = container::create(&docker, &spec).await;
            drop(lock);
            made
        });
        let made = swap
            .await
            .map_err(|_aborted| MachineError::CutShort(self.name.clone()))?;
        Ok(made.map(drop)?)
    }
}
