//! The network of one substrate (substrate.md A, option 1).
//!
//! An ordinary bridge on which every member has an address of 169.254.0.0/16 of its own beside the
//! one that Docker gives. Not `--internal`: the rules that Docker makes for that drop link-local
//! packets. Without masquerading instead, so that a packet to 169.254.169.254 that no substrate
//! answers cannot leave with the host's address and reach a cloud's own metadata service.

use std::collections::HashMap;

use bollard::models::{NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};

use super::error::Absent as _;
use super::{Attachment, Docker, DockerError};
use crate::labels::Labels;

const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";

/// A network that exists.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its id: another network may have the same name after this one is gone.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
}

/// Makes the network, or finds the one of that name.
///
/// Docker lets two networks have one name; whoever calls this holds the substrate's lock.
pub async fn ensure(docker: &Docker, name: &str, labels: Labels) -> Result<Network, DockerError> {
    if let Some(found) = find(docker, name).await? {
        return Ok(found);
    }
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        options: Some(HashMap::from([(MASQUERADE.to_owned(), "false".to_owned())])),
        labels: Some(labels.clone()),
        ..Default::default()
    };
    let made = docker.create_network(request).await;
    let made = made.map_err(DockerError::from_request(format!("create network {name}")))?;
    Ok(Network {
        id: made.id,
        name: name.to_owned(),
        labels,
    })
}

/// Looks for it.
pub async fn find(docker: &Docker, name: &str) -> Result<Option<Network>, DockerError> {
    let found = docker
        .inspect_network(name, None::<InspectNetworkOptions>)
        .await;
    let found = found.map_err(DockerError::from_request(format!("inspect network {name}")));
    let found = found.absent_is_none()?;
    Ok(found.map(|network| Network {
        id: network.id.unwrap_or_default(),
        name: name.to_owned(),
        labels: network.labels.unwrap_or_default(),
    }))
}

/// Makes a container a member, with the link-local address that it asks for.
///
/// On a running container Docker publishes its ports anew: ask for them afterwards.
pub async fn attach(
    docker: &Docker,
    container: &str,
    attachment: &Attachment,
) -> Result<(), DockerError> {
    let request = NetworkConnectRequest {
        container: container.to_owned(),
        endpoint_config: Some(attachment.endpoint()),
    };
    let attached = docker.connect_network(&attachment.network, request).await;
    attached.map_err(DockerError::from_request(format!(
        "attach container {container} to network {} as {}",
        attachment.network, attachment.link_local
    )))
}

/// Ends a membership; a container that is no member is fine.
pub async fn detach(docker: &Docker, container: &str, network: &str) -> Result<(), DockerError> {
    let request = NetworkDisconnectRequest {
        container: container.to_owned(),
        force: Some(true),
    };
    let detached = docker.disconnect_network(network, request).await;
    let detached = detached.map_err(DockerError::from_request(format!(
        "detach container {container} from network {network}"
    )));
    match detached.absent_is_none() {
        Err(error) if error.is_not_member() => Ok(()),
        detached => detached.map(|_| ()),
    }
}

/// Removes it; one that does not exist is fine.
pub async fn remove(docker: &Docker, name: &str) -> Result<(), DockerError> {
    let removed = docker.remove_network(name).await;
    let removed = removed.map_err(DockerError::from_request(format!("remove network {name}")));
    removed.absent_is_none().map(|_| ())
}

/// Every network that carries all of `labels`.
pub async fn labelled(docker: &Docker, labels: &[String]) -> Result<Vec<Network>, DockerError> {
    let filters = HashMap::from([("label".to_owned(), labels.to_vec())]);
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let listed = docker.list_networks(Some(options)).await;
    let listed = listed.map_err(DockerError::from_request("list networks"))?;
    let mut networks: Vec<_> = listed
        .into_iter()
        .map(|network| Network {
            id: network.id.unwrap_or_default(),
            name: network.name.unwrap_or_default(),
            labels: network.labels.unwrap_or_default(),
        })
        .collect();
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(networks)
}
