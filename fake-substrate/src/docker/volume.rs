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

/// What a volume is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Medium {
    /// A folder on Docker's own disk, which all volumes share.
    #[default]
    Disk,
    /// So many bytes of memory and not one more: it can be filled without harm to anybody else, and
    /// without a privilege. What is on it is gone once no running container has it mounted, and it is
    /// charged to the memory of whoever writes to it.
    Memory(u64),
}

impl Medium {
    fn options(self) -> HashMap<String, String> {
        let option = |(key, value): (&str, String)| (key.to_owned(), value);
        match self {
            Self::Disk => HashMap::new(),
            Self::Memory(bytes) => [
                ("type", "tmpfs".to_owned()),
                ("device", "tmpfs".to_owned()),
                ("o", format!("size={bytes}")),
            ]
            .map(option)
            .into(),
        }
    }
}

/// Makes a volume, or finds the one of that name: its labels stay as they were made.
pub async fn ensure(docker: &Docker, name: &str, labels: Labels) -> Result<Volume, DockerError> {
    ensure_on(docker, name, Medium::Disk, labels).await
}

/// The same on another medium; a volume that exists stays on its own.
pub async fn ensure_on(
    docker: &Docker,
    name: &str,
    medium: Medium,
    labels: Labels,
) -> Result<Volume, DockerError> {
    let request = VolumeCreateRequest {
        name: Some(name.to_owned()),
        driver_opts: Some(medium.options()),
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

#[cfg(test)]
mod tests {
    use super::Medium;

    #[test]
    fn a_volume_in_memory_is_a_tmpfs_of_that_size_and_one_on_disk_is_as_docker_likes() {
        let options = Medium::Memory(400 << 20).options();
        assert_eq!(options["type"], "tmpfs");
        assert_eq!(options["o"], "size=419430400");
        assert!(Medium::Disk.options().is_empty());
    }
}
