//! The process in the substrate's container: metadata for the machines, the admin API for the
//! host.
//!
//! Listeners and the end of the process are passed in, so that a test serves on a port of its
//! own and the command line decides what a signal means.

use std::future::Future;
use std::path::PathBuf;

use tokio::net::TcpListener;

use crate::admin::AdminToken;

/// What the process serves, and where it remembers its machines.
#[derive(Debug)]
pub struct ServeOptions {
    /// For the guests: port 80 on every address, since 169.254.169.254 is attached to the
    /// container only after it has started.
    pub mmds_listener: TcpListener,
    /// For the host.
    pub admin_listener: TcpListener,
    /// A folder that outlives the container; the documents in it hold passwords.
    pub state_dir: PathBuf,
    /// What the host proves itself with.
    pub admin_token: AdminToken,
}

/// Why the process could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {}

/// Serves until `shutdown` completes.
pub async fn run(
    options: ServeOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let _ = options;
    shutdown.await;
    Ok(())
}
