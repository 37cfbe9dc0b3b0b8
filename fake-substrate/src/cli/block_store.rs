//! `block-store`: the process in the one privileged container of a substrate.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use clap::Args;

use crate::admin::AdminToken;
use crate::s3::Keys;
use crate::substrate::{block_store, service};
use crate::volume::backing::s3::S3Location;
use crate::volume::daemon::{self, BlockStoreOptions, ObjectStorage};

use super::{CliError, serve, terminal};

#[derive(Args)]
pub(crate) struct BlockStore {
    /// What people call this host
    #[arg(long, default_value = "host")]
    host_name: String,
    /// The host's own disk: arena and journal
    #[arg(long)]
    state_dir: PathBuf,
    #[command(flatten)]
    objects: Objects,
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

/// One of the two.
#[derive(Args)]
struct Objects {
    /// Object storage: a folder that several hosts on one machine may share
    #[arg(
        long,
        required_unless_present = "s3_endpoint",
        conflicts_with = "s3_endpoint"
    )]
    objects_dir: Option<PathBuf>,
    /// Object storage: an S3, such as http://169.254.169.254:9000
    #[arg(long, value_name = "URL", requires_all = ["s3_bucket", "s3_prefix", "s3_access_key", "s3_secret_key"])]
    s3_endpoint: Option<String>,
    /// The bucket; made when it is missing
    #[arg(long, value_name = "NAME")]
    s3_bucket: Option<String>,
    /// In front of every key; hosts that share it can take over each other's volumes
    #[arg(long, value_name = "PREFIX")]
    s3_prefix: Option<String>,
    /// From the environment, as the token
    #[arg(long, hide = true, env = block_store::ACCESS_KEY_ENV, hide_env_values = true)]
    s3_access_key: Option<String>,
    /// From the environment, as the token
    #[arg(long, hide = true, env = block_store::SECRET_KEY_ENV, hide_env_values = true)]
    s3_secret_key: Option<String>,
}

impl Objects {
    /// clap has seen to it that one of the two is whole.
    fn location(self) -> ObjectStorage {
        match self.s3_endpoint {
            None => ObjectStorage::Folder(self.objects_dir.unwrap_or_default()),
            Some(endpoint) => ObjectStorage::S3(S3Location {
                endpoint,
                bucket: self.s3_bucket.unwrap_or_default(),
                prefix: self.s3_prefix.unwrap_or_default(),
                keys: Keys {
                    access_key: self.s3_access_key.unwrap_or_default(),
                    secret_key: self.s3_secret_key.unwrap_or_default(),
                },
            }),
        }
    }
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
            host_name: self.host_name,
            state_dir: self.state_dir,
            objects: self.objects.location(),
            mount_dir: self.mount_dir,
            nbd_listener: nbd_listener.transpose()?,
            control: serve::listen(self.control_port).await?,
            token: AdminToken::new(self.admin_token)?,
        };
        Ok(daemon::run(options, terminal::interrupted()).await?)
    }
}
