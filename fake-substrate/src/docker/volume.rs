//! Named volumes: a machine's disk, and what the substrate remembers.

use std::collections::HashMap;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder};

use super::error::Absent as _;
use super::{Docker, DockerError};
use crate::labels::Labels;

/// A volume that exists.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
}

/// Makes a volume, or finds the one of that name: its labels stay as they were made.
pub async fn ensure(docker: &Docker, name: &str, labels: Labels) -> Result<Volume, DockerError> {
    let request = VolumeCreateRequest {
        name: Some(name.to_owned()),
        labels: Some(labels),
        ..Default::default()
    };
    let volume = docker.create_volume(request).await;
    let volume = volume.map_err(DockerError::from_request(format!("create volume {name}")))?;
    Ok(Volume {
        name: volume.name,
        labels: volume.labels,
    })
}

/// Looks for it.
pub async fn find(docker: &Docker, name: &str) -> Result<Option<Volume>, DockerError> {
    let found = docker.inspect_volume(name).await;
    let found = found.map_err(DockerError::from_request(format!("inspect volume {name}")));
    let found = found.absent_is_none()?;
    Ok(found.map(|volume| Volume {
        name: volume.name,
        labels: volume.labels,
    }))
}

/// Removes it with everything on it; one that does not exist is fine.
pub async fn remove(docker: &Docker, name: &str) -> Result<(), DockerError> {
    let options = RemoveVolumeOptionsBuilder::new().force(false).build();
    let removed = docker.remove_volume(name, Some(options)).await;
    let removed = removed.map_err(DockerError::from_request(format!("remove volume {name}")));
    removed.absent_is_none().map(|_| ())
}

/// Every volume that carries all of `labels`.
pub async fn labelled(docker: &Docker, labels: &[String]) -> Result<Vec<Volume>, DockerError> {
    let filters = HashMap::from([("label".to_owned(), labels.to_vec())]);
    let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
    let listed = docker.list_volumes(Some(options)).await;
    let listed = listed.map_err(DockerError::from_request("list volumes"))?;
    let volumes = listed.volumes.unwrap_or_default().into_iter();
    let mut volumes: Vec<_> = volumes
        .map(|volume| Volume {
            name: volume.name,
            labels: volume.labels,
        })
        .collect();
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(volumes)
}
