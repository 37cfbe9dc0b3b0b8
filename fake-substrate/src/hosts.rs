//! The hosts of a substrate: each a block store in a container, with a disk of its own.
//!
//! A host is there for as long as its disk is, a Docker volume: its container may be killed and made
//! anew, and its volumes are on it all the same. With the disk it is lost, and whoever had a volume
//! there with it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::admin::{AdminClient, AdminError, AdminToken, GrowVolume, VolumeReport, VolumeStanding};
use crate::docker::{Attachment, Docker, DockerError, Observed, container, logs, volume};
use crate::labels::{self, Role};
use crate::link_local::{self, Exhausted};
use crate::machine::metadata::NoRandomness;
use crate::machine::size::DiskSize;
use crate::machine::state::State;
use crate::names::{HostName, InvalidName, MachineName, SubstrateName};
use crate::owner::Owner;
use crate::substrate::{block_store, service};
use crate::until::{Budget, OutOfTime, until_ok};
use crate::volume::VolumeName;
use crate::volume::backing::s3::S3Location;
use crate::volume::store::decide::Children;

/// Something could not be done to a host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is none of that name, or not any more.
    #[error(
        "substrate {substrate} has no host {host}\nHINT: `fake-substrate status` lists them; machines that were on it come back with `fake-substrate rehome`"
    )]
    Absent {
        /// Where it was looked for.
        substrate: SubstrateName,
        /// What was looked for.
        host: HostName,
    },
    /// Its block store does not run.
    #[error(
        "the block store of host {0} does not run\nHINT: `fake-substrate start` of a machine on it starts it again; its volumes are still there"
    )]
    NotRunning(HostName),
    /// It runs and does not answer.
    #[error(
        "the block store of host {host} did not answer, {waited}; its last lines:\n    {}\nHINT: it needs /dev/fuse and /dev/loop-control of the machine that runs Docker; without them use --volumes copy",
        last_lines.join("\n    ")
    )]
    NotHealthy {
        /// Which.
        host: HostName,
        /// How long was waited.
        waited: OutOfTime,
        /// What it said last.
        last_lines: Vec<String>,
    },
    /// Something of that name is lost, and somebody still waits for it.
    #[error(
        "host {host} was lost and cannot be made again while machines wait to be rehomed: {}\nHINT: choose another name, or `fake-substrate rehome` them first",
        waiting.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Haunted {
        /// Which.
        host: HostName,
        /// Whose volumes were there.
        waiting: Vec<MachineName>,
    },
    /// A volume that others began as copies of.
    #[error(
        "the volume of machine {machine} has children: {}\nHINT: take them away first, or `fake-substrate remove {machine} --volume --keep-children`: they lose nothing by it",
        children.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    HasChildren {
        /// Whose.
        machine: MachineName,
        /// Its children.
        children: Vec<VolumeName>,
    },
    /// No address is left.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// A machine's name is no volume's.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// No token could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Docker failed.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The block store failed, or said no.
    #[error(transparent)]
    Store(#[from] AdminError),
}

/// A host as it stands.
#[derive(Debug, Clone)]
pub struct HostView {
    /// Which.
    pub name: HostName,
    /// What its block store is doing; `None` when it has no container, as after `down`.
    pub state: Option<State>,
    /// Its address on the substrate's network.
    pub link_local: Option<Ipv4Addr>,
}

/// A host whose block store answers.
#[derive(Debug, Clone)]
pub struct Host {
    /// Which.
    pub name: HostName,
    /// The way to its block store.
    pub store: AdminClient,
}

/// What a host is made with.
#[derive(Debug, Clone)]
pub struct Kit {
    /// The image with the block store.
    pub image: String,
    /// The process that it shall not outlive.
    pub owner: Option<Owner>,
    /// Where all hosts of a substrate keep what outlives them.
    pub objects: S3Location,
}

/// The hosts of one substrate. Cheap to make: Docker knows them.
#[derive(Debug, Clone)]
pub struct Hosts<'s> {
    docker: &'s Docker,
    substrate: &'s SubstrateName,
}

impl<'s> Hosts<'s> {
    /// Those of a substrate.
    pub const fn of(docker: &'s Docker, substrate: &'s SubstrateName) -> Self {
        Self { docker, substrate }
    }

