//! Tier `sink`: a machine that holds another's WAL and runs no database (B-006a).
//!
//! ```text
//!  primary ──► pg_receivewal --synchronous ──► sink/wal/ ──► HTTP ──► the primary, when it boots
//!     ▲                                           │
//!     └── looked at every few seconds: whose WAL, is the slot whole, what is not needed any more
//! ```
//!
//! A sink is ready when it serves what it holds, whether or not WAL comes in: a primary that boots asks it
//! first. That nothing comes in is said in health.

pub(crate) mod base;
pub(crate) mod pass;
mod primary;
mod probe;
mod receiver;
mod serve;
pub(crate) mod store;
#[cfg(test)]
mod store_tests;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;

use crate::boot::facts::Owners;
use crate::fx::clock;
use crate::fx::fs::{self as files, FsError};
use crate::layout::Layout;
use crate::link::Link;
use crate::logs::Logs;
use crate::rpc::{Concern, Desk, Lifecycle};
use crate::settings::{Conninfo, Secret};
use crate::sink::base::BaseError;
use crate::sink::primary::{Primary, PrimaryError};
use crate::sink::probe::ProbeError;
use crate::sink::receiver::{Receiver, ReceiverError};
use crate::sink::store::{Store, StoreError};
use crate::supervise::chain;
use crate::sys::user::{self, AccountError};
use crate::sys::volume_lock::{LockError, VolumeLock};

/// Between two looks at the primary.
const LOOK: Duration = Duration::from_secs(5);
/// The same while it is not known whether the receiver has logged in.
const LOOK_FIRST: Duration = Duration::from_millis(300);
/// Between two tries to receive.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub(crate) enum SinkError {
    #[error(
        "{} holds a database, and this machine was asked to be a WAL sink. Nothing was changed.\n\
         HINT: give the sink a volume of its own", path.display()
    )]
    HoldsDatabase { path: PathBuf },
    #[error(
        "{} is held by another machine or process. Nothing was changed.\n\
         HINT: stop the other one first", path.display()
    )]
    VolumeHeld { path: PathBuf },
    #[error("looking whether {} holds a database", path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error("listening on port {port} for whoever asks for WAL")]
    Listen { port: u16, source: io::Error },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Why WAL does not come in; tried again.
#[derive(Debug, Error)]
enum Trouble {
    #[error(transparent)]
    Primary(#[from] PrimaryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Receiver(#[from] ReceiverError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// A sink that has its volume and its port.
pub(crate) struct Sink<'a> {
    layout: &'a Layout,
    owners: Owners,
    primary: &'a Conninfo,
    password: &'a Secret,
    desk: &'a Desk,
    store: Store,
    listener: TcpListener,
    receiving: Arc<AtomicBool>,
    _lock: VolumeLock,
}

impl<'a> Sink<'a> {
    /// Makes the volume ready; nothing but a sink's may be on it.
    pub(crate) async fn open(
        layout: &'a Layout,
        primary: &'a Conninfo,
        password: &'a Secret,
        desk: &'a Desk,
    ) -> Result<Sink<'a>, SinkError> {
        let owners = Owners {
            root: user::Account::root(),
            postgres: user::postgres()?,
        };
        if let Some(path) = database(layout)? {
            return Err(SinkError::HoldsDatabase { path });
        }
        let lock = VolumeLock::take(&layout.volume_lock())?;
        let lock = lock.ok_or_else(|| SinkError::VolumeHeld {
            path: layout.volume(),
        })?;
        files::make_dir(&layout.run_dir(), 0o755, owners.root)?;
        files::make_dir(&layout.sink(), 0o700, owners.postgres)?;
        files::make_dir(&layout.sink_wal(), 0o700, owners.postgres)?;
        let port = wire::ports::SINK;
        let listener = listen(port)
            .await
            .map_err(|source| SinkError::Listen { port, source })?;
        Ok(Sink {
            layout,
            owners,
            primary,
            password,
            desk,
            store: Store::of(layout),
            listener,
            receiving: Arc::default(),
            _lock: lock,
        })
    }

    /// Its life until it is asked to stop: ready from the first moment on.
    pub(crate) async fn live(&self, link: &Link, stop: impl Future<Output = ()>) {
        link.first_dial().await;
        self.desk.tell(Lifecycle::Ready);
        link.announce(true);
        tracing::info!("ready: serving WAL on port {}", wire::ports::SINK);
        tokio::select! {
            () = stop => tracing::info!("asked to stop"),
            () = self.run(link.lines()) => {}
        }
        self.desk.tell(Lifecycle::Stopping);
        link.announce(false);
    }

