//! From what somebody orders to the container that plays the machine. Pure.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::docker::{Attachment, ContainerSpec, Limits, Mount, Published, SYS_ADMIN};
use crate::labels::{self, Labels};
use crate::machine::disk::{Disk, VDB};
use crate::machine::size::{Cpus, Memory};
use crate::names::{MachineName, SubstrateName};
use crate::owner::Owner;
use crate::ports::Ports;

/// Where PID 1 finds the volume (contract 3).
const VOLUME_PATH: &str = "/var/lib/postgresql";

/// What PID 1 needs of root, and nothing else: give the fresh volume and its files to postgres
/// (CHOWN, FOWNER, DAC_OVERRIDE), become postgres (SETUID, SETGID), and signal what it started
/// as postgres (KILL). No SYS_RESOURCE, so the postmaster keeps the container's OOM score. A machine
/// whose volume is a disk has SYS_ADMIN as well, and nothing else for it: PID 1 mounts that disk itself,
/// as it does in production, and Linux knows no smaller right to do so. A folder is mounted from outside.
const CAPABILITIES: [&str; 6] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "SETGID",
    "SETUID",
];

/// PID 1 has 30 s to shut down (contract 8); Docker must not be the one that runs out first.
const STOP_TIMEOUT: Duration = Duration::from_secs(45);

/// `max_connections` stays below this on any machine that fits a laptop; a fork bomb does not.
const PROCESSES: i64 = 4096;

/// Everything that decides how a machine's container looks.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// Which machine.
    pub name: MachineName,
    /// Reference or id of the image it boots.
    pub image: String,
    /// Its memory.
    pub memory: Memory,
    /// Its processors.
    pub cpus: Cpus,
    /// Where the host finds it.
    pub ports: Ports,
    /// Who it is towards the metadata service.
    pub link_local: Ipv4Addr,
    /// What its volume is on.
    pub disk: Disk,
    /// How this start differs from the ordinary one.
    pub overrides: Overrides,
}

/// How a start differs from what the image says: for scenarios that cut a boot short. Not kept
/// when the machine is made anew, so that a fault does not outlive its purpose.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// In place of `/sbin/init`.
    pub entrypoint: Option<Vec<String>>,
    /// Environment of PID 1; settings do not belong here, they come from the metadata service.
    pub env: Vec<(String, String)>,
}

impl MachineSpec {
    /// The container that plays this machine.
    pub fn container(&self, substrate: &SubstrateName, owner: Option<&Owner>) -> ContainerSpec {
        let mut capabilities = CAPABILITIES.to_vec();
        let mut mounts = Vec::new();
        // As in a VM, nothing of the last run is there: no pid file, no socket.
        let mut tmpfs = vec!["/run".to_owned()];
        let mut devices = Vec::new();
        match &self.disk {
            Disk::Folder => mounts.push(Mount {
                volume: substrate.machine_volume(&self.name),
                target: VOLUME_PATH.to_owned(),
                blank: true,
            }),
            Disk::Block { device, .. } => {
                capabilities.push(SYS_ADMIN);
                devices.push((device.clone(), VDB.to_owned()));
                // The image declares a volume at this path. In its place, so that Docker makes none
                // that nobody knows, is a mount point that forgets: a machine that did not mount its
                // disk has nothing.
                tmpfs.push(VOLUME_PATH.to_owned());
            }
        }
        ContainerSpec {
            name: substrate.machine_container(&self.name),
            image: self.image.clone(),
            hostname: self.name.to_string(),
            entrypoint: self.overrides.entrypoint.clone(),
            command: Vec::new(),
            env: self.overrides.env.clone(),
            labels: self.labels(substrate, owner),
            user: None,
            capabilities: capabilities.into_iter().map(str::to_owned).collect(),
            read_only_root: false,
            limits: Some(Limits {
                memory: self.memory,
                cpus: self.cpus,
                shared_memory: shared_memory(self.memory),
                processes: PROCESSES,
            }),
            mounts,
            tmpfs,
            devices,
            device_rules: Vec::new(),
            published: vec![
                Published {
                    container: wire::ports::POOLER,
                    host: Some(self.ports.pooler),
                },
                Published {
                    container: wire::ports::DIRECT,
                    host: Some(self.ports.direct),
                },
            ],
            stop_timeout: STOP_TIMEOUT,
            network: Some(Attachment {
                network: substrate.network(),
                link_local: self.link_local,
                aliases: vec![self.name.to_string(), self.name.internal()],
            }),
            network_of: None,
        }
    }

