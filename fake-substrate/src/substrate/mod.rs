//! One substrate: a network, the process that holds 169.254.169.254 on it, and its machines.
//!
//! Everything about it is read back from Docker by label, so that any process finds a substrate
//! that another one made.

mod apart;
pub mod block_store;
mod create;
mod error;
mod expiry;
mod fork;
mod loss;
mod object_storage;
mod placing;
mod readiness;
mod removal;
pub mod service;
mod sweep;

use std::convert::Infallible;

use crate::admin::AdminClient;
use crate::backend::Backend;
use crate::docker::{Docker, DockerError, Observed, container, network, volume};
use crate::fault::hands::Hands;
use crate::hosts::Hosts;
use crate::labels;
use crate::lock::SubstrateLock;
use crate::machine::state::State;
use crate::machine::{Machine, MachineError, View};
use crate::names::{MachineName, SubstrateName};
use crate::owner::Owner;
use crate::progress::Progress;
use crate::until::{Budget, Ended, Look, OutOfTime, until};

pub use create::Order;
pub use error::{NotHealthy, SubstrateError};
pub use fork::{Forked, Paused};
pub use loss::{LostHost, Rehomed};
pub use object_storage::S3;
pub use placing::discard;
pub(crate) use placing::refuse_children;
pub use sweep::{Swept, sweep};

/// A substrate whose service runs.
#[derive(Debug, Clone)]
pub struct Substrate {
    docker: Docker,
    name: SubstrateName,
    owner: Option<Owner>,
    admin: AdminClient,
}

impl Substrate {
    /// Makes what is missing of a substrate and waits until its service answers. One that runs
    /// already stays as it is, unless its service was made from another image: then that is
    /// replaced, and the machines do not notice. A new one remembers what its machines' volumes are made of.
    pub async fn up(
        docker: &Docker,
        name: &SubstrateName,
        image: &str,
        backend: Backend,
        owner: Option<Owner>,
        progress: &dyn Progress,
    ) -> Result<Self, SubstrateError> {
        let lock = SubstrateLock::take(name, progress).await?;
        let before = service::find(docker, name).await?;
        let making = tokio::spawn({
            let (docker, name, image) = (docker.clone(), name.clone(), image.to_owned());
            async move {
                let made = service::ensure(&docker, &name, &image, backend, owner.as_ref()).await;
                drop(lock);
                made
            }
        });
        making
            .await
            .map_err(|_aborted| SubstrateError::CutShort(name.clone()))??;
        let substrate = Self::connect(docker, name).await?;
        substrate.healthy().await?;
        let runs_on =
            before.is_some_and(|before| before.state == State::Running && before.image_id == image);
        let machines = machine_containers(docker, name).await?;
        let running = |machine: &Observed| machine.state == State::Running;
        if !runs_on && machines.iter().any(running) {
            // Faults ended with the process; what they did to the machines has not.
            substrate.hands().settle().await?;
        }
        Ok(substrate)
    }

    /// Finds a substrate that somebody made, be it through [`Substrate::up`] or otherwise from
    /// the same pieces: its labels are what counts.
    pub async fn connect(docker: &Docker, name: &SubstrateName) -> Result<Self, SubstrateError> {
        let service = service::find(docker, name).await?;
        let service = service.ok_or_else(|| SubstrateError::Absent(name.clone()))?;
        let admin = service::admin(&service, name)?;
        let owner = service
            .labels
            .get(labels::OWNER)
            .and_then(|owner| owner.parse().ok());
        Ok(Self {
            docker: docker.clone(),
            name: name.clone(),
            owner,
            admin,
        })
    }

    /// Waits until its service answers.
    pub async fn healthy(&self) -> Result<(), SubstrateError> {
        let answered = until::<(), Infallible>(Budget::SUBSTRATE_HEALTH, async || {
            match self.admin.health().await {
                Ok(()) => Look::Found(()),
                Err(error) => Look::NotYet(error.to_string().replace('\n', "; ")),
            }
        });
        match answered.await {
            Ok(((), _took)) => Ok(()),
            Err(Ended::Never(never)) => match never {},
            Err(Ended::OutOfTime(waited)) => Err(self.not_healthy(waited).await?),
        }
    }

    async fn not_healthy(&self, waited: OutOfTime) -> Result<SubstrateError, SubstrateError> {
        let service = service::find(&self.docker, &self.name).await?;
        let container = service.map_or_else(|| self.name.container(), |service| service.name);
        let last_lines = crate::docker::logs::last_lines(&self.docker, &container, 10).await?;
        let name = self.name.clone();
        let not_healthy = NotHealthy {
            name,
            container,
            waited,
            last_lines,
        };
        Ok(SubstrateError::NotHealthy(Box::new(not_healthy)))
    }

    /// Its name.
    pub fn name(&self) -> &SubstrateName {
        &self.name
    }

    /// Its admin API, for what has no method here.
    pub fn admin(&self) -> &AdminClient {
        &self.admin
    }

    /// What breaks and heals what its process cannot.
    pub fn hands(&self) -> Hands {
        Hands {
            docker: self.docker.clone(),
            admin: self.admin.clone(),
            substrate: self.name.clone(),
            owner: self.owner.clone(),
        }
    }

