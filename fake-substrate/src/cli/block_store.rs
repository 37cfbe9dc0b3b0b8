//! `block-store`: the process in the one privileged container of a substrate.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use clap::Args;

use fake_substrate::admin::AdminToken;
use fake_substrate::substrate::service;
use fake_substrate::volume::daemon::{self, BlockStoreOptions};

use super::{CliError, serve, terminal};

#[derive(Args)]
pub(crate) struct BlockStore {
    /// The host's own disk: arena and journal
    #[arg(long)]
    state_dir: PathBuf,
    /// Object storage: a folder that several hosts may share
    #[arg(long)]
    objects_dir: PathBuf,
    /// Where volumes are mounted as files, for loop devices; without it there are no disks
    #[arg(long)]
    mount_dir: Option<PathBuf>,
    /// A unix socket for machines with a kernel of their own
    #[arg(long)]
    nbd_socket: Option<PathBuf>,
    /// Where the host controls it
    #[arg(long, default_value_t = service::ADMIN_PORT)]
    control_port: u16,
    /// What the host proves itself with; from the environment, since every process may read
    /// another's arguments
    #[arg(long, env = service::TOKEN_ENV, hide_env_values = true)]
    admin_token: String,
}

/// The token is no debug output.
impl std::fmt::Debug for BlockStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockStore")
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}

impl BlockStore {
    pub(super) async fn run(self) -> Result<(), CliError> {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .init();
        let nbd_listener = self.nbd_socket.map(|path| {
            // The socket of an earlier process; a folder or a file is somebody's and stays.
            let stale = std::os::unix::net::UnixStream::connect(&path)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
            if stale {
                std::fs::remove_file(&path).map_err(|source| CliError::Socket {
                    path: path.clone(),
                    source,
                })?;
            }
            UnixListener::bind(&path).map_err(|source| CliError::Socket { path, source })
        });
        let options = BlockStoreOptions {
            state_dir: self.state_dir,
            objects_dir: self.objects_dir,
            mount_dir: self.mount_dir,
            nbd_listener: nbd_listener.transpose()?,
            control: serve::listen(self.control_port).await?,
            token: AdminToken::new(self.admin_token)?,
        };
        Ok(daemon::run(options, terminal::interrupted()).await?)
    }
}
