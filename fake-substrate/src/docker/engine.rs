//! What Docker says of itself.

use super::{Docker, DockerError};

/// Docker itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engine {
    /// Its version.
    pub version: String,
    /// How it keeps images and containers.
    pub storage: String,
    /// `1` or `2`.
    pub cgroup: String,
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Its folder, on its own machine.
    pub root: String,
}

/// Asks it.
pub async fn describe(docker: &Docker) -> Result<Engine, DockerError> {
    let info = docker.info().await;
    let info = info.map_err(DockerError::from_request("ask what it is"))?;
    let cgroup = info.cgroup_version.map(|version| version.to_string());
    Ok(Engine {
        version: info.server_version.unwrap_or_default(),
        storage: info.driver.unwrap_or_default(),
        cgroup: cgroup.unwrap_or_default(),
        cpus: info
            .ncpu
            .and_then(|cpus| u32::try_from(cpus).ok())
            .unwrap_or_default(),
        memory: info
            .mem_total
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or_default(),
        root: info.docker_root_dir.unwrap_or_default(),
    })
}
