//! `serve`: the process in the substrate's container.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;
use tokio::net::TcpListener;

use crate::admin::AdminToken;
use crate::link;
use crate::s3;
use crate::serve::{self, ServeOptions};
use crate::substrate::service;

use super::{CliError, terminal};

#[derive(Args)]
pub(crate) struct Serve {
    /// Where the documents are kept
    #[arg(long)]
    state_dir: PathBuf,
    /// Where machines ask for their metadata
    #[arg(long, default_value_t = wire::ports::METADATA)]
    mmds_port: u16,
    /// Where machines link: the port of the host's vsock, over TCP
    #[arg(long, default_value_t = link::HOST_LINK)]
    link_port: u16,
    /// Where machines find object storage
    #[arg(long, default_value_t = s3::PORT)]
    s3_port: u16,
    /// The same with TLS
    #[arg(long, default_value_t = s3::TLS_PORT)]
    s3_tls_port: u16,
    /// Where the host changes it
    #[arg(long, default_value_t = service::ADMIN_PORT)]
    admin_port: u16,
    /// What the host proves itself with; from the environment, since every process may read
    /// another's arguments
    #[arg(long, env = service::TOKEN_ENV, hide_env_values = true)]
    admin_token: String,
}

/// The token is no debug output.
impl std::fmt::Debug for Serve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve")
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), CliError> {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .init();
        let options = ServeOptions {
            // Every address: 169.254.169.254 may be attached after the start.
            mmds_listener: listen(self.mmds_port).await?,
            link_listener: listen(self.link_port).await?,
            s3_listener: listen(self.s3_port).await?,
            s3_tls_listener: listen(self.s3_tls_port).await?,
            admin_listener: listen(self.admin_port).await?,
            state_dir: self.state_dir,
            admin_token: AdminToken::new(self.admin_token)?,
        };
        Ok(serve::run(options, terminal::interrupted()).await?)
    }
}

pub(super) async fn listen(port: u16) -> Result<TcpListener, CliError> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
    listener.map_err(|source| CliError::Listen { port, source })
}
