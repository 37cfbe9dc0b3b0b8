//! A new machine: address, volume, metadata and container, all of them or none.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::admin::{AdminClient, Metadata};
use crate::backend::{Backend, Storage};
use crate::docker::volume::Medium;
use crate::docker::{Docker, container, volume};
use crate::hosts::HostError;
use crate::labels;
use crate::link_local;
use crate::lock::SubstrateLock;
use crate::machine::metadata::{self, Wishes, generated_password};
use crate::machine::size::{Cpus, DiskSize, Memory};
use crate::machine::spec::{MachineSpec, Overrides};
use crate::machine::{Machine, View};
use crate::names::{MachineName, SubstrateName};
use crate::owner::Owner;
use crate::ports::{self, PortChoice};
use crate::progress::Progress;
use crate::volume::store::decide::Children;

use super::{Substrate, SubstrateError, machine_containers, placing};

/// A machine as somebody orders it; the rest is decided here.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its name.
    pub name: MachineName,
    /// Reference or id of the image it boots.
    pub image: String,
    /// Its memory.
    pub memory: Memory,
    /// Its processors.
    pub cpus: Cpus,
    /// What its volume is made of, when it has none yet.
    pub storage: Storage,
    /// How long it may live; for ever unless given.
    pub ttl: Option<Duration>,
    /// Where the host shall find it.
    pub ports: PortChoice,
    /// What its metadata shall say.
    pub wishes: Wishes,
    /// How its first start differs from an ordinary one.
    pub overrides: Overrides,
}

/// How often to choose other ports when somebody else took the chosen ones first.
const PORT_TRIES: usize = 3;

impl Substrate {
    /// Makes a machine and boots it; does not wait until it is ready.
    pub async fn boot(
        &self,
        order: Order,
        progress: &dyn Progress,
    ) -> Result<Machine, SubstrateError> {
        let machine = self.create(order.clone(), progress).await?;
        for _retry in 1..PORT_TRIES {
            match machine.start().await {
                Err(error) if order.ports == PortChoice::Any && error.is_port_taken() => {
                    let ports = Some(ports::choose(PortChoice::Any)?);
                    let overrides = order.overrides.clone();
                    let change = crate::machine::Change {
                        ports,
                        overrides,
                        ..Default::default()
                    };
                    machine.recreate(change, progress).await?;
                }
                started => return started.map(|()| machine).map_err(Into::into),
            }
        }
        machine.start().await?;
        Ok(machine)
    }

    /// Makes a machine without booting it. Where a machine of that name was before, its volume
    /// and metadata are taken up again.
    ///
    /// Runs to its end even when the caller is dropped, and holds the substrate's lock meanwhile.
    pub async fn create(
        &self,
        order: Order,
        progress: &dyn Progress,
    ) -> Result<Machine, SubstrateError> {
        let lock = SubstrateLock::take(&self.name, progress).await?;
        let name = order.name.clone();
        let making = tokio::spawn({
            let site = self.site();
            async move {
                let made = site.make_new(order).await;
                drop(lock);
                made
            }
        });
        making
            .await
            .map_err(|_aborted| SubstrateError::CutShort(self.name.clone()))??;
        Ok(self.handle(name))
    }
}

impl Substrate {
    /// Applies wishes to the metadata of a machine that exists; tells whether that changed
    /// anything. A machine reads its metadata when it boots. One whose document was lost with
    /// the substrate's state gets a new one: same address, same identity, new password.
    pub async fn tell(&self, view: &View, wishes: &Wishes) -> Result<bool, SubstrateError> {
        let site = self.site();
        let known = site
            .registered(&view.name)
            .await?
            .map(|known| known.metadata);
        if let Some(known) = &known {
            refuse_other_durability(&view.name, wishes, known)?;
        }
        // Without what stands for its volume, it is one of a kind that Docker can make anew.
        let record = match view.disk.backend() {
            Backend::Copy => Storage::Copy(Medium::Disk),
            Backend::Block => Storage::Block {
                size: DiskSize::DEFAULT,
                host: None,
            },
        };
        let record = site.record(&view.name, &record, None).await?;
        let instance_id = instance_of(&record);
        let before = known.clone().unwrap_or_default();
        let document = wishes.applied_to(&before, &instance_id, generated_password()?);
        if known.as_ref() == Some(&document) {
            return Ok(false);
        }
        self.admin
            .put_machine(view.name.as_str(), view.link_local, document)
            .await?;
        Ok(true)
    }

    pub(super) fn site(&self) -> Site {
        Site {
            docker: self.docker.clone(),
            substrate: self.name.clone(),
            owner: self.owner.clone(),
            admin: self.admin.clone(),
        }
    }
}

/// Where a machine is made.
pub(super) struct Site {
    pub(super) docker: Docker,
    pub(super) substrate: SubstrateName,
    pub(super) owner: Option<Owner>,
    pub(super) admin: AdminClient,
}

/// What the metadata service knows under a machine's name.
pub(super) struct Registered {
    link_local: Ipv4Addr,
    metadata: Metadata,
}

impl Site {
    async fn make_new(&self, order: Order) -> Result<(), SubstrateError> {
        if self.registered(&order.name).await?.is_none() {
            self.refuse_half_made(&order.name).await?;
        }
        self.make(order).await
    }