    fn labels(&self, substrate: &SubstrateName, owner: Option<&Owner>) -> Labels {
        let mut labels = labels::of_machine(substrate, &self.name, owner);
        labels.insert(labels::LINK_LOCAL.to_owned(), self.link_local.to_string());
        if let Disk::Block { host, .. } = &self.disk {
            let backend = self.disk.backend().to_string();
            labels.insert(labels::BACKEND.to_owned(), backend);
            labels.insert(labels::HOST.to_owned(), host.to_string());
        }
        labels
    }
}

/// Parallel queries share memory through /dev/shm, where Docker's 64 MB end in "could not resize
/// shared memory segment". Half of memory is what Linux gives a machine of its own; it is charged
/// to the machine's memory only as far as it is used.
fn shared_memory(memory: Memory) -> u64 {
    memory.bytes() / 2
}

#[cfg(test)]
mod tests {
    use super::{MachineSpec, Overrides};
    use crate::docker::ContainerSpec;
    use crate::labels;
    use crate::machine::disk::Disk;
    use crate::machine::size::{Cpus, Memory};
    use crate::ports::Ports;

    fn container() -> ContainerSpec {
        container_with(Disk::Folder)
    }

    fn container_on_block() -> ContainerSpec {
        container_with(Disk::Block {
            host: "host-1".parse().unwrap(),
            device: "/dev/loop7".to_owned(),
        })
    }

    fn container_with(disk: Disk) -> ContainerSpec {
        let spec = MachineSpec {
            name: "db".parse().unwrap(),
            image: "beyond-postgres".to_owned(),
            memory: Memory::DEFAULT,
            cpus: Cpus::DEFAULT,
            ports: Ports {
                pooler: 6000,
                direct: 6001,
            },
            link_local: [169, 254, 10, 1].into(),
            disk,
            overrides: Overrides::default(),
        };
        spec.container(&"local".parse().unwrap(), None)
    }

    #[test]
    fn a_machine_is_told_nothing_through_its_environment() {
        let container = container();
        assert!(container.env.is_empty() && container.command.is_empty());
        assert!(container.entrypoint.is_none());
    }

    #[test]
    fn a_machine_can_do_no_more_than_pid_1_needs() {
        let container = container();
        assert!(
            !container
                .capabilities
                .iter()
                .any(|capability| capability.starts_with("SYS_"))
        );
        assert!(
            !container
                .capabilities
                .iter()
                .any(|capability| capability.starts_with("NET_"))
        );
    }

    #[test]
    fn a_machine_with_a_disk_may_mount_and_nothing_more() {
        let (folder, block) = (container().capabilities, container_on_block().capabilities);
        let more: Vec<_> = block.iter().filter(|name| !folder.contains(name)).collect();
        assert_eq!(more, ["SYS_ADMIN"]);
    }

    #[test]
    fn a_disk_is_vdb_and_leaves_no_volume_of_dockers_behind() {
        let block = container_on_block();
        let vdb = ("/dev/loop7".to_owned(), "/dev/vdb".to_owned());
        assert_eq!(block.devices, [vdb]);
        assert!(block.mounts.is_empty());
        assert!(block.tmpfs.contains(&"/var/lib/postgresql".to_owned()));
        assert_eq!(block.labels[labels::HOST], "host-1");
        assert!(container().devices.is_empty());
    }

    #[test]
    fn docker_waits_longer_than_pid_1_takes_to_shut_down() {
        assert!(container().stop_timeout.as_secs() > 30);
    }

    #[test]
    fn the_disk_starts_blank_and_outlives_the_container() {
        let mounts = container().mounts;
        assert_eq!(mounts.len(), 1);
        assert_eq!(
            (mounts[0].volume.as_str(), mounts[0].blank),
            ("beyond-local.db", true)
        );
    }

    #[test]
    fn both_doors_lead_to_their_own_port() {
        let published: Vec<_> = container()
            .published
            .iter()
            .map(|port| (port.container, port.host))
            .collect();
        assert_eq!(published, [(5432, Some(6000)), (5433, Some(6001))]);
    }
}