    /// A handle, whether or not there is such a machine.
    pub fn handle(&self, name: MachineName) -> Machine {
        Machine {
            docker: self.docker.clone(),
            admin: self.admin.clone(),
            substrate: self.name.clone(),
            owner: self.owner.clone(),
            name,
        }
    }

    /// The machine of that name, and how it stands; `None` when there is none.
    pub async fn machine(
        &self,
        name: &MachineName,
    ) -> Result<Option<(Machine, View)>, SubstrateError> {
        let machine = self.handle(name.clone());
        match machine.view().await {
            Ok(view) => Ok(Some((machine, view))),
            Err(MachineError::Absent { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Every machine, by name.
    pub async fn machines(&self) -> Result<Vec<(Machine, View)>, SubstrateError> {
        let views = views(&self.docker, &self.name).await?;
        Ok(views
            .into_iter()
            .map(|view| (self.handle(view.name.clone()), view))
            .collect())
    }
}

pub(crate) fn labelled_as(name: &SubstrateName, role: labels::Role) -> [String; 2] {
    [
        labels::is(labels::SUBSTRATE, name.as_str()),
        labels::is(labels::ROLE, role.as_str()),
    ]
}

pub(crate) async fn machine_containers(
    docker: &Docker,
    name: &SubstrateName,
) -> Result<Vec<Observed>, DockerError> {
    container::labelled(docker, &labelled_as(name, labels::Role::Machine)).await
}

/// Whether there is a substrate of that name, running or not.
pub async fn exists(docker: &Docker, name: &SubstrateName) -> Result<bool, DockerError> {
    Ok(service::find(docker, name).await?.is_some())
}

/// Every machine of a substrate as it stands, whether or not the substrate's service runs.
pub async fn views(docker: &Docker, name: &SubstrateName) -> Result<Vec<View>, DockerError> {
    let hosts = Hosts::of(docker, name).names().await?;
    machine_containers(docker, name)
        .await?
        .into_iter()
        .map(|seen| View::of(seen, &hosts))
        .collect()
}

/// What machines' volumes of a substrate are made of unless somebody says otherwise; `None` when there is
/// no such substrate yet.
pub async fn backend(
    docker: &Docker,
    name: &SubstrateName,
) -> Result<Option<Backend>, DockerError> {
    let state = volume::find(docker, &name.state_volume()).await?;
    Ok(state.map(|state| Backend::of(&state.labels)))
}

/// The volumes of a substrate's machines, those of machines that are gone included.
pub async fn volumes(
    docker: &Docker,
    name: &SubstrateName,
) -> Result<Vec<volume::Volume>, DockerError> {
    volume::labelled(docker, &labelled_as(name, labels::Role::Machine)).await
}

/// What [`down`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenDown {
    /// Machines that were taken away.
    pub machines: Vec<MachineName>,
    /// Volumes that are still there.
    pub kept_volumes: Vec<String>,
}

/// Takes a substrate away: machines are shut down cleanly, then everything but the volumes goes;
/// with `with_volumes` the machines are killed, since nothing of them remains anyway.
/// Works on whatever is left of one, and on nothing.
pub async fn down(
    docker: &Docker,
    name: &SubstrateName,
    with_volumes: bool,
    progress: &dyn Progress,
) -> Result<TakenDown, SubstrateError> {
    let _lock = SubstrateLock::take(name, progress).await?;
    let machines = machine_containers(docker, name).await?;
    if !with_volumes && machines.iter().any(|machine| !machine.state.has_ended()) {
        progress.step("Shutting machines down");
        let stops = machines.iter().filter(|machine| !machine.state.has_ended());
        let stops = stops.map(|machine| container::stop(docker, &machine.name, None));
        futures_util::future::try_join_all(stops).await?;
    }
    let mut taken = TakenDown::default();
    for machine in machines {
        container::remove(docker, &machine.id).await?;
        taken.machines.extend(
            machine
                .labels
                .get(labels::MACHINE)
                .and_then(|name| name.parse().ok()),
        );
    }
    // A killed run's, which would hold on to volumes and namespaces.
    for role in [labels::Role::Copier, labels::Role::Saboteur] {
        for left in container::labelled(docker, &labelled_as(name, role)).await? {
            container::remove(docker, &left.id).await?;
        }
    }
    // After the machines, so that what they have not written yet still has a disk.
    let hosts = Hosts::of(docker, name).containers().await?;
    if !with_volumes {
        let stops = hosts.iter().filter(|host| host.state == State::Running);
        let stops = stops.map(|host| container::stop(docker, &host.id, None));
        futures_util::future::try_join_all(stops).await?;
    }
    for host in hosts {
        container::remove(docker, &host.id).await?;
    }
    if let Some(service) = service::find(docker, name).await? {
        container::remove(docker, &service.id).await?;
    }
    network::remove(docker, &name.network()).await?;
    let ours = [labels::is(labels::SUBSTRATE, name.as_str())];
    for volume in volume::labelled(docker, &ours).await? {
        if with_volumes {
            volume::remove(docker, &volume.name).await?;
        } else {
            taken.kept_volumes.push(volume.name);
        }
    }
    Ok(taken)
}
