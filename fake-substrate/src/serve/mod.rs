//! The process in the substrate's container: metadata, the link and object storage for the machines,
//! the admin API for the host.
//!
//! Listeners and the end of the process are passed in, so that a test serves on a port of its
//! own and the command line decides what a signal means.

pub(crate) mod admin_api;
pub mod clock;
mod fault_api;
mod link_api;
mod machines;
mod registry;
pub(crate) mod state;

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::admin::{AdminToken, S3Access};
use crate::authority::{Authority, AuthorityError};
use crate::fault::Faults;
use crate::link::{Host, Links};
use crate::mmds;
use crate::mmds::token::{NoEntropy, TokenKey};
use crate::s3::{Keys, KeysError, ObjectStorage};

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
    /// For the machines' archives and backups: object storage.
    pub s3_listener: TcpListener,
    /// The same with TLS.
    pub s3_tls_listener: TcpListener,
    /// For the host.
    pub admin_listener: TcpListener,
    /// A folder that outlives the container; the documents in it hold passwords.
    pub state_dir: PathBuf,
    /// What the host proves itself with.
    pub admin_token: AdminToken,
}

impl ServeOptions {
    /// Every listener on a free port of the loopback: a substrate without a container, for tests and
    /// benchmarks.
    pub async fn on_loopback(state_dir: PathBuf, admin_token: AdminToken) -> io::Result<Self> {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Ok(Self {
            mmds_listener: listen().await?,
            link_listener: listen().await?,
            s3_listener: listen().await?,
            s3_tls_listener: listen().await?,
            admin_listener: listen().await?,
            state_dir,
            admin_token,
        })
    }
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
    /// The keys to the object storage cannot be read or made.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// No certificate for the object storage.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The objects cannot be used.
    #[error(
        "cannot open the objects in {}\nHINT: the state folder must be on a writable volume and belong to the user the substrate runs as",
        path.display()
    )]
    Objects {
        /// Where they are.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
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
    let faults = Arc::new(Faults::new(clock::unix_ms));
    let (objects, access) = object_storage(&options.state_dir, Arc::clone(&faults))?;
    let host = Host::new(options.state_dir, clock::unix_ms, Arc::clone(&faults));
    let links = Arc::new(Links::new(host));
    let machines = Machines::new(
        state,
        TokenKey::generate()?,
        Arc::clone(&links),
        Arc::clone(&faults),
    )?;
    let machines = Arc::new(machines);
    let clock = Clock::start();

    let guests = Arc::clone(&machines);
    let seen = Arc::clone(&faults);
    let respond: mmds::http::Respond = Arc::new(move |peer, head| {
        let now_ms = clock.elapsed_ms();
        guests.outcome(
            peer,
            head,
            now_ms.saturating_add_signed(seen.clock_offset_ms()),
        )
    });
    let platform = fault_api::routes(faults, Arc::clone(&machines), access);
    let router = admin_api::router(machines, platform, options.admin_token);

    tokio::select! {
        ended = mmds::http::serve(options.mmds_listener, respond) => match ended {
            Err(source) => Err(ServeError::Listener { service: "MMDS", source }),
        },
        ended = links.serve(options.link_listener) => match ended {
            Err(source) => Err(ServeError::Listener { service: "link", source }),
        },
        ended = objects.serve(options.s3_listener, options.s3_tls_listener) => match ended {
            Err(source) => Err(ServeError::Listener { service: "S3", source }),
        },
        ended = axum::serve(options.admin_listener, router) => {
            ended.map_err(|source| ServeError::Listener { service: "admin", source })
        }
        () = shutdown => Ok(()),
    }
}

/// Whom the certificate of the object storage is for: machines, and the host through a port.
const S3_NAMES: [&str; 3] = ["169.254.169.254", "127.0.0.1", "localhost"];

/// The object storage of a state folder, and how clients get in.
fn object_storage(
    state_dir: &Path,
    faults: Arc<Faults>,
) -> Result<(ObjectStorage, S3Access), ServeError> {
    let now = i64::try_from(clock::unix_ms() / 1000).unwrap_or(i64::MAX);
    let authority = Authority::open(state_dir, now)?;
    let certificate = authority.issue(&S3_NAMES, now)?;
    let keys = Keys::open(state_dir)?;
    let access = S3Access {
        keys: keys.clone(),
        authority_pem: authority.certificate_pem().to_owned(),
    };
    let path = state_dir.join("s3");
    let objects = ObjectStorage::open(path.clone(), keys, certificate, faults);
    let objects = objects.map_err(|source| ServeError::Objects { path, source })?;
    Ok((objects, access))
}