    fn labels(&self) -> [String; 2] {
        [
            labels::is(labels::SUBSTRATE, self.substrate.as_str()),
            labels::is(labels::ROLE, Role::Host.as_str()),
        ]
    }

    /// Those that are there, by name.
    pub async fn names(&self) -> Result<BTreeSet<HostName>, DockerError> {
        let disks = volume::labelled(self.docker, &self.labels()).await?;
        let name = |disk: volume::Volume| disk.labels.get(labels::HOST)?.parse().ok();
        Ok(disks.into_iter().filter_map(name).collect())
    }

    /// Their block stores' containers.
    pub async fn containers(&self) -> Result<Vec<Observed>, DockerError> {
        container::labelled(self.docker, &self.labels()).await
    }

    /// Every host as it stands.
    pub async fn views(&self) -> Result<Vec<HostView>, DockerError> {
        let containers = self.containers().await?;
        let of = |host: &HostName| {
            let is_its =
                |seen: &&Observed| seen.labels.get(labels::HOST) == Some(&host.to_string());
            containers.iter().find(is_its)
        };
        let view = |name: HostName| HostView {
            state: of(&name).map(|seen| seen.state),
            link_local: of(&name).and_then(address),
            name,
        };
        Ok(self.names().await?.into_iter().map(view).collect())
    }

    async fn container(&self, host: &HostName) -> Result<Option<Observed>, DockerError> {
        container::inspect(self.docker, &self.substrate.host_container(host)).await
    }

    /// A host whose block store runs. Docker chooses another port at each start.
    pub async fn running(&self, name: &HostName) -> Result<Host, HostError> {
        let seen = self.container(name).await?;
        let not_running = || HostError::NotRunning(name.clone());
        let seen = seen.ok_or_else(not_running)?;
        let port = seen.open_ports.get(&service::ADMIN_PORT);
        let (State::Running, Some(port)) = (seen.state, port) else {
            return Err(not_running());
        };
        let token = seen.env.get(service::TOKEN_ENV);
        let token = token.ok_or_else(|| DockerError::NotOurs {
            container: seen.name.clone(),
            missing: "it has no admin token in its environment",
        })?;
        let token = AdminToken::new(token.clone())?;
        let store = AdminClient::new(format!("http://127.0.0.1:{port}"), token)?;
        let name = name.clone();
        Ok(Host { name, store })
    }

    /// A host that is there, with its block store started again if need be.
    pub async fn awake(&self, name: &HostName) -> Result<Host, HostError> {
        if self.container(name).await?.is_none() {
            return Err(HostError::Absent {
                substrate: self.substrate.clone(),
                host: name.clone(),
            });
        }
        container::start(self.docker, &self.substrate.host_container(name)).await?;
        let host = self.running(name).await?;
        self.answers(&host).await?;
        Ok(host)
    }

    /// Every host that is there, each awake: to look for a volume that no machine has. Under the lock.
    pub async fn all_awake(&self, kit: &Kit) -> Result<Vec<Host>, HostError> {
        let mut hosts = Vec::new();
        for name in self.names().await? {
            hosts.push(self.ensure(&name, kit).await?);
        }
        Ok(hosts)
    }

    /// Makes what is missing of a host and waits until its block store answers. Under the lock.
    ///
    /// A block store of another image is replaced when it does not run: with it would go the disks of
    /// machines that do.
    pub async fn ensure(&self, name: &HostName, kit: &Kit) -> Result<Host, HostError> {
        let labels = || labels::of_host(self.substrate, name, kit.owner.as_ref());
        let disk = self.substrate.host_disk(name);
        volume::ensure(self.docker, &disk, labels()).await?;
        let container = self.substrate.host_container(name);
        let mut seen = self.container(name).await?;
        if let Some(stale) =
            seen.take_if(|seen| seen.image_id != kit.image && seen.state != State::Running)
        {
            container::remove(self.docker, &stale.id).await?;
        }
        if seen.is_none() {
            let taken = self
                .containers()
                .await?
                .iter()
                .filter_map(address)
                .collect();
            let link_local = link_local::lowest_free_for_host(&taken)?;
            let mut labels = labels();
            labels.insert(labels::LINK_LOCAL.to_owned(), link_local.to_string());
            let token = service::new_token()?;
            let network = Attachment {
                network: self.substrate.network(),
                link_local,
                aliases: Vec::new(),
            };
            let (image, objects) = (&kit.image, &kit.objects);
            let spec =
                block_store::container(container, image, disk, &token, labels, objects, network);
            container::create(self.docker, &spec).await?;
        }
        self.awake(name).await
    }