    pub(super) async fn make(&self, order: Order) -> Result<(), SubstrateError> {
        let container_name = self.substrate.machine_container(&order.name);
        if container::inspect(&self.docker, &container_name)
            .await?
            .is_some()
        {
            return Err(SubstrateError::MachineExists {
                substrate: self.substrate.clone(),
                name: order.name,
            });
        }
        let known = self.registered(&order.name).await?;
        let had_volume = self.volume(&order.name).await?.is_some();
        if let Some(known) = known.as_ref().filter(|_| had_volume) {
            refuse_other_durability(&order.name, &order.wishes, &known.metadata)?;
        }
        let made = self.make_all(&order, known.as_ref()).await;
        if made.is_err() {
            // The first failure is the one to tell; what cannot be undone now is found by label.
            drop(container::remove(&self.docker, &container_name).await);
            if !had_volume {
                drop(self.discard(&order.name).await);
            }
            drop(match known {
                Some(before) => {
                    let Registered {
                        link_local,
                        metadata,
                    } = before;
                    self.admin
                        .put_machine(order.name.as_str(), link_local, metadata)
                        .await
                }
                None => self.admin.delete_machine(order.name.as_str()).await,
            });
        }
        made
    }

    /// A copy that has no metadata was never finished: a fork registers its machine last.
    async fn refuse_half_made(&self, name: &MachineName) -> Result<(), SubstrateError> {
        let volume = self.volume(name).await?;
        match volume
            .as_ref()
            .and_then(|volume| volume.labels.get(labels::PARENT))
        {
            Some(parent) => Err(SubstrateError::HalfVolume {
                name: name.clone(),
                parent: parent.clone(),
            }),
            None => Ok(()),
        }
    }

    async fn make_all(
        &self,
        order: &Order,
        known: Option<&Registered>,
    ) -> Result<(), SubstrateError> {
        let ports = ports::choose(order.ports)?;
        let record = self.record(&order.name, &order.storage, None).await?;
        // Before the metadata: a volume that no machine was ever told of has never been booted.
        let disk = self.disk(order, &record, known.is_some()).await?;
        let instance_id = instance_of(&record);
        let link_local = match known {
            Some(known) => known.link_local,
            None => link_local::lowest_free(&self.taken_addresses().await?)?,
        };
        let nothing = Metadata::new();
        let before = known.map_or(&nothing, |known| &known.metadata);
        let metadata = order
            .wishes
            .applied_to(before, &instance_id, generated_password()?);
        self.admin
            .put_machine(order.name.as_str(), link_local, metadata)
            .await?;

        let spec = MachineSpec {
            name: order.name.clone(),
            image: order.image.clone(),
            memory: order.memory,
            cpus: order.cpus,
            ports,
            link_local,
            disk,
            overrides: order.overrides.clone(),
        };
        let spec = spec.container(&self.substrate, self.owner.as_ref());
        container::create(&self.docker, &spec).await?;
        Ok(())
    }

    pub(super) async fn registered(
        &self,
        name: &MachineName,
    ) -> Result<Option<Registered>, SubstrateError> {
        let machines = self.admin.machines().await?;
        let Some(known) = machines
            .into_iter()
            .find(|machine| machine.name == name.as_str())
        else {
            return Ok(None);
        };
        let metadata = self.admin.metadata(name.as_str()).await?;
        Ok(Some(Registered {
            link_local: known.link_local,
            metadata,
        }))
    }

    /// Takes a volume away that came to nothing.
    pub(super) async fn discard(&self, name: &MachineName) -> Result<(), HostError> {
        placing::discard(&self.docker, &self.substrate, name, Children::Forbid).await
    }

    pub(super) async fn volume(
        &self,
        name: &MachineName,
    ) -> Result<Option<volume::Volume>, SubstrateError> {
        Ok(volume::find(&self.docker, &self.substrate.machine_volume(name)).await?)
    }

    /// Addresses with a document, and addresses with a container: after a substrate's state was
    /// lost the two differ.
    async fn taken_addresses(&self) -> Result<BTreeSet<Ipv4Addr>, SubstrateError> {
        let registered = self
            .admin
            .machines()
            .await?
            .into_iter()
            .map(|machine| machine.link_local);
        let mut taken: BTreeSet<_> = registered.collect();
        let containers = machine_containers(&self.docker, &self.substrate).await?;
        taken.extend(containers.iter().filter_map(|container| {
            container
                .labels
                .get(labels::LINK_LOCAL)?
                .parse::<Ipv4Addr>()
                .ok()
        }));
        Ok(taken)
    }
}

/// A volume stays what it was made as: whether it goes to object storage was decided with it, and what is
/// on it was written under one promise.
fn refuse_other_durability(
    name: &MachineName,
    wishes: &Wishes,
    known: &Metadata,
) -> Result<(), SubstrateError> {
    match wishes.contradiction(known) {
        None => Ok(()),
        Some(ephemeral) => Err(SubstrateError::OtherDurability {
            name: name.clone(),
            ephemeral,
        }),
    }
}

/// Every volume of ours was made with an identity.
fn instance_of(record: &volume::Volume) -> String {
    let instance = record.labels.get(labels::INSTANCE);
    instance.cloned().unwrap_or_default()
}

impl Registered {
    pub(super) fn is_ephemeral(&self) -> bool {
        metadata::is_ephemeral(&self.metadata)
    }
}
