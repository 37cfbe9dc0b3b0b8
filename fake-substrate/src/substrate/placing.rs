//! A machine's volume: what stands for it in Docker, and where its content is.
//!
//! Each machine's volume is known to Docker by a named volume with labels: whose it is, its identity,
//! its parent, what it is made of. For a folder that volume is the content as well. For a disk it is
//! empty, and the content is on whichever host says that it has it: hosts change, labels cannot.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::admin::{CreateVolume, FileSystem, ForkVolume};
use crate::backend::{Backend, Storage};
use crate::docker::volume::{self, Medium, Volume};
use crate::docker::{Docker, container};
use crate::hosts::{self, Host, HostError, Hosts, Kit};
use crate::labels;
use crate::machine::disk::Disk;
use crate::machine::metadata::new_instance_id;
use crate::machine::size::DiskSize;
use crate::names::{HostName, MachineName, SubstrateName};
use crate::s3;
use crate::serve::clock;
use crate::until::timed;
use crate::volume::backing::s3::S3Location;
use crate::volume::store::decide::Children;

use super::create::{Order, Site};
use super::{SubstrateError, block_store, machine_containers, service};

/// How much longer than its machine a volume lives for its block store, which destroys one that nobody has
/// attached: a machine that is being made has yet to, and may live for a second.
const UNTIL_ATTACHED: Duration = Duration::from_secs(60);

