//! The hands that reach Docker. Nothing else in the crate knows its API, the image build aside.
//!
//! Everything here does one thing and decides nothing: what to make is data ([`ContainerSpec`]),
//! what exists is data ([`Observed`]), and the errors say what was tried.

pub mod container;
pub mod engine;
mod error;
pub mod exec;
pub mod logs;
pub mod network;
mod observed;
mod spec;
pub mod volume;

pub use bollard::Docker;
pub use error::DockerError;
pub use observed::Observed;
pub use spec::{Attachment, ContainerSpec, Limits, Mount, Published, SYS_ADMIN};

use std::path::{Path, PathBuf};

/// Finds Docker and agrees on an API version with it.
pub async fn connect() -> Result<Docker, DockerError> {
    let address = Address::find();
    let docker = address.open().map_err(|source| address.unusable(source))?;
    // Old daemons (20.10 speaks 1.41) refuse a client that insists on its own, newer version.
    docker
        .negotiate_version()
        .await
        .map_err(|source| address.unusable(source))
}

/// How many processors Docker can give: those of its own machine, which on macOS is a VM.
pub async fn processors(docker: &Docker) -> Result<u32, DockerError> {
    let info = docker
        .info()
        .await
        .map_err(DockerError::from_request("ask how big its machine is"))?;
    Ok(info
        .ncpu
        .and_then(|cpus| u32::try_from(cpus).ok())
        .unwrap_or(1))
}

/// What Docker can give a container, as far as it can be seen from here.
pub async fn facilities(docker: &Docker) -> Result<Facilities, DockerError> {
    let info = docker.info().await;
    let info = info.map_err(DockerError::from_request("ask what its machine offers"))?;
    let options = info.security_options.unwrap_or_default();
    let is_on = |what: &str| options.iter().any(|option| option.contains(what));
    let here = match Address::find() {
        Address::Socket(_) => true,
        Address::Given(host) => host.starts_with("unix:"),
    };
    Ok(Facilities {
        system: info.operating_system.unwrap_or_default(),
        of_this_machine: here && cfg!(target_os = "linux"),
        remapped: is_on("rootless") || is_on("userns"),
        devices: ["/dev/fuse", "/dev/loop-control"]
            .into_iter()
            .filter(|device| Path::new(device).exists())
            .collect(),
    })
}

/// What Docker can give a container, as far as it can be seen from here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facilities {
    /// The system it runs on, by name.
    pub system: String,
    /// Whether that is this machine and not a VM or another one.
    pub of_this_machine: bool,
    /// Whether root in a container is nobody outside.
    pub remapped: bool,
    /// The devices of this machine that block volumes need, as far as they are there.
    pub devices: Vec<&'static str>,
}

/// Where Docker listens.
#[derive(Debug)]
enum Address {
    /// `DOCKER_HOST` names it.
    Given(String),
    /// A socket of this machine.
    Socket(PathBuf),
}

impl Address {
    #[expect(
        clippy::disallowed_methods,
        reason = "DOCKER_HOST and HOME are Docker's own way to be found, not settings of ours"
    )]
    fn find() -> Self {
        if let Some(host) = std::env::var("DOCKER_HOST")
            .ok()
            .filter(|host| !host.is_empty())
        {
            return Self::Given(host);
        }
        let usual = PathBuf::from("/var/run/docker.sock");
        // Docker Desktop makes the usual socket only when it is allowed to.
        let desktop =
            std::env::var("HOME").map(|home| Path::new(&home).join(".docker/run/docker.sock"));
        match desktop {
            Ok(desktop) if !usual.exists() && desktop.exists() => Self::Socket(desktop),
            Ok(_) | Err(_) => Self::Socket(usual),
        }
    }

    fn open(&self) -> Result<Docker, bollard::errors::Error> {
        match self {
            Self::Given(host) => Docker::connect_with_host(host),
            Self::Socket(path) => Docker::connect_with_unix(
                &path.to_string_lossy(),
                REQUEST_SECONDS,
                bollard::API_DEFAULT_VERSION,
            ),
        }
    }

    fn unusable(&self, source: bollard::errors::Error) -> DockerError {
        let (place, hint) = match self {
            Self::Given(host) => (
                host.clone(),
                "DOCKER_HOST says so; is that right, and does Docker run there?",
            ),
            Self::Socket(path) => (path.display().to_string(), hint_for(path)),
        };
        DockerError::NotThere {
            place,
            hint,
            source,
        }
    }
}

/// For one request, stopping a machine included (30 s of its own budget).
const REQUEST_SECONDS: u64 = 120;

fn hint_for(socket: &Path) -> &'static str {
    match std::os::unix::net::UnixStream::connect(socket).map_err(|error| error.kind()) {
        Err(std::io::ErrorKind::NotFound) => {
            "install Docker and start it: https://docs.docker.com/engine/install/"
        }
        Err(std::io::ErrorKind::PermissionDenied) => {
            "this user may not use Docker: sudo usermod -aG docker \"$USER\", then log in again"
        }
        Err(std::io::ErrorKind::ConnectionRefused) => {
            "Docker is installed but not running: sudo systemctl start docker, or open Docker Desktop"
        }
        Ok(_) | Err(_) => "something listens there; does `docker version` work?",
    }
}
