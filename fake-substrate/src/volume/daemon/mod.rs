//! The process that plays a host's block store: one `Host`, its fronts, its write-behind, and the
//! control API. It runs in the one privileged container of a substrate (docs/volumes.md).

mod api;
mod birth;
mod disks;
mod growth;
mod loops;

use std::future::Future;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::admin::AdminToken;
use crate::command::CommandError;
use crate::s3::client::ClientError;
use crate::serve::{chain, clock};
use crate::volume::backing::Objects;
use crate::volume::backing::folder::{self, FolderObjects};
use crate::volume::backing::s3::{S3Location, S3Objects};
use crate::volume::front::nbd;
use crate::volume::host::{Host, HostError};
use crate::volume::store::flush::Policy;
use disks::Disks;

/// How often the write-behind looks; far below what it waits for.
const TICK: Duration = Duration::from_millis(100);
/// Collections read every root and table, so they are rare: each so many ticks, and after something
/// was destroyed. While packs that are mostly dead are left the next one comes sooner.
const TICKS_PER_COLLECTION: u32 = 3000;
const TICKS_PER_ROUND: u32 = 100;
const TICKS_PER_TIDY: u32 = 10;

/// What the process serves, and where it keeps what.
#[derive(Debug)]
pub struct BlockStoreOptions {
    /// What people call the host.
    pub host_name: String,
    /// The host's own disk.
    pub state_dir: PathBuf,
    /// Object storage.
    pub objects: ObjectStorage,
    /// Where volumes are mounted as files, for loop devices. Absent: no disks for containers.
    pub mount_dir: Option<PathBuf>,
    /// Where machines with a kernel of their own connect.
    pub nbd_listener: Option<UnixListener>,
    /// For the host.
    pub control: TcpListener,
    /// What the host proves itself with.
    pub token: AdminToken,
}

/// Where a host's object storage is.
#[derive(Debug)]
pub enum ObjectStorage {
    /// In a folder that hosts on one machine may share.
    Folder(PathBuf),
    /// In a bucket.
    S3(S3Location),
}

/// Why the process could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum BlockStoreError {
    /// A folder cannot be used.
    #[error("cannot use {} {}\nHINT: it must be writable, and no other block store may have it", what, path.display())]
    Folder {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store itself.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The kernel gave no randomness.
    #[error("cannot draw a random number\nHINT: does the container block getrandom?")]
    NoEntropy,
    /// No client of object storage.
    #[error(transparent)]
    Objects(#[from] ClientError),
    /// No mount.
    #[error("cannot mount the volumes at {}\nHINT: the container needs /dev/fuse and SYS_ADMIN", path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A loop device could not be made or removed.
    #[error(
        "cannot make a disk of a volume\nHINT: the container needs /dev/loop-control, MKNOD and the device rule 'b 7:* rwm'"
    )]
    Loop(#[from] CommandError),
    /// No file system.
    #[error(
        "cannot make a file system on a new volume: there is no such volume now\nHINT: is it large enough for one (1 MiB), and does the image have e2fsprogs?"
    )]
    Format(#[source] CommandError),
    /// No larger file system.
    #[error(
        "cannot let the file system of a volume have all of it: the volume is larger by now, its file system is as it was\nHINT: ask again, or start the machine again; the container needs SYS_RESOURCE and e2fsprogs"
    )]
    Fit(#[source] CommandError),
    /// Work of the host panicked.
    #[error("the store ran into a bug of its own\nHINT: its log has the place")]
    Bug(#[source] tokio::task::JoinError),
    /// Asked for a disk where there is none.
    #[error("this block store makes no disks\nHINT: start it with --mount-dir, on Linux")]
    NoDisks,
    /// The listener broke.
    #[error("the control listener failed\nHINT: out of file descriptors?")]
    Listener(#[source] io::Error),
}

/// Serves until `shutdown` completes; then ends every disk it made.
pub async fn run(
    options: BlockStoreOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), BlockStoreError> {
    let host = Arc::new(open(&options)?);
    let disks = Disks::start(Arc::clone(&host), options.mount_dir.as_deref())?;
    let disks = Arc::new(disks);
    if let Some(listener) = options.nbd_listener {
        serve_nbd(Arc::clone(&host), listener);
    }
    let router = api::router(Arc::clone(&host), Arc::clone(&disks), options.token);
    let outcome = tokio::select! {
        ended = axum::serve(options.control, router) => ended.map_err(BlockStoreError::Listener),
        () = write_behind(host) => Ok(()),
        () = shutdown => Ok(()),
    };
    disks.end().await;
    outcome
}

fn open(options: &BlockStoreOptions) -> Result<Host, BlockStoreError> {
    let folder = |what, path: &PathBuf| {
        let path = path.clone();
        move |source| BlockStoreError::Folder { what, path, source }
    };
    let local = folder::open(&options.state_dir);
    let local = local.map_err(folder("the host's folder", &options.state_dir))?;
    let objects: Arc<dyn Objects> = match &options.objects {
        ObjectStorage::Folder(path) => {
            let objects = FolderObjects::open(path);
            Arc::new(objects.map_err(folder("the objects' folder", path))?)
        }
        ObjectStorage::S3(location) => {
            let runtime = tokio::runtime::Handle::current();
            Arc::new(S3Objects::new(location.clone(), runtime)?)
        }
    };
    let (arena, journal) = (Box::new(local.arena), Box::new(local.journal));
    let [a, b, c, d, ..] = random()?.to_le_bytes();
    let nonce = u32::from_le_bytes([a, b, c, d]);
    let host = Host::open(arena, journal, objects, nonce)?;
    Ok(host.named(options.host_name.clone()))
}

/// A number that nobody can guess and nobody else has.
fn random() -> Result<u64, BlockStoreError> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 8];
    let filled = ring::rand::SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_unspecified| BlockStoreError::NoEntropy)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A thread accepts and one serves each connection: a guest's disk waits for nobody's runtime.
