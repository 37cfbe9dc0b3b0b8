//! One thing that Docker has for us, and why. Read off its labels.

use std::fmt;

use crate::labels::{self, Labels, Role};
use crate::names::SubstrateName;
use crate::owner::Owner;

/// What sort of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A network.
    Network,
    /// A container.
    Container,
    /// A volume.
    Volume,
}

/// Something of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Of which substrate.
    pub substrate: SubstrateName,
    /// What sort of thing.
    pub kind: Kind,
    /// As Docker calls it.
    pub name: String,
    /// What a container is doing.
    pub state: Option<String>,
    /// What it is there for.
    pub purpose: Purpose,
    /// Whoever made it is gone, and it should have gone with them.
    pub orphaned: bool,
}

/// Why something is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Metadata, links, object storage and faults; its network, its memory.
    Service,
    /// A machine.
    Machine {
        /// Which.
        name: String,
        /// Where its disk is; `None` is a folder.
        host: Option<String>,
    },
    /// A machine's volume, or what stands for it.
    Volume {
        /// Whose.
        machine: String,
        /// Whose copy it began as.
        parent: Option<String>,
        /// Whether a host's block store has it.
        block: bool,
    },
    /// A host of block volumes.
    Host {
        /// Which.
        name: String,
    },
    /// Copies a volume.
    Copier,
    /// Something that a test or a person has added.
    Other(String),
}

impl Piece {
    /// Reads the labels; `None` for what is of no substrate.
    pub(super) fn of(
        kind: Kind,
        name: &str,
        state: Option<String>,
        labels: &Labels,
    ) -> Option<Self> {
        let owner = labels
            .get(labels::OWNER)
            .and_then(|owner| owner.parse::<Owner>().ok());
        Some(Self {
            substrate: labels.get(labels::SUBSTRATE)?.parse().ok()?,
            kind,
            name: name.to_owned(),
            state,
            purpose: purpose(kind, labels),
            orphaned: owner.is_some_and(|owner| owner.is_gone()),
        })
    }

    /// What it may do beyond an ordinary container.
    pub fn privileges(&self) -> &'static str {
        match (self.kind, &self.purpose) {
            (Kind::Container, Purpose::Host { .. }) => {
                "SYS_ADMIN, MKNOD, /dev/fuse, loop devices: makes disks"
            }
            (Kind::Container, Purpose::Machine { host: Some(_), .. }) => {
                "SYS_ADMIN: PID 1 mounts its disk"
            }
            _ => "none",
        }
    }
}

fn purpose(kind: Kind, labels: &Labels) -> Purpose {
    let text = |label: &str| labels.get(label).cloned();
    let role = text(labels::ROLE).unwrap_or_default();
    let is = |wanted: Role| role == wanted.as_str();
    if is(Role::Substrate) {
        Purpose::Service
    } else if is(Role::Host) {
        Purpose::Host {
            name: text(labels::HOST).unwrap_or_default(),
        }
    } else if is(Role::Copier) {
        Purpose::Copier
    } else if is(Role::Machine) && kind == Kind::Volume {
        Purpose::Volume {
            machine: text(labels::MACHINE).unwrap_or_default(),
            parent: text(labels::PARENT),
            block: crate::backend::Backend::of(labels) == crate::backend::Backend::Block,
        }
    } else if is(Role::Machine) {
        Purpose::Machine {
            name: text(labels::MACHINE).unwrap_or_default(),
            host: text(labels::HOST),
        }
    } else {
        Purpose::Other(role)
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.purpose, self.kind) {
            (Purpose::Service, Kind::Network) => {
                f.write_str("where 169.254.169.254 is this substrate's and nobody else's")
            }
            (Purpose::Service, Kind::Container) => {
                f.write_str("metadata, links, object storage, faults")
            }
            (Purpose::Service, Kind::Volume) => f.write_str("what the service remembers"),
            (Purpose::Machine { name, host: None }, _) => write!(f, "machine {name}, on a folder"),
            (
                Purpose::Machine {
                    name,
                    host: Some(host),
                },
                _,
            ) => write!(f, "machine {name}, on a disk of {host}"),
            (
                Purpose::Volume {
                    machine,
                    parent,
                    block,
                },
                _,
            ) => {
                let holds = if *block {
                    "stands for the disk"
                } else {
                    "the volume"
                };
                write!(f, "{holds} of {machine}")?;
                match parent {
                    Some(parent) => write!(f, ", a fork of {parent}"),
                    None => Ok(()),
                }
            }
            (Purpose::Host { name }, Kind::Volume) => write!(f, "{name}'s own disk: lost with it"),
            (Purpose::Host { name }, _) => write!(f, "block store of {name}"),
            (Purpose::Copier, _) => f.write_str("copies a volume"),
            (Purpose::Other(role), _) => f.write_str(role),
        }
    }
}
