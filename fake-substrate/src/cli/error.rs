//! Why a command failed.

use std::io;
use std::path::PathBuf;

use crate::admin::AdminError;
use crate::backend::Backend;
use crate::docker::DockerError;
use crate::doctor::LookError;
use crate::fault::FaultError;
use crate::hosts::HostError;
use crate::image::ImageError;
use crate::machine::size::Cpus;
use crate::machine::{MachineError, NotReady};
use crate::names::{InvalidName, MachineName};
use crate::page::PageError;
use crate::page::process::ProcessError;
use crate::ports::PortError;
use crate::serve::ServeError;
use crate::substrate::SubstrateError;
use crate::volume::daemon::BlockStoreError;

use super::rpc::RequestError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("no machine is of tier {0}\nHINT: the tiers are single, primary, replica and sink")]
    NoTier(String),
    #[error(
        "machine {0} has no archive to restore from\nHINT: set BEYOND_PG_ARCHIVE_TARGET; `fake-substrate rpc {0} backup` then takes a backup"
    )]
    NoArchive(MachineName),
    /// The machine stays, for its log. Its volume holds nothing that is not in the archive.
    #[error("{why}, and then take it away: fake-substrate remove {name} --volume")]
    NotRestored {
        name: MachineName,
        why: Box<NotReady>,
    },
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(
        "there is no machine {0} to hold the WAL\nHINT: make it first: fake-substrate add {0} --tier sink"
    )]
    NoSink(MachineName),
    #[error(
        "machine {0} is a database and holds nobody's WAL\nHINT: make another: fake-substrate add NAME --tier sink"
    )]
    NotASink(MachineName),
    #[error(
        "sink {0} holds another machine's WAL\nHINT: a sink is for one machine; make another: fake-substrate add NAME --tier sink"
    )]
    SinkTaken(MachineName),
    #[error(
        "there is no machine {0} to follow\nHINT: make it first: fake-substrate add {0} --tier primary"
    )]
    NoPrimary(MachineName),
    #[error(
        "machine {0} is no primary, so nobody can follow it\nHINT: make one: fake-substrate add NAME --tier primary"
    )]
    NotAPrimary(MachineName),
    #[error("--tier replica needs --of PRIMARY, and no other tier takes it")]
    OfWhom,
    #[error(
        "the replica follows, but commits of {primary} do not wait for it: {why}\nHINT: fake-substrate rpc {primary} set_sync_standbys names=…"
    )]
    NotJoined { primary: MachineName, why: String },
    #[error(
        "{asked} cpus are more than the {there} that Docker has\nHINT: choose at most --cpus {there}"
    )]
    TooManyCpus { asked: Cpus, there: u32 },
    #[error(
        "cannot read the password from {file}\nHINT: give a file that holds it on its first line, or - for standard input"
    )]
    PasswordFile { file: String, source: io::Error },
    #[error(
        "{file} holds no password on its first line\nHINT: leave --password-file out and one is generated"
    )]
    EmptyPassword { file: String },
    #[error(
        "machine {name} did not shut down in time and was killed: it is {state}\nHINT: see what it was waiting for: fake-substrate logs {name}"
    )]
    NotCleanly { name: MachineName, state: String },
    #[error(
        "the volume of machine {name} is kept from before and is {kept}, not {wanted}\nHINT: leave --volumes out, or choose another name"
    )]
    AnotherKind {
        name: MachineName,
        kept: Backend,
        wanted: Backend,
    },
    #[error(
        "machine {0} has a folder for a volume, which has neither a size nor a host\nHINT: --disk and --host are for --volumes block"
    )]
    NoDisk(MachineName),
    #[error("machine {0} is lost: the host of its volume is gone\nHINT: fake-substrate rehome {0}")]
    Lost(MachineName),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Doctor(#[from] LookError),
    #[error(
        "cannot read what the metadata service shall answer from {}\nHINT: give a file, or --text", file.display()
    )]
    Garbage { file: PathBuf, source: io::Error },
    #[error("interrupted; {0}")]
    Interrupted(String),
    #[error("cannot use this terminal")]
    Terminal(#[source] io::Error),
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    #[error(
        "cannot listen on port {port}\nHINT: is another process there, or another substrate in this container?"
    )]
    Listen { port: u16, source: io::Error },
    #[error("cannot listen on {}\nHINT: is another process there, or is the folder missing?", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Request(Box<RequestError>),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error(transparent)]
    PageProcess(#[from] ProcessError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    BlockStore(#[from] BlockStoreError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Substrate(#[from] SubstrateError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Fault(#[from] FaultError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Docker(#[from] DockerError),
}
impl From<RequestError> for CliError {
    fn from(error: RequestError) -> Self {
        Self::Request(Box::new(error))
    }
}
