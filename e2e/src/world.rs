//! One isolated substrate for one scenario.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use fake_substrate::certificates::Authority;
use fake_substrate::docker::{ContainerSpec, Docker, connect, container, network, volume};
use fake_substrate::hosts::Hosts;
use fake_substrate::labels::{self, Labels};
use fake_substrate::machine::metadata::new_instance_id;
use fake_substrate::names::SubstrateName;
use fake_substrate::owner::Owner;
use fake_substrate::progress::Quiet;
use fake_substrate::substrate::{self, Substrate, service};
use fake_substrate::volume::store::decide::Children;
use testcontainers::core::{IntoContainerPort as _, Mount};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};
use tokio::sync::OnceCell;

use crate::artifacts::{Images, by_id};
use crate::loopback::Loopback as _;
use crate::spec::Spec;

/// A substrate of its own: network, metadata service, machines. Nothing of it is shared with a
/// scenario that runs at the same time.
#[derive(Debug)]
pub struct World {
    pub(crate) site: Arc<Site>,
    service: Client,
}

/// What everything in a world needs.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) docker: Docker,
    pub(crate) substrate: Substrate,
    pub(crate) images: &'static Images,
    pub(crate) owner: Owner,
    /// Who signs for the machines.
    pub(crate) authority: Authority,
    /// testcontainers removes a container with its last handle; these have to outlive the story,
    /// or a failed one would leave no log of them.
    clients: Mutex<Vec<Arc<Client>>>,
}

/// A container that testcontainers runs.
pub(crate) type Client = ContainerAsync<GenericImage>;

impl World {
    /// Makes one. What killed runs left behind is removed first.
    pub async fn new() -> Result<Self> {
        let docker = connect()
            .await
            .context("the scenarios run against a real Docker")?;
        let images = Images::ensure(&docker).await?;
        sweep_once(&docker).await?;
        let owner = Owner::current();
        let name = fresh_name()?;
        let made = Self::make(&docker, images, &owner, &name).await;
        if made.is_err() {
            // The first failure is the one to tell; the label finds what stays.
            drop(substrate::down(&docker, &name, true, &Quiet).await);
        }
        made.with_context(|| format!("making substrate {name}"))
    }

    async fn make(
        docker: &Docker,
        images: &'static Images,
        owner: &Owner,
        name: &SubstrateName,
    ) -> Result<Self> {
        let labels = || labels::of_substrate(name, Some(owner));
        network::ensure(docker, &name.network(), labels()).await?;
        volume::ensure(docker, &name.state_volume(), labels()).await?;
        let token = service::new_token()?;
        let spec = service::container(name, &images.substrate, &token, Some(owner));
        let service = start(spec).await?;
        network::attach(docker, service.id(), &service::attachment(name)).await?;
        let substrate = Substrate::connect(docker, name).await?;
        substrate.healthy().await?;
        let site = Site {
            docker: docker.clone(),
            substrate,
            images,
            owner: owner.clone(),
            authority: Authority::new()?,
            clients: Mutex::default(),
        };
        Ok(Self {
            site: Arc::new(site),
            service,
        })
    }

    /// A machine to be described and booted.
    pub fn vm(&self, name: &str) -> Spec {
        Spec::new(Arc::clone(&self.site), name)
    }

    /// What every command on a substrate begins with: whose time has come is taken away. Answers who is
    /// left.
    pub async fn expire(&self) -> Result<Vec<String>> {
        let substrate = &self.site.substrate;
        substrate.expire(&Quiet).await?;
        let left = substrate.machines().await?;
        Ok(left
            .into_iter()
            .map(|(_machine, view)| view.name.to_string())
            .collect())
    }

    /// Takes one machine away, with its volume if it is said what becomes of that one's children.
    pub async fn remove(&self, name: &str, volume: Option<Children>) -> Result<()> {
        let substrate = &self.site.substrate;
        let removed = substrate.remove(&name.parse()?, volume, &Quiet).await;
        removed.with_context(|| format!("taking {name} away"))
    }

    /// The hosts that are there.
    pub async fn hosts(&self) -> Result<Vec<String>> {
        let hosts = Hosts::of(&self.site.docker, self.site.substrate.name());
        let names = hosts.names().await?;
        Ok(names.iter().map(ToString::to_string).collect())
    }

    /// Another image than the one that machines are booted from: the same sources, built otherwise.
    pub fn another_image(&self) -> &str {
        &self.site.images.failpoints
    }

    /// Takes everything away.
    pub(crate) async fn close(self) -> Result<()> {
        let Site {
            docker, substrate, ..
        } = self.site.as_ref();
        let name = substrate.name();
        let ours = [labels::is(labels::SUBSTRATE, name.as_str())];
        // Before the object storage: a kernel that reads from a disk whose blocks are there would wait for it.
        let hosts = labels::is(labels::ROLE, labels::Role::Host.as_str());
        for host in container::labelled(docker, &[ours[0].clone(), hosts]).await? {
            container::remove(docker, &host.id).await?;
        }
        self.service.rm().await?;
        for client in container::labelled(docker, &ours).await? {
            container::remove(docker, &client.id).await?;
        }
        substrate::down(docker, name, true, &Quiet).await?;
        Ok(())
    }
}

impl Site {
    /// Lets a client live as long as the world.
    pub(crate) fn host(&self, client: Client) -> Arc<Client> {
        let client = Arc::new(client);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.push(Arc::clone(&client));
        client
    }

    /// On everything that a scenario starts through testcontainers.
    pub(crate) fn client_labels(&self) -> Labels {
        Labels::from([
            (
                labels::SUBSTRATE.to_owned(),
                self.substrate.name().to_string(),
            ),
            (labels::OWNER.to_owned(), self.owner.to_string()),
            (labels::ROLE.to_owned(), "client".to_owned()),
        ])
    }
}

/// Once for each test process: while it runs, nothing that it finds later can be a leftover.
async fn sweep_once(docker: &Docker) -> Result<()> {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    let sweep = SWEPT.get_or_try_init(|| async {
        substrate::sweep(docker)
            .await
            .map(drop)
            .context("removing what killed runs left behind")
    });
    sweep.await.copied()
}

fn fresh_name() -> Result<SubstrateName> {
    let random = new_instance_id()?;
    let name = random.replacen("i-", "e2e-", 1);
    name.parse()
        .with_context(|| format!("naming a substrate {name}"))
}

/// The substrate's container, as the library wants it, through testcontainers.
async fn start(spec: ContainerSpec) -> Result<Client> {
    let ports: Vec<u16> = spec.published.iter().map(|port| port.container).collect();
    let mut image = by_id(&spec.image)?;
    for port in &ports {
        image = image.with_exposed_port(port.tcp());
    }
    let mut request = image
        .with_cmd(spec.command)
        .with_container_name(spec.name)
        .with_hostname(spec.hostname)
        .with_labels(spec.labels)
        .with_cap_drop("ALL")
        .with_readonly_rootfs(spec.read_only_root)
        .published_on_loopback(ports);
    if let Some(user) = spec.user {
        request = request.with_user(user);
    }
    for (key, value) in spec.env {
        request = request.with_env_var(key, value);
    }
    for mount in spec.mounts {
        request = request.with_mount(Mount::volume_mount(mount.volume, mount.target));
    }
    request
        .start()
        .await
        .context("starting the substrate's container")
}
