//! A machine as it stands, and what shall be different about it. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::docker::{DockerError, Observed};
use crate::labels;
use crate::machine::disk::Disk;
use crate::machine::size::{Cpus, Memory};
use crate::machine::spec::{MachineSpec, Overrides};
use crate::machine::state::State;
use crate::names::{HostName, MachineName};
use crate::ports::Ports;

/// A machine as it stands.
#[derive(Debug, Clone)]
pub struct View {
    /// Which machine.
    pub name: MachineName,
    /// What it is doing.
    pub state: State,
    /// The reference or id of the image that it was made from.
    pub image: String,
    /// The id of that image.
    pub image_id: String,
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
}

/// What shall be different when a machine is made anew on its volume.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Another image: an image swap.
    pub image: Option<String>,
    /// Another size of memory.
    pub memory: Option<Memory>,
    /// Another number of processors.
    pub cpus: Option<Cpus>,
    /// Other ports on the host.
    pub ports: Option<Ports>,
    /// Another disk: the same volume at another device, or on another host.
    pub disk: Option<Disk>,
    /// How the next start differs from an ordinary one; an ordinary one unless given.
    pub overrides: Overrides,
}

impl View {
    /// Reads a machine off its container.
    ///
    /// `there` are the hosts that are: with any other, the volume of a machine is lost, and so is it.
    pub(crate) fn of(observed: Observed, there: &BTreeSet<HostName>) -> Result<Self, DockerError> {
        let container = observed.name.clone();
        let lacks = |missing| DockerError::NotOurs {
            container: container.clone(),
            missing,
        };
        let name = observed
            .labels
            .get(labels::MACHINE)
            .and_then(|name| name.parse().ok());
        let link_local = observed
            .labels
            .get(labels::LINK_LOCAL)
            .and_then(|address| address.parse().ok());
        let disk = Disk::of(&observed).map_err(lacks)?;
        let lost = disk.host().filter(|host| !there.contains(host)).is_some();
        let port = |container: u16| observed.wanted_ports.get(&container).copied();
        Ok(Self {
            name: name.ok_or_else(|| lacks("it has no usable machine name in its labels"))?,
            state: if lost { State::Lost } else { observed.state },
            image: observed.image,
            image_id: observed.image_id,
            memory: observed
                .memory
                .ok_or_else(|| lacks("it has no memory limit"))?,
            cpus: observed
                .cpus
                .ok_or_else(|| lacks("it has no processor limit"))?,
            ports: Ports {
                pooler: port(wire::ports::POOLER)
                    .ok_or_else(|| lacks("its pooler is not published"))?,
                direct: port(wire::ports::DIRECT)
                    .ok_or_else(|| lacks("its direct port is not published"))?,
            },
            link_local: link_local.ok_or_else(|| lacks("it has no link-local address"))?,
            disk,
        })
    }
}

impl Change {
    /// Whether it would make any difference to a machine that stands like this.
    pub fn matters_to(&self, view: &View) -> bool {
        self.differences(view).next().is_some()
    }

    /// What would be different, in words.
    pub fn differences<'a>(&'a self, view: &'a View) -> impl Iterator<Item = String> + 'a {
        let memory = self.memory.filter(|memory| *memory != view.memory);
        let cpus = self.cpus.filter(|cpus| *cpus != view.cpus);
        let ports = self.ports.filter(|ports| *ports != view.ports);
        let image = self.image.as_ref().filter(|image| **image != view.image_id);
        let words = [
            image.map(|_image| "another image".to_owned()),
            memory.map(|memory| format!("memory {} instead of {}", memory, view.memory)),
            cpus.map(|cpus| format!("cpus {} instead of {}", cpus, view.cpus)),
            ports.map(|ports| format!("port {} instead of {}", ports.pooler, view.ports.pooler)),
        ];
        words.into_iter().flatten()
    }

    pub(super) fn over(self, view: View) -> MachineSpec {
        MachineSpec {
            name: view.name,
            image: self.image.unwrap_or(view.image_id),
            memory: self.memory.unwrap_or(view.memory),
            cpus: self.cpus.unwrap_or(view.cpus),
            ports: self.ports.unwrap_or(view.ports),
            link_local: view.link_local,
            disk: self.disk.unwrap_or(view.disk),
            overrides: self.overrides,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, View};
    use crate::machine::disk::Disk;
    use crate::machine::size::Memory;
    use crate::machine::state::State;
    use crate::ports::Ports;

    fn view() -> View {
        View {
            name: "db".parse().unwrap(),
            state: State::Running,
            image: "beyond-postgres".to_owned(),
            image_id: "sha256:1".to_owned(),
            memory: "2g".parse().unwrap(),
            cpus: "2".parse().unwrap(),
            ports: Ports {
                pooler: 6000,
                direct: 6001,
            },
            link_local: [169, 254, 10, 7].into(),
            disk: Disk::Folder,
        }
    }

    #[test]
    fn asking_for_what_is_there_is_no_change() {
        let change = Change {
            image: Some("sha256:1".to_owned()),
            memory: Some(view().memory),
            cpus: Some(view().cpus),
            ports: Some(view().ports),
            ..Default::default()
        };
        assert!(!change.matters_to(&view()));
        assert!(!Change::default().matters_to(&view()));
    }

    #[test]
    fn a_change_is_told_in_words() {
        let change = Change {
            image: Some("sha256:2".to_owned()),
            memory: Some(Memory::LEAST),
            ..Default::default()
        };
        let words: Vec<_> = change.differences(&view()).collect();
        assert_eq!(words, ["another image", "memory 256m instead of 2g"]);
    }

    #[test]
    fn a_machine_made_anew_keeps_its_identity() {
        let change = Change {
            memory: Some(Memory::LEAST),
            ..Default::default()
        };
        let spec = change.over(view());
        assert_eq!(spec.memory, Memory::LEAST);
        assert_eq!(
            (spec.link_local, spec.ports),
            (view().link_local, view().ports)
        );
        assert_eq!(spec.image, "sha256:1");
    }
}