fn serve_nbd(host: Arc<Host>, listener: UnixListener) {
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            match connection {
                Ok(stream) => {
                    let host = Arc::clone(&host);
                    std::thread::spawn(move || {
                        if let Err(error) = nbd::serve(&host, stream) {
                            tracing::warn!(%error, "an NBD connection ended badly");
                        }
                    });
                }
                Err(error) => tracing::warn!(%error, "an NBD connection was not accepted"),
            }
        }
    });
}

async fn write_behind(host: Arc<Host>) {
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0u32;
    let mut more = false;
    loop {
        clock.tick().await;
        ticks = ticks.wrapping_add(1);
        let host = Arc::clone(&host);
        let turn = tokio::task::spawn_blocking(move || tick(&host, ticks, more)).await;
        more = turn.unwrap_or_else(|error| {
            tracing::error!(%error, "a turn of the write-behind failed");
            false
        });
    }
}

/// Tells whether the last collection has left something to do.
fn tick(host: &Host, ticks: u32, more: bool) -> bool {
    let ticked = host.tick(Policy::PLATFORM, clock::unix_ms());
    for volume in &ticked.expired {
        tracing::info!(%volume, "its time has come: destroyed");
    }
    for (volume, error) in &ticked.kept {
        tracing::warn!(%volume, error = %chain(error), "its time has come, and it is not gone yet");
    }
    for (volume, error) in &ticked.failed {
        tracing::debug!(%volume, error = %chain(error), "a flush failed");
    }
    if ticks.is_multiple_of(TICKS_PER_TIDY)
        && let Err(error) = host.tidy()
    {
        tracing::warn!(error = %chain(&error), "tidying up failed; tried again");
    }
    let every = match more {
        true => TICKS_PER_ROUND,
        false => TICKS_PER_COLLECTION,
    };
    if ticked.expired.is_empty() && !ticks.is_multiple_of(every) {
        return more;
    }
    match host.collect() {
        Ok(collected) => {
            tracing::debug!(?collected, "collected");
            collected.compacted.more
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "collecting failed; tried again");
            false
        }
    }
}
