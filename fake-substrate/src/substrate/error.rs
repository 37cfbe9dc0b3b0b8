//! What can go wrong with a substrate, and what to do about it.

use crate::admin::AdminError;
use crate::docker::DockerError;
use crate::fault::FaultError;
use crate::hosts::HostError;
use crate::link_local::Exhausted;
use crate::lock::LockError;
use crate::machine::MachineError;
use crate::machine::metadata::NoRandomness;
use crate::names::{MachineName, SubstrateName};
use crate::ports::PortError;
use crate::s3::client::ClientError;
use crate::until::OutOfTime;
use crate::volume::copy::CopyError;

/// Something could not be done to a substrate.
#[derive(Debug, thiserror::Error)]
pub enum SubstrateError {
    /// There is none of that name.
    #[error("there is no substrate {0}\nHINT: `fake-substrate up` makes one")]
    Absent(SubstrateName),
    /// Its service does not run.
    #[error(
        "substrate {0} is not running\nHINT: `fake-substrate up` starts it again, its machines stay as they are"
    )]
    NotRunning(SubstrateName),
    /// Its service runs and does not answer.
    #[error(transparent)]
    NotHealthy(#[from] Box<NotHealthy>),
    /// A machine of that name exists already.
    #[error(
        "substrate {substrate} has a machine {name} already\nHINT: choose another name, or `fake-substrate up --name {name}` to change it"
    )]
    MachineExists {
        /// Where.
        substrate: SubstrateName,
        /// Which.
        name: MachineName,
    },
    /// A step that must not be cut in half was.
    #[error("a change of substrate {0} was cut short\nHINT: `fake-substrate up` completes it")]
    CutShort(SubstrateName),
    /// A machine that was asked to prepare for a fork said no.
    #[error("{parent} was not forked: it is not prepared\n{why}")]
    NotPrepared {
        /// Which.
        parent: MachineName,
        /// In its words.
        why: String,
    },
    /// A machine that was to be forked did not get so far as to be asked.
    #[error(
        "{parent} was not forked: clients have to get in before, {waited}\nHINT: follow it with `fake-substrate logs -f {parent}`; a machine that is off can be forked as well"
    )]
    NotReady {
        /// Which.
        parent: MachineName,
        /// How long was waited, and how it was at last.
        waited: OutOfTime,
    },
    /// There is a volume of that name, of a machine that was taken away.
    #[error(
        "a volume of a machine {0} is kept from before\nHINT: fork to another name; `fake-substrate add {0}` takes that volume up again"
    )]
    VolumeKept(MachineName),
    /// A volume that a killed process had not copied whole.
    #[error(
        "the volume of machine {name} is a half-made copy of {parent}'s\nHINT: `fake-substrate fork {parent} {name}` makes it anew"
    )]
    HalfVolume {
        /// Whose.
        name: MachineName,
        /// Of which.
        parent: String,
    },
    /// A volume that was lost with its host, and that object storage never got.
    #[error(
        "the volume of machine {name} is gone: it was lost with its host, and object storage has nothing of it, {}\nHINT: this machine does not come back; `fake-substrate add` makes one under another name",
        if *.ephemeral { "since it is ephemeral (B-009)" } else { "since it was never flushed" }
    )]
    Gone {
        /// Whose.
        name: MachineName,
        /// Whether that was its promise.
        ephemeral: bool,
    },
    /// A volume that there is, asked to be of the other kind.
    #[error(
        "the volume of machine {name} is {} and stays so: it was made for that promise\nHINT: `fake-substrate fork {name} NEW{}` makes a copy that is {}; or `fake-substrate remove {name} --volume`, and begin anew",
        if *.ephemeral { "ephemeral" } else { "durable" },
        if *.ephemeral { "" } else { " --ephemeral" },
        if *.ephemeral { "durable" } else { "ephemeral" }
    )]
    OtherDurability {
        /// Whose.
        name: MachineName,
        /// What it is.
        ephemeral: bool,
    },
    /// A machine that was taken away before, and left its volume.
    #[error(
        "machine {0} was taken away already; its volume is kept\nHINT: `fake-substrate remove {0} --volume` takes that away as well, `fake-substrate add {0}` takes it up again"
    )]
    VolumeOnly(MachineName),
    /// A host failed, or said no.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A volume could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A client of the object storage could not be made.
    #[error(transparent)]
    S3(#[from] ClientError),
    /// No address is left.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// No port to publish a machine on.
    #[error(transparent)]
    Port(#[from] PortError),
    /// No secret could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// A fault could not be carried out or healed.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// A machine failed.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Docker failed.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The substrate's own process failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The lock failed.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// A service that runs and does not answer.
#[derive(Debug, thiserror::Error)]
#[error(
    "the service of substrate {name} did not answer, {waited}; its last lines:\n    {}\nHINT: all of its output: docker logs {container}",
    last_lines.join("\n    ")
)]
pub struct NotHealthy {
    pub(super) name: SubstrateName,
    pub(super) container: String,
    pub(super) waited: OutOfTime,
    pub(super) last_lines: Vec<String>,
}