impl Site {
    pub(super) fn hosts(&self) -> Hosts<'_> {
        Hosts::of(&self.docker, &self.substrate)
    }

    /// What stands for a machine's volume, made when it is missing; one that is there stays as it is.
    ///
    /// The identity is the volume's: a new volume is a new database, an old one the same as ever,
    /// whatever became of the container and the metadata in between.
    pub(super) async fn record(
        &self,
        name: &MachineName,
        storage: &Storage,
        parent: Option<(&MachineName, Option<u64>)>,
    ) -> Result<Volume, SubstrateError> {
        let mut labels = labels::of_machine(&self.substrate, name, self.owner.as_ref());
        labels.insert(labels::INSTANCE.to_owned(), new_instance_id()?);
        labels.insert(labels::BACKEND.to_owned(), storage.backend().to_string());
        if let Some((parent, expires_ms)) = parent {
            labels.insert(labels::PARENT.to_owned(), parent.to_string());
            let expires = expires_ms.map(|ms| (labels::EXPIRES.to_owned(), ms.to_string()));
            labels.extend(expires);
        }
        let medium = match storage {
            Storage::Copy(medium) => *medium,
            Storage::Block { .. } => Medium::Disk,
        };
        let volume = self.substrate.machine_volume(name);
        Ok(volume::ensure_on(&self.docker, &volume, medium, labels).await?)
    }

    /// What PID 1 shall find its volume on; a disk is made, or brought back, when it is nowhere.
    ///
    /// A volume that had a machine before (`known`) and is on no host is not made anew: it is as of its
    /// flush point in object storage, or gone.
    pub(super) async fn disk(
        &self,
        order: &Order,
        record: &Volume,
        known: bool,
    ) -> Result<Disk, SubstrateError> {
        if Backend::of(&record.labels) == Backend::Copy {
            return Ok(Disk::Folder);
        }
        let host = match self.who_has(&order.name).await? {
            Some(host) => host,
            None if known => {
                let wanted = order.storage.host();
                self.bring_to_host(wanted, &order.name).await?
            }
            None => {
                let host = self.host_for(order.storage.host()).await?;
                let size = match &order.storage {
                    Storage::Block { size, .. } => *size,
                    Storage::Copy(_) => DiskSize::DEFAULT,
                };
                let new = CreateVolume {
                    name: hosts::volume_name(&order.name).map_err(HostError::from)?,
                    bytes: size.bytes(),
                    file_system: Some(FileSystem::Ext4),
                    ephemeral: order.wishes.is_ephemeral(),
                    ttl_s: None,
                };
                let made = host.store.create_volume(&new).await;
                made.map_err(HostError::from)?;
                host
            }
        };
        let device = host.disk(&order.name).await?;
        let host = host.name;
        Ok(Disk::Block { host, device })
    }

    /// The host that has a machine's volume. Every host that is there is asked.
    async fn who_has(&self, name: &MachineName) -> Result<Option<Host>, SubstrateError> {
        let hosts = self.hosts().all_awake(&self.kit().await?).await?;
        for host in hosts {
            if host.volume(name).await?.is_some() {
                return Ok(Some(host));
            }
        }
        Ok(None)
    }

    /// The host that was asked for, or any that is there, or the first one; made when it is missing.
    pub(super) async fn host_for(&self, wanted: Option<&HostName>) -> Result<Host, SubstrateError> {
        let there = self.hosts().names().await?;
        let machines = machine_containers(&self.docker, &self.substrate).await?;
        let lost_with = |host: &HostName| -> Vec<MachineName> {
            let of = machines
                .iter()
                .filter(|seen| seen.labels.get(labels::HOST) == Some(&host.to_string()));
            of.filter_map(|seen| seen.labels.get(labels::MACHINE)?.parse().ok())
                .collect()
        };
        let host = match wanted {
            Some(host) => host.clone(),
            None => {
                let mut numbered = (1..).map(HostName::numbered);
                let first = there.first().cloned();
                first
                    .or_else(|| numbered.find(|host| lost_with(host).is_empty()))
                    .unwrap_or_else(|| HostName::numbered(1))
            }
        };
        if !there.contains(&host) {
            let waiting = lost_with(&host);
            if !waiting.is_empty() {
                return Err(HostError::Haunted { host, waiting }.into());
            }
        }
        Ok(self.hosts().ensure(&host, &self.kit().await?).await?)
    }

    /// Hosts run what the substrate's service runs, and keep their objects in its bucket.
    async fn kit(&self) -> Result<Kit, SubstrateError> {
        let service = service::find(&self.docker, &self.substrate).await?;
        let service = service.ok_or_else(|| SubstrateError::Absent(self.substrate.clone()))?;
        let objects = S3Location {
            endpoint: format!("http://{}:{}", wire::ports::METADATA_ADDR, s3::PORT),
            bucket: s3::BUCKET.to_owned(),
            prefix: block_store::PREFIX.to_owned(),
            keys: self.admin.s3().await?.keys,
        };
        Ok(Kit {
            image: service.image_id,
            owner: self.owner.clone(),
            objects,
        })
    }

    /// A volume that was lost with its host, on the host that was asked for, or on any. A host that had to
    /// be made and gets nothing is taken away again.
    pub(super) async fn bring_to_host(
        &self,
        wanted: Option<&HostName>,
        name: &MachineName,
    ) -> Result<Host, SubstrateError> {
        let before = self.hosts().names().await?;
        let host = self.host_for(wanted).await?;
        match self.bring_back(&host, name).await {
            Ok(()) => Ok(host),
            Err(error) => {
                // The first failure is the one to tell; a host that stays is seen in `status`.
                drop(self.forget_if_new(&before, &host).await);
                Err(error)
            }
        }
    }

    /// Takes a host away that was not there `before` and has nothing.
    async fn forget_if_new(
        &self,
        before: &BTreeSet<HostName>,
        host: &Host,
    ) -> Result<(), HostError> {
        if !before.contains(&host.name) && host.store.volumes().await?.is_empty() {
            self.hosts().forget(&host.name).await?;
        }
        Ok(())
    }

    /// The end of what object storage has of a volume that is on no host. A host takes it over first, so
    /// that whoever had it before can write it no more.
    pub(super) async fn destroy_lost(
        &self,
        name: &MachineName,
        children: Children,
    ) -> Result<(), SubstrateError> {
        let record = volume::find(&self.docker, &self.substrate.machine_volume(name)).await?;
        let is_disk = record.is_some_and(|record| Backend::of(&record.labels) == Backend::Block);
        if !is_disk || self.who_has(name).await?.is_some() {
            return Ok(());
        }
        let before = self.hosts().names().await?;
        let host = match self.bring_to_host(None, name).await {
            Ok(host) => host,
            Err(SubstrateError::Gone { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        host.destroy(name, children).await?;
        Ok(self.forget_if_new(&before, &host).await?)
    }

    async fn bring_back(&self, host: &Host, name: &MachineName) -> Result<(), SubstrateError> {
        // Somebody was killed between this and the rest.
        if host.volume(name).await?.is_some() {
            return Ok(());
        }
        let volume = hosts::volume_name(name).map_err(HostError::from)?;
        match host.store.rehome_volume(&volume).await {
            Err(error) if error.is_not_found() => {
                let ephemeral = self.is_ephemeral(name).await?;
                let name = name.clone();
                Err(SubstrateError::Gone { name, ephemeral })
            }
            done => done.map_err(|error| HostError::from(error).into()),
        }
    }

    async fn is_ephemeral(&self, name: &MachineName) -> Result<bool, SubstrateError> {
        let known = self.registered(name).await?;
        Ok(known.is_some_and(|known| known.is_ephemeral()))
    }

    /// A child of a machine's disk, on the same host; answers how long the parent can have waited.
    pub(super) async fn fork_disk(
        &self,
        host: &HostName,
        parent: &MachineName,
        order: &Order,
    ) -> Result<Duration, SubstrateError> {
        let host = self.hosts().awake(host).await?;
        let name = |machine| hosts::volume_name(machine).map_err(HostError::from);
        let new = ForkVolume {
            child: name(&order.name)?,
            ephemeral: order.wishes.is_ephemeral(),
            ttl_s: order
                .ttl
                .map(|ttl| ttl.saturating_add(UNTIL_ATTACHED).as_secs()),
        };
        let (forked, took) = timed(host.store.fork_volume(&name(parent)?, &new)).await;
        forked.map_err(HostError::from)?;
        Ok(took)
    }

    /// When a machine that is made now has had its time.
    pub(super) fn expires_ms(order: &Order) -> Option<u64> {
        let ttl = u64::try_from(order.ttl?.as_millis()).unwrap_or(u64::MAX);
        Some(clock::unix_ms().saturating_add(ttl))
    }
}

/// Takes a machine's volume away, whatever it is made of. One with children stays, and they are named,
/// unless they are kept.
pub async fn discard(
    docker: &Docker,
    substrate: &SubstrateName,
    machine: &MachineName,
    children: Children,
) -> Result<(), HostError> {
    let volume_name = substrate.machine_volume(machine);
    let Some(record) = volume::find(docker, &volume_name).await? else {
        return Ok(());
    };
    if Backend::of(&record.labels) == Backend::Block {
        let hosts = Hosts::of(docker, substrate);
        for name in hosts.names().await? {
            hosts.awake(&name).await?.destroy(machine, children).await?;
        }
    }
    Ok(volume::remove(docker, &volume_name).await?)
}

/// Whose children a machine's volume has; those would lose nothing by its end, but are not asked.
pub(crate) async fn refuse_children(
    docker: &Docker,
    substrate: &SubstrateName,
    machine: &MachineName,
) -> Result<(), HostError> {
    let hosts = Hosts::of(docker, substrate);
    let container = container::inspect(docker, &substrate.machine_container(machine)).await?;
    let disk = container.and_then(|seen| Disk::of(&seen).ok());
    let Some(host) = disk.as_ref().and_then(Disk::host) else {
        return Ok(());
    };
    if !hosts.names().await?.contains(host) {
        return Ok(());
    }
    let seen = hosts.awake(host).await?.volume(machine).await?;
    let children = seen.map(|seen| seen.children).unwrap_or_default();
    if children.is_empty() {
        return Ok(());
    }
    let machine = machine.clone();
    Err(HostError::HasChildren { machine, children })
}
