//! A machine on a copy of another's volume (contract 11): prepared, copied, made; all of it or nothing.

use std::time::Duration;

use serde_json::json;

use crate::backend::{Backend, Storage};
use crate::docker::volume::Medium;
use crate::docker::{container, volume};
use crate::labels;
use crate::lock::SubstrateLock;
use crate::machine::disk::Disk;
use crate::machine::size::DiskSize;
use crate::machine::state::State;
use crate::machine::{Machine, View};
use crate::names::MachineName;
use crate::progress::Progress;
use crate::until::timed;
use crate::volume::copy::{self, Copy};

use super::create::{Order, Site};
use super::{Substrate, SubstrateError, readiness};

/// How long a machine may take to get ready: its hooks and a checkpoint.
const PREPARE: Duration = Duration::from_secs(300);

/// A fork that is made and not yet booted.
#[derive(Debug)]
pub struct Forked {
    /// The new machine.
    pub machine: Machine,
    /// How long the parent took to prepare; `None` for one that does not run.
    pub prepared: Option<Duration>,
    /// What the copy cost the parent.
    pub paused: Paused,
}

/// What a fork costs the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// All of its processes stood still while its folders were copied.
    StoodStill(Duration),
    /// Its writes waited while a map was cloned: at most so long, since that is how long the block store
    /// took to answer.
    AtMost(Duration),
}

impl Substrate {
    /// Makes a machine on a copy of `parent`'s volume, with an identity and metadata of its own, and
    /// leaves it off.
    ///
    /// Copying and making run to their end even when the caller is dropped, and hold the substrate's
    /// lock meanwhile. A copy that was cut all the same (the process was killed) is never booted: its
    /// volume has a parent and no metadata, and the next fork of that name begins anew.
    pub async fn fork(
        &self,
        parent: &MachineName,
        order: Order,
        progress: &dyn Progress,
    ) -> Result<Forked, SubstrateError> {
        let parent = self.handle(parent.clone());
        let view = parent.view().await?;
        parent.may_be_forked().await?;
        self.refuse_existing(&order.name).await?;
        let prepared = match view.state {
            State::Running => Some(self.prepare(&parent, progress).await?),
            _ => None,
        };
        let lock = SubstrateLock::take(&self.name, progress).await?;
        if view.disk.backend() == Backend::Copy {
            progress.step(&format!("Copying the volume of {}", parent.name()));
        }
        let name = order.name.clone();
        let site = self.site();
        let making = tokio::spawn(async move {
            let made = site.fork(&view, order).await;
            drop(lock);
            made
        });
        let paused = making
            .await
            .map_err(|_aborted| SubstrateError::CutShort(self.name.clone()))??;
        Ok(Forked {
            machine: self.handle(name),
            prepared,
            paused,
        })
    }

    /// Before the parent is asked for anything.
    async fn refuse_existing(&self, name: &MachineName) -> Result<(), SubstrateError> {
        let container = self.name.machine_container(name);
        if container::inspect(&self.docker, &container)
            .await?
            .is_some()
        {
            return Err(SubstrateError::MachineExists {
                substrate: self.name.clone(),
                name: name.clone(),
            });
        }
        Ok(())
    }

    /// Hooks and a checkpoint in the parent: what the fork would have to replay otherwise. A parent that
    /// refuses is not forked.
    async fn prepare(
        &self,
        parent: &Machine,
        progress: &dyn Progress,
    ) -> Result<Duration, SubstrateError> {
        readiness::await_clients(parent, progress).await?;
        progress.step(&format!("Preparing {} to be forked", parent.name()));
        let request = json!({ "cmd": "prepare_fork" });
        let (answer, took) = timed(self.admin.rpc(parent.name().as_str(), &request, PREPARE)).await;
        let answer = answer?;
        if answer.ok {
            return Ok(took);
        }
        Err(SubstrateError::NotPrepared {
            parent: parent.name().clone(),
            why: answer.error.unwrap_or_default(),
        })
    }
}

impl Site {
    async fn fork(&self, parent: &View, mut order: Order) -> Result<Paused, SubstrateError> {
        // A copy is made of what its parent is made of, where that is.
        order.storage = match &parent.disk {
            Disk::Folder => Storage::Copy(Medium::Disk),
            Disk::Block { host, .. } => Storage::Block {
                size: DiskSize::DEFAULT,
                host: Some(host.clone()),
            },
        };
        let to = self.substrate.machine_volume(&order.name);
        if self.registered(&order.name).await?.is_some() {
            return Err(SubstrateError::VolumeKept(order.name));
        }
        match volume::find(&self.docker, &to).await? {
            // Nobody knows it, so nobody has ever booted it.
            Some(half) if half.labels.contains_key(labels::PARENT) => {
                self.discard(&order.name).await?;
            }
            Some(_) => return Err(SubstrateError::VolumeKept(order.name)),
            None => {}
        }
        let made = self.copy_and_make(parent, &to, &order).await;
        if made.is_err() {
            // The first failure is the one to tell; what stays is known as half-made.
            drop(self.discard(&order.name).await);
        }
        made
    }

    async fn copy_and_make(
        &self,
        parent: &View,
        to: &str,
        order: &Order,
    ) -> Result<Paused, SubstrateError> {
        let expires_ms = Self::expires_ms(order);
        let child_of = Some((&parent.name, expires_ms));
        self.record(&order.name, &order.storage, child_of).await?;
        let paused = match &parent.disk {
            Disk::Folder => Paused::StoodStill(self.copy_folder(parent, to, order).await?),
            Disk::Block { host, .. } => {
                Paused::AtMost(self.fork_disk(host, &parent.name, order).await?)
            }
        };
        self.make(order.clone()).await?;
        Ok(paused)
    }

    async fn copy_folder(
        &self,
        parent: &View,
        to: &str,
        order: &Order,
    ) -> Result<Duration, SubstrateError> {
        let copy = Copy {
            name: format!("{}.copy", self.substrate.machine_container(&order.name)),
            image: order.image.clone(),
            labels: labels::of_copier(&self.substrate, self.owner.as_ref()),
            from: self.substrate.machine_volume(&parent.name),
            to: to.to_owned(),
            writer: self.substrate.machine_container(&parent.name),
        };
        Ok(copy::copy(&self.docker, copy).await?)
    }
}
