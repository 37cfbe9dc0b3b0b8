//! Docker labels: how a substrate is found again, since nothing is written down anywhere else.

use std::collections::HashMap;

use crate::names::{HostName, MachineName, SubstrateName};
use crate::owner::Owner;

/// On every container, network and volume: which substrate it belongs to.
pub const SUBSTRATE: &str = "dev.beyond.substrate";
/// On every one: what it is there for, see [`Role`].
pub const ROLE: &str = "dev.beyond.role";
/// On a machine's container and volume: which machine.
pub const MACHINE: &str = "dev.beyond.machine";
/// On a machine's container: its link-local address. Docker forgets it while a container is stopped.
pub const LINK_LOCAL: &str = "dev.beyond.link-local";
/// On a volume: the identity of the database on it, for as long as the volume lives.
pub const INSTANCE: &str = "dev.beyond.instance";
/// On a volume that began as a copy: the machine whose volume was copied.
pub const PARENT: &str = "dev.beyond.parent";
/// On the substrate's state volume and on a machine's volume: what machines' volumes are made of, see
/// [`crate::backend::Backend`]. Where it is missing, they are folders.
pub const BACKEND: &str = "dev.beyond.backend";
/// On a host's container and disk: which host. On a machine's container: the host of its volume.
pub const HOST: &str = "dev.beyond.host";
/// On the volume of a machine that lives for a while: until when, in milliseconds of the Unix epoch.
pub const EXPIRES: &str = "dev.beyond.expires-ms";
/// On what a test process made: that process, so that leftovers of a killed run can be told apart.
pub const OWNER: &str = "dev.beyond.owner";

/// What a labelled object is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The metadata service, its network and its state.
    Substrate,
    /// A machine, or its volume.
    Machine,
    /// What copies a volume, and is gone when it has.
    Copier,
    /// A host of block volumes: its block store, or that one's disk.
    Host,
    /// What carries out a fault in a machine's network or volume, and is gone when it has.
    Saboteur,
}

impl Role {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Substrate => "substrate",
            Self::Machine => "machine",
            Self::Copier => "copier",
            Self::Host => "host",
            Self::Saboteur => "saboteur",
        }
    }
}

/// Labels as Docker takes them.
pub type Labels = HashMap<String, String>;

/// The labels of the substrate's own network, container and state volume.
pub fn of_substrate(substrate: &SubstrateName, owner: Option<&Owner>) -> Labels {
    common(substrate, Role::Substrate, owner)
}

/// The labels that a machine's container and its volume share.
pub fn of_machine(
    substrate: &SubstrateName,
    machine: &MachineName,
    owner: Option<&Owner>,
) -> Labels {
    let mut labels = common(substrate, Role::Machine, owner);
    labels.insert(MACHINE.to_owned(), machine.to_string());
    labels
}

/// The labels of a container that copies a volume.
pub fn of_copier(substrate: &SubstrateName, owner: Option<&Owner>) -> Labels {
    common(substrate, Role::Copier, owner)
}

/// The labels that a host's container and its disk share.
pub fn of_host(substrate: &SubstrateName, host: &HostName, owner: Option<&Owner>) -> Labels {
    let mut labels = common(substrate, Role::Host, owner);
    labels.insert(HOST.to_owned(), host.to_string());
    labels
}

/// The labels of a container that carries out a fault.
pub fn of_saboteur(substrate: &SubstrateName, owner: Option<&Owner>) -> Labels {
    common(substrate, Role::Saboteur, owner)
}

fn common(substrate: &SubstrateName, role: Role, owner: Option<&Owner>) -> Labels {
    let mut labels = Labels::from([
        (SUBSTRATE.to_owned(), substrate.to_string()),
        (ROLE.to_owned(), role.as_str().to_owned()),
    ]);
    if let Some(owner) = owner {
        labels.insert(OWNER.to_owned(), owner.to_string());
    }
    labels
}

/// `key=value`, as Docker's label filters want it.
pub fn is(key: &str, value: &str) -> String {
    format!("{key}={value}")
}
