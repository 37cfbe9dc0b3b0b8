//! The process in the substrate's container: metadata and the link for the machines, the admin API
//! for the host.
//!
//! Listeners and the end of the process are passed in, so that a test serves on a port of its
//! own and the command line decides what a signal means.

pub(crate) mod admin_api;
pub(crate) mod clock;
mod link_api;
mod machines;
mod registry;
mod state;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::admin::AdminToken;
use crate::link::{Host, Links};
use crate::mmds;
use crate::mmds::token::{NoEntropy, TokenKey};

pub(crate) use admin_api::chain;
use clock::Clock;
use machines::Machines;
pub use state::StateError;
use state::StateFile;

/// What the process serves, and where it remembers its machines.
#[derive(Debug)]
pub struct ServeOptions {
    /// For the guests: port 80 on every address, since 169.254.169.254 is attached to the
    /// container only after it has started.
    pub mmds_listener: TcpListener,
    /// For the guests' links: vsock port 52 of the host, over TCP.
    pub link_listener: TcpListener,
    /// For the host.
    pub admin_listener: TcpListener,
    /// A folder that outlives the container; the documents in it hold passwords.
    pub state_dir: PathBuf,
    /// What the host proves itself with.
    pub admin_token: AdminToken,
}

/// Why the process could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The machines it served before cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// No key for session tokens.
    #[error(
        "cannot make a key for MMDS session tokens\nHINT: the kernel gave no randomness; does the container block getrandom?"
    )]
    NoEntropy(#[from] NoEntropy),
    /// A listener broke while serving.
    #[error(
        "the {service} listener failed\nHINT: out of file descriptors? restart the substrate; its machines are remembered"
    )]
    Listener {
        /// Which one.
        service: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Serves until `shutdown` completes. Connections still open are dropped then: every change
/// that was answered is on disk, and a guest asks again.
pub async fn run(
    options: ServeOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let state = StateFile::open(options.state_dir.clone())?;
    let links = Arc::new(Links::new(Host::new(options.state_dir, clock::unix_ms)));
    let machines = Machines::new(state, TokenKey::generate()?, Arc::clone(&links))?;
    let machines = Arc::new(machines);
    let clock = Clock::start();

    let guests = Arc::clone(&machines);
    let respond: mmds::http::Respond =
        Arc::new(move |peer, head| guests.outcome(peer, head, clock.elapsed_ms()));
    let router = admin_api::router(machines, options.admin_token);

    tokio::select! {
        ended = mmds::http::serve(options.mmds_listener, respond) => match ended {
            Err(source) => Err(ServeError::Listener { service: "MMDS", source }),
        },
        ended = links.serve(options.link_listener) => match ended {
            Err(source) => Err(ServeError::Listener { service: "link", source }),
        },
        ended = axum::serve(options.admin_listener, router) => {
            ended.map_err(|source| ServeError::Listener { service: "admin", source })
        }
        () = shutdown => Ok(()),
    }
}
