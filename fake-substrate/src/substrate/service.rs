//! The substrate's own container: the process that serves metadata at 169.254.169.254.
//!
//! In separate pieces, because the scenarios start this container through testcontainers: make
//! the network, start [`container`], attach it with [`attachment`], then `Substrate::connect`.

use crate::admin::{AdminClient, AdminToken};
use crate::backend::Backend;
use crate::docker::{Attachment, ContainerSpec, Docker, DockerError, Mount, Observed, Published};
use crate::docker::{container as containers, network, volume};
use crate::labels;
use crate::machine::metadata::{NoRandomness, generated_password};
use crate::machine::state::State;
use crate::names::SubstrateName;
use crate::owner::Owner;
use crate::s3;

use super::SubstrateError;

/// The admin API's port in the container.
pub const ADMIN_PORT: u16 = 8080;
/// How the process learns the token that the host will prove itself with. Whoever may read a
/// container's environment through Docker may do anything to it anyway.
pub const TOKEN_ENV: &str = "BEYOND_ADMIN_TOKEN";
/// Where it keeps its documents; the image gives this folder to the user below.
pub const STATE_PATH: &str = "/var/lib/fake-substrate";
/// Whom it runs as: port 80 needs no privilege in a container of its own.
const USER: &str = "1000:1000";

/// A token for a new service.
pub fn new_token() -> Result<AdminToken, NoRandomness> {
    AdminToken::new(generated_password()?).map_err(|_unusable| NoRandomness)
}

/// The container, on no network of ours yet.
pub fn container(
    substrate: &SubstrateName,
    image: &str,
    token: &AdminToken,
    owner: Option<&Owner>,
) -> ContainerSpec {
    ContainerSpec {
        name: substrate.container(),
        image: image.to_owned(),
        hostname: "substrate".to_owned(),
        command: vec![
            "serve".to_owned(),
            "--state-dir".to_owned(),
            STATE_PATH.to_owned(),
        ],
        env: vec![(TOKEN_ENV.to_owned(), token.expose().to_owned())],
        labels: labels::of_substrate(substrate, owner),
        user: Some(USER.to_owned()),
        read_only_root: true,
        mounts: vec![Mount {
            volume: substrate.state_volume(),
            target: STATE_PATH.to_owned(),
            // The folder's owner comes with the copy; a blank volume would be root's.
            blank: false,
        }],
        published: [ADMIN_PORT, s3::PORT, s3::TLS_PORT]
            .map(|container| Published {
                container,
                host: None,
            })
            .into(),
        stop_timeout: std::time::Duration::from_secs(10),
        ..Default::default()
    }
}

/// How the container becomes 169.254.169.254. On one network only: a second interface with the
/// same range would never answer (substrate.md A).
pub fn attachment(substrate: &SubstrateName) -> Attachment {
    Attachment {
        network: substrate.network(),
        link_local: wire::ports::METADATA_ADDR,
        aliases: Vec::new(),
    }
}

/// Looks for the service by label: a test harness may have chosen its name.
pub(super) async fn find(
    docker: &Docker,
    substrate: &SubstrateName,
) -> Result<Option<Observed>, DockerError> {
    let labels = super::labelled_as(substrate, labels::Role::Substrate);
    Ok(containers::labelled(docker, &labels)
        .await?
        .into_iter()
        .next())
}

/// The way to its admin API. The port is Docker's choice and changes with each start.
pub(super) fn admin(
    service: &Observed,
    substrate: &SubstrateName,
) -> Result<AdminClient, SubstrateError> {
    let port = service.open_ports.get(&ADMIN_PORT);
    let (State::Running, Some(port)) = (service.state, port) else {
        return Err(SubstrateError::NotRunning(substrate.clone()));
    };
    let token = service
        .env
        .get(TOKEN_ENV)
        .ok_or_else(|| DockerError::NotOurs {
            container: service.name.clone(),
            missing: "it has no admin token in its environment",
        })?;
    Ok(AdminClient::new(
        format!("http://127.0.0.1:{port}"),
        AdminToken::new(token)?,
    )?)
}

/// Network, state volume and a running service, each made only when missing. Under the lock.
pub(super) async fn ensure(
    docker: &Docker,
    substrate: &SubstrateName,
    image_id: &str,
    backend: Backend,
    owner: Option<&Owner>,
) -> Result<(), SubstrateError> {
    let mut labels = labels::of_substrate(substrate, owner);
    let network = network::ensure(docker, &substrate.network(), labels.clone()).await?;
    labels.insert(labels::BACKEND.to_owned(), backend.to_string());
    volume::ensure(docker, &substrate.state_volume(), labels).await?;

    let mut service = find(docker, substrate).await?;
    if let Some(stale) = service.take_if(|service| service.image_id != image_id) {
        containers::remove(docker, &stale.id).await?;
    }
    let (id, is_member) = match service {
        Some(service) => {
            let member = service
                .networks
                .get(&network.name)
                .is_some_and(|id| *id == network.id);
            (service.id, member)
        }
        None => {
            let spec = container(substrate, image_id, &new_token()?, owner);
            (containers::create(docker, &spec).await?, false)
        }
    };
    if !is_member {
        // A membership in a network of the same name that is gone would be in the way.
        network::detach(docker, &id, &network.name).await?;
        network::attach(docker, &id, &attachment(substrate)).await?;
    }
    containers::start(docker, &id).await?;
    Ok(())
}
