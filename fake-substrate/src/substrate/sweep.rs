//! Removing what killed test runs left behind.

use crate::docker::{Docker, DockerError, container, network, volume};
use crate::labels::{self, Labels};
use crate::owner::Owner;

/// How much was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Containers.
    pub containers: usize,
    /// Networks.
    pub networks: usize,
    /// Volumes.
    pub volumes: usize,
}

/// Removes everything whose owner was a process of this host that is gone. What carries no owner,
/// as everything that `up` makes, is never touched.
pub async fn sweep(docker: &Docker) -> Result<Swept, DockerError> {
    let owned = [labels::OWNER.to_owned()];
    let mut swept = Swept::default();
    let mut containers = container::labelled(docker, &owned).await?;
    // Before the object storage: a kernel that reads from a disk whose blocks are there would wait for it.
    containers.sort_by_key(|container| !is_host(&container.labels));
    for container in containers {
        if is_orphaned(&container.labels) {
            container::remove(docker, &container.id).await?;
            swept.containers += 1;
        }
    }
    for network in network::labelled(docker, &owned).await? {
        if is_orphaned(&network.labels) {
            network::remove(docker, &network.id).await?;
            swept.networks += 1;
        }
    }
    for volume in volume::labelled(docker, &owned).await? {
        if is_orphaned(&volume.labels) {
            volume::remove(docker, &volume.name).await?;
            swept.volumes += 1;
        }
    }
    Ok(swept)
}

fn is_host(labels: &Labels) -> bool {
    labels
        .get(labels::ROLE)
        .is_some_and(|role| role == labels::Role::Host.as_str())
}

/// An owner that cannot be read says nothing, so it is left alone.
fn is_orphaned(labels: &Labels) -> bool {
    let owner = labels
        .get(labels::OWNER)
        .and_then(|owner| owner.parse::<Owner>().ok());
    owner.is_some_and(|owner| owner.is_gone())
}

#[cfg(test)]
mod tests {
    use super::is_orphaned;
    use crate::labels::{self, Labels};
    use crate::owner::Owner;

    #[test]
    fn only_what_a_dead_process_of_this_host_made_is_swept() {
        let owned_by = |owner: &str| Labels::from([(labels::OWNER.to_owned(), owner.to_owned())]);
        let me = Owner::current().to_string();
        let host = me.split('/').next().unwrap();
        assert!(is_orphaned(&owned_by(&format!("{host}/2147483646/1"))));
        assert!(!is_orphaned(&owned_by(&me)));
        assert!(!is_orphaned(&owned_by("elsewhere/2147483646/1")));
        assert!(!is_orphaned(&owned_by("garbage")));
        assert!(!is_orphaned(&Labels::new()), "what `up` made has no owner");
    }
}