    /// Serves and receives until it is dropped. A receiver that runs then is told to end; what it has
    /// acknowledged is on the disk.
    async fn run(&self, logs: Option<&Logs>) {
        let serving = serve::Serving {
            store: self.store.clone(),
            password: self.password.clone(),
            receiving: Arc::clone(&self.receiving),
        };
        tokio::select! {
            () = serving.run(&self.listener) => {}
            () = self.receive_for_ever(logs) => {}
        }
    }

    async fn receive_for_ever(&self, logs: Option<&Logs>) {
        loop {
            if let Err(trouble) = self.receive(logs).await {
                self.receiving.store(false, Ordering::Relaxed);
                let words = format!(
                    "no WAL comes in: {}\nHINT: commits of the primary wait until it does; what is here stays and is served",
                    chain(&trouble)
                );
                tracing::warn!("{words}");
                self.desk.concern(Concern::Sink, Some(words));
            }
            clock::pause(AGAIN).await;
        }
    }

    /// Until the receiver ends, which it does whenever its connection does.
    async fn receive(&self, logs: Option<&Logs>) -> Result<(), Trouble> {
        let owner = self.owners.postgres;
        let primary = Primary {
            layout: self.layout,
            owner,
            conninfo: self.primary,
            password: self.password,
        };
        let mut look = primary.look().await?;
        self.store.admit(&look, owner)?;
        if look.slot.as_ref().is_none_or(primary::Slot::is_lost) {
            tracing::warn!("the primary keeps no WAL for this sink: making a slot there");
            primary.make_slot(look.slot.is_some()).await?;
            look = primary.look().await?;
        }
        // Each time, not only with a new slot: a sink that was killed between the two looks again.
        if let Some(slot) = &look.slot
            && let Some(words) = self.store.begin_again(slot, owner)?
        {
            tracing::error!("{words}");
        }
        // Before anything is acknowledged: WAL alone makes no cluster.
        if self.store.wants_base(&look)? {
            base::take(&primary, &look).await?;
        }
        if let Some(tail) = self.store.tail()? {
            probe::check(&primary, &tail).await?;
        }
        self.store.pad_partial(look.segment_bytes)?;
        let mut pass = Some(primary.passfile(receiver::PROGRAM)?);
        let mut receiver = Receiver::start(&primary, logs)?;
        loop {
            tokio::select! {
                ended = receiver.ended() => return Err(ended.into()),
                () = clock::pause(if pass.is_some() { LOOK_FIRST } else { LOOK }) => {}
            }
            look = primary.look().await?;
            if look.slot.as_ref().is_some_and(|slot| slot.active) {
                // It has logged in.
                pass = None;
                self.receiving.store(true, Ordering::Relaxed);
                self.desk.concern(Concern::Sink, None);
                self.store.forget_before(look.redo_lsn)?;
            }
        }
    }
}

/// A PGDATA of any version, whole or not, or the WAL of one: nothing that a sink has.
fn database(layout: &Layout) -> Result<Option<PathBuf>, SinkError> {
    let path = layout.volume();
    let looking = |source| SinkError::Look {
        path: path.clone(),
        source,
    };
    for entry in fs::read_dir(&path).map_err(looking)? {
        let found = entry.map_err(looking)?.path();
        let of_a_version = found.file_name().and_then(|name| name.to_str());
        if of_a_version.is_none_or(|name| name.parse::<u32>().is_err()) {
            continue;
        }
        for part in [layout.pgdata(), layout.wal()] {
            let part = found.join(part.file_name().unwrap_or_default());
            match fs::read_dir(&part).map(|mut entries| entries.next().is_some()) {
                Ok(true) => return Ok(Some(part)),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(SinkError::Look { path: part, source }),
            }
        }
    }
    Ok(None)
}

/// On both families, or on the one that a machine without IPv6 has.
async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_no_ipv6) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_with_anything_of_a_database_is_no_sinks() {
        let with = |path: &str| {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path());
            fs::create_dir_all(layout.volume().join(path)).unwrap();
            database(&layout).unwrap().map(|found| {
                let below = found.strip_prefix(layout.volume()).unwrap();
                below.display().to_string()
            })
        };
        // A whole one, one that a boot left half made, one of another version, WAL without a cluster.
        for (path, found) in [
            ("18/main/global", "18/main"),
            ("18/main/base", "18/main"),
            ("17/main/global", "17/main"),
            ("18/wal/archive_status", "18/wal"),
        ] {
            assert_eq!(with(path).as_deref(), Some(found), "{path}");
        }
        for path in ["", "sink/wal", "lost+found", "18", "18/main"] {
            assert_eq!(with(path), None, "{path}");
        }
    }
}