    async fn answers(&self, host: &Host) -> Result<(), HostError> {
        let answered = until_ok(Budget::SUBSTRATE_HEALTH, || {
            let store = host.store.clone();
            async move {
                let answer = store.health().await;
                answer.map_err(|error| error.to_string().replace('\n', "; "))
            }
        });
        match answered.await {
            Ok(()) => Ok(()),
            Err(waited) => {
                let container = self.substrate.host_container(&host.name);
                Err(HostError::NotHealthy {
                    host: host.name.clone(),
                    waited,
                    last_lines: logs::last_lines(self.docker, &container, 10).await?,
                })
            }
        }
    }

    /// SIGKILL of its block store: from here on nothing that anybody writes to its volumes counts.
    pub async fn kill(&self, name: &HostName) -> Result<(), DockerError> {
        let container = self.substrate.host_container(name);
        if self
            .container(name)
            .await?
            .is_some_and(|seen| !seen.state.has_ended())
        {
            container::signal(self.docker, &container, "SIGKILL").await?;
            container::ended(self.docker, &container).await?;
        }
        Ok(())
    }

    /// Takes the container away and the disk with it. The disk goes last: until then the host is there.
    pub async fn forget(&self, name: &HostName) -> Result<(), DockerError> {
        container::remove(self.docker, &self.substrate.host_container(name)).await?;
        volume::remove(self.docker, &self.substrate.host_disk(name)).await
    }
}

fn address(seen: &Observed) -> Option<Ipv4Addr> {
    seen.labels.get(labels::LINK_LOCAL)?.parse().ok()
}

impl Host {
    /// What it knows of a machine's volume; `None` when it has none.
    pub async fn volume(&self, machine: &MachineName) -> Result<Option<VolumeReport>, HostError> {
        let name = volume_name(machine)?;
        let volumes = self.store.volumes().await?;
        Ok(volumes.into_iter().find(|volume| volume.name == name))
    }

    /// The device that a machine's volume is, attached if it is not.
    pub async fn disk(&self, machine: &MachineName) -> Result<String, HostError> {
        let name = volume_name(machine)?;
        let seen = self.store.volume(&name).await?;
        match (seen.standing, seen.device) {
            (VolumeStanding::Attached, Some(device)) => Ok(device),
            _ => Ok(self.store.attach_volume(&name).await?.device),
        }
    }

    /// Makes a machine's volume larger, with its disk and its file system.
    pub async fn grow(&self, machine: &MachineName, size: DiskSize) -> Result<(), HostError> {
        let to = GrowVolume {
            bytes: size.bytes(),
        };
        Ok(self.store.grow_volume(&volume_name(machine)?, to).await?)
    }

    /// The end of a machine's volume. One that has children stays, and they are named, unless they are kept:
    /// then they are nobody's children from then on.
    pub async fn destroy(
        &self,
        machine: &MachineName,
        children: Children,
    ) -> Result<(), HostError> {
        let name = volume_name(machine)?;
        let Some(seen) = self.volume(machine).await? else {
            return Ok(());
        };
        // Before the disk is taken away, or a volume that stays would have lost it.
        if children == Children::Forbid && !seen.children.is_empty() {
            let (machine, children) = (machine.clone(), seen.children);
            return Err(HostError::HasChildren { machine, children });
        }
        if seen.standing == VolumeStanding::Attached {
            self.store.detach_volume(&name).await?;
        }
        let keep = children == Children::Keep;
        Ok(self.store.destroy_volume(&name, keep).await?)
    }
}

/// A machine's volume is called like the machine.
pub fn volume_name(machine: &MachineName) -> Result<VolumeName, InvalidName> {
    machine.as_str().parse()
}
