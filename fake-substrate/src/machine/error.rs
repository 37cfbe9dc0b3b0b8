//! What can go wrong with one machine, told with the end of its own output.

use crate::admin::AdminError;
use crate::docker::DockerError;
use crate::fault::FaultError;
use crate::hosts::HostError;
use crate::lock::LockError;
use crate::machine::last_lines::LastLines;
use crate::machine::state::{State, Verb};
use crate::names::{MachineName, SubstrateName};
use crate::until::OutOfTime;

/// Something could not be done to a machine.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// There is no such machine.
    #[error(
        "substrate {substrate} has no machine {name}\nHINT: `fake-substrate status` lists them; `fake-substrate add {name}` makes one"
    )]
    Absent {
        /// Where it was looked for.
        substrate: SubstrateName,
        /// What was looked for.
        name: MachineName,
    },
    /// It makes no sense in the state that the machine is in.
    #[error("cannot {verb} machine {name}: it is {state}\nHINT: {} {name}", state.way_out(*verb))]
    Refused {
        /// Which machine.
        name: MachineName,
        /// What was asked.
        verb: Verb,
        /// What it is doing.
        state: State,
    },
    /// Its volume is a folder.
    #[error(
        "cannot {tried} machine {name}: its volume is a folder of Docker's, which has no power to lose and no host\nHINT: a machine made with --volumes block can"
    )]
    NoDisk {
        /// Which machine.
        name: MachineName,
        /// What was asked.
        tried: &'static str,
    },
    /// It did not come up.
    #[error(transparent)]
    NotReady(#[from] Box<NotReady>),
    /// Its metadata holds no password, so nobody can log in and "ready" cannot be seen.
    #[error(
        "the metadata of machine {0} has no POSTGRES_PASSWORD, so nobody can log in\nHINT: give it one with --password-file"
    )]
    NoPassword(MachineName),
    /// A file of the platform's agent could not be put into it.
    #[error("cannot put {file} into machine {name}: {why}\nHINT: is its /run full, or read-only?")]
    NotDelivered {
        /// Which machine.
        name: MachineName,
        /// Which file.
        file: &'static str,
        /// What the machine's shell said.
        why: String,
    },
    /// The host of its volume failed, or said no.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It runs, and what is broken about it is not.
    #[error(transparent)]
    Fault(#[from] Box<FaultError>),
    /// Docker failed.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The substrate's own process failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Another process holds the substrate.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The step that must not be cut in half was.
    #[error("making machine {0} anew was cut short\nHINT: `fake-substrate up` completes it")]
    CutShort(MachineName),
}

impl MachineError {
    /// Whether it failed because somebody else has the port that it is to be published on.
    pub fn is_port_taken(&self) -> bool {
        matches!(self, Self::Docker(DockerError::PortTaken { .. }))
    }
}

/// A machine that did not come up, with what it said last.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// PID 1 ended.
    #[error(
        "machine {name} ended while it booted: {state}{last_lines}\nHINT: all of its output: fake-substrate logs {name}"
    )]
    Ended {
        /// Which machine.
        name: MachineName,
        /// How it ended.
        state: State,
        /// What it said last.
        last_lines: LastLines,
    },
    /// Nobody got in.
    #[error(
        "machine {name} did not let a client in, {waited}{last_lines}\nHINT: it still runs: follow it with fake-substrate logs -f {name}"
    )]
    OutOfTime {
        /// Which machine.
        name: MachineName,
        /// How long was waited, and what the last try said.
        waited: OutOfTime,
        /// What it said last.
        last_lines: LastLines,
    },
}
