//! What a container shall be, as plain data: made by pure code, turned into one request here.
//!
//! The fields are public because the scenarios start the substrate's container through
//! testcontainers and want to say the same things.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointIpamConfig, EndpointSettings, HostConfig,
    HostConfigLogConfig, Mount as DockerMount, MountType, MountVolumeOptions, NetworkingConfig,
    PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use crate::labels::Labels;
use crate::machine::size::{Cpus, Memory};

/// The capability to mount file systems.
pub const SYS_ADMIN: &str = "SYS_ADMIN";

/// A container to be made.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    /// Its name, unique on this Docker.
    pub name: String,
    /// Reference or id of the image.
    pub image: String,
    /// The name it has for itself.
    pub hostname: String,
    /// In place of the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments for the entrypoint.
    pub command: Vec<String>,
    /// Environment; everybody who may use Docker can read it.
    pub env: Vec<(String, String)>,
    /// Labels.
    pub labels: Labels,
    /// In place of the image's user.
    pub user: Option<String>,
    /// Capabilities left after all were dropped.
    pub capabilities: Vec<String>,
    /// Whether the root file system can be written to.
    pub read_only_root: bool,
    /// How much of the host it gets; everything when absent.
    pub limits: Option<Limits>,
    /// Named volumes.
    pub mounts: Vec<Mount>,
    /// Paths in memory, empty at each start.
    pub tmpfs: Vec<String>,
    /// Devices of the host: there, and here.
    pub devices: Vec<(String, String)>,
    /// Devices that may be made and used here without being given by name, as the kernel's device
    /// cgroup writes them.
    pub device_rules: Vec<String>,
    /// Ports of the container published on 127.0.0.1.
    pub published: Vec<Published>,
    /// How long Docker waits after SIGTERM before SIGKILL, unless told otherwise.
    pub stop_timeout: Duration,
    /// The network it is on from its first instant; Docker's default bridge when absent.
    pub network: Option<Attachment>,
    /// The container whose network namespace it shares, in place of a network.
    pub network_of: Option<String>,
}

/// How much of the host a container gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory; swap is not allowed on top.
    pub memory: Memory,
    /// Processors.
    pub cpus: Cpus,
    /// Size of /dev/shm in bytes.
    pub shared_memory: u64,
    /// Processes and threads.
    pub processes: i64,
}

/// A named volume and where it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The volume.
    pub volume: String,
    /// The path in the container.
    pub target: String,
    /// Empty at first, like a new disk; otherwise a new volume starts as a copy of what the image
    /// has at that path, owner included.
    pub blank: bool,
}

/// A port of the container, reachable on the host's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Inside.
    pub container: u16,
    /// Outside; Docker chooses at each start when absent.
    pub host: Option<u16>,
}

/// Membership of a substrate's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The network.
    pub network: String,
    /// The address on 169.254.0.0/16, beside the one that Docker gives.
    pub link_local: Ipv4Addr,
    /// Names by which the others find it.
    pub aliases: Vec<String>,
}

impl Attachment {
    pub(crate) fn endpoint(&self) -> EndpointSettings {
        EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                link_local_ips: Some(vec![self.link_local.to_string()]),
                ..Default::default()
            }),
            aliases: (!self.aliases.is_empty()).then(|| self.aliases.clone()),
            ..Default::default()
        }
    }
}

impl ContainerSpec {
    /// The request that makes it.
    pub(crate) fn body(&self) -> ContainerCreateBody {
        let env = self.env.iter().map(|(key, value)| format!("{key}={value}"));
        let ports = self
            .published
            .iter()
            .map(|port| format!("{}/tcp", port.container));
        ContainerCreateBody {
            hostname: Some(self.hostname.clone()),
            user: self.user.clone(),
            exposed_ports: Some(ports.collect()),
            env: Some(env.collect()),
            cmd: (!self.command.is_empty()).then(|| self.command.clone()),
            image: Some(self.image.clone()),
            entrypoint: self.entrypoint.clone(),
            labels: Some(self.labels.clone()),
            stop_timeout: i64::try_from(self.stop_timeout.as_secs()).ok(),
            host_config: Some(self.host_config()),
            networking_config: self.network.as_ref().map(|attachment| NetworkingConfig {
                endpoints_config: Some(HashMap::from([(
                    attachment.network.clone(),
                    attachment.endpoint(),
                )])),
            }),
            ..Default::default()
        }
    }

    /// Where AppArmor is in force, Docker's profile forbids every mount, whatever the capabilities say.
    fn security_options(&self) -> Vec<String> {
        let mounts = self.capabilities.iter().any(|name| name == SYS_ADMIN);
        let unconfined = mounts.then(|| "apparmor=unconfined".to_owned());
        std::iter::once("no-new-privileges".to_owned())
            .chain(unconfined)
            .collect()
    }

    fn host_config(&self) -> HostConfig {
        let mounts = self.mounts.iter().map(|mount| DockerMount {
            typ: Some(MountType::VOLUME),
            source: Some(mount.volume.clone()),
            target: Some(mount.target.clone()),
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(mount.blank),
                ..Default::default()
            }),
            ..Default::default()
        });
        let tmpfs = self
            .tmpfs
            .iter()
            .map(|path| (path.clone(), "mode=0755,size=64m".to_owned()));
        let devices = self.devices.iter().map(|(there, here)| DeviceMapping {
            path_on_host: Some(there.clone()),
            path_in_container: Some(here.clone()),
            cgroup_permissions: Some("rwm".to_owned()),
        });
        let memory = self.limits.map(|limits| signed(limits.memory.bytes()));
        HostConfig {
            network_mode: match (&self.network_of, &self.network) {
                (Some(container), _) => Some(format!("container:{container}")),
                (None, attached) => attached.as_ref().map(|on| on.network.clone()),
            },
            port_bindings: Some(self.published.iter().map(Published::binding).collect()),
            mounts: Some(mounts.collect()),
            tmpfs: Some(tmpfs.collect()),
            devices: Some(devices.collect()),
            device_cgroup_rules: Some(self.device_rules.clone()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(self.capabilities.clone()),
            security_opt: Some(self.security_options()),
            readonly_rootfs: Some(self.read_only_root),
            memory,
            // The same figure for both means no swap: a machine of its own has none either.
            memory_swap: memory,
            nano_cpus: self.limits.map(|limits| signed(limits.cpus.nanos())),
            shm_size: self.limits.map(|limits| signed(limits.shared_memory)),
            pids_limit: self.limits.map(|limits| limits.processes),
            // The platform decides when a machine starts; a daemon that comes back must not.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            // The daemon's default may keep logs elsewhere or for ever; `logs` reads them here.
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), "64m".to_owned()),
                    ("max-file".to_owned(), "2".to_owned()),
                ])),
            }),
            ..Default::default()
        }
    }
}

impl Published {
    fn binding(&self) -> (String, Option<Vec<PortBinding>>) {
        let host = PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(self.host.map(|port| port.to_string()).unwrap_or_default()),
        };
        (format!("{}/tcp", self.container), Some(vec![host]))
    }
}

/// Docker's API is signed where nothing can be negative.
pub(super) fn signed(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}
