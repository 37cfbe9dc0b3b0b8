//! The control RPC: the host asks, the machine answers (I-003, L-001). Several requests on one
//! connection, each answered before the next is read; half close means nothing here.
//!
//! `policy` says what may be done when, `commands` does it; here is the socket. In a machine with a
//! kernel of its own that is AF_VSOCK, in a container TCP on the link-local address, where only
//! 169.254.169.254 is listened to (contract 9). Without either nobody can ask.

mod commands;
mod policy;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener};
use wire::ports::{CONTROL_RPC, HOST_CID, METADATA_ADDR};
use wire::prefix::{self, Decoder, PrefixError};
use wire::rpc::{Request, Response};

use crate::fx::clock;
use crate::layout::Layout;
use crate::metadata::has_own_kernel;
use crate::sys::net;

pub(crate) use policy::Lifecycle;

/// A host that has connected and asks nothing is hung up on.
const IDLE: Duration = Duration::from_secs(60);
/// A checkpoint of a busy machine takes minutes.
const ANSWER: Duration = Duration::from_secs(600);
/// Before another try to listen: the address may be attached later.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);
/// Conversations at a time; more wait in the backlog.
const CALLERS: usize = 8;

/// What the supervisor and the callers tell each other.
#[derive(Debug)]
pub(crate) struct Desk {
    layout: Layout,
    state: watch::Sender<Told>,
    stop: Notify,
    reload: Notify,
}

/// What the supervisor has told.
#[derive(Debug, Clone)]
struct Told {
    lifecycle: Lifecycle,
    /// Monotonic: somebody may set the clock meanwhile.
    ready_at: Option<Instant>,
    /// JSON.
    boot_record: Option<String>,
    /// What is not as it should be, in the words of whoever noticed.
    concerns: BTreeMap<Concern, String>,
}

/// Who has something to say about a machine that serves and is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Concern {
    /// The configuration in force is not the one that the user wrote.
    Configuration,
    /// What the bring-up could not do and went on without.
    BringUp,
    /// Postgres does not stay up.
    Postgres,
    /// PgBouncer does not stay up.
    Pooler,
    /// A certificate that is not used, or that ends.
    Certificate,
    /// The volume fills up.
    Disk,
}

impl Desk {
    pub(crate) fn new(layout: Layout) -> Arc<Desk> {
        let told = Told {
            lifecycle: Lifecycle::Booting,
            ready_at: None,
            boot_record: None,
            concerns: BTreeMap::new(),
        };
        let state = watch::Sender::new(told);
        Arc::new(Desk {
            layout,
            state,
            stop: Notify::new(),
            reload: Notify::new(),
        })
    }

    /// Listens for callers, for ever.
    pub(crate) fn open(self: &Arc<Desk>) {
        tokio::spawn(listen(Arc::clone(self)));
    }

    /// The machine's state has changed.
    pub(crate) fn tell(&self, lifecycle: Lifecycle) {
        self.state.send_modify(|told| {
            told.ready_at = match lifecycle {
                Lifecycle::Ready => told.ready_at.or_else(|| Some(clock::now())),
                Lifecycle::Booting | Lifecycle::Starting | Lifecycle::Stopping => None,
            };
            told.lifecycle = lifecycle;
        });
    }

    /// Something is not as it should be, in words for an operator; `None`: it is again.
    pub(crate) fn concern(&self, about: Concern, words: Option<String>) {
        self.state.send_modify(|told| {
            match words {
                Some(words) => told.concerns.insert(about, words),
                None => told.concerns.remove(&about),
            };
        });
    }

    /// What the boot left as its record.
    pub(crate) fn tell_boot_record(&self, json: String) {
        self.state.send_modify(|told| told.boot_record = Some(json));
    }

    /// Comes back when a caller asks the machine to stop. For one caller.
    pub(crate) async fn stop_requested(&self) {
        self.stop.notified().await;
    }

    /// Comes back when the servers shall read their configuration again. For one caller.
    pub(crate) async fn reload_requested(&self) {
        self.reload.notified().await;
    }
}

/// Why a conversation ended before its caller hung up.
#[derive(Debug, Error)]
enum CallError {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    #[error("an answer could not be packed")]
    Pack(#[from] wire::MessagePackError),
    #[error("no request within {} s", IDLE.as_secs())]
    Idle,
}

async fn listen(desk: Arc<Desk>) {
    loop {
        let ended = match (has_own_kernel(), net::link_local()) {
            (true, _) => over_vsock(&desk).await,
            (false, Some(address)) => match tcp_port() {
                Some(port) => over_tcp(&desk, (address, port).into()).await,
                None => return,
            },
            // A plain container: there is no host.
            (false, None) => Ok(()),
        };
        if let Err(error) = ended {
            tracing::warn!("the control RPC cannot listen and will try again: {error}");
        }
        clock::pause(LISTEN_AGAIN).await;
    }
}

/// The TCP port that stands for the vsock port of the same number.
fn tcp_port() -> Option<u16> {
    u16::try_from(CONTROL_RPC).ok()
}

async fn over_vsock(desk: &Arc<Desk>) -> io::Result<()> {
    // A CID of our own other than ANY gives EADDRNOTAVAIL in some guests.
    let listener = VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, CONTROL_RPC))?;
    let callers = Arc::new(Semaphore::new(CALLERS));
    loop {
        let (stream, peer) = listener.accept().await?;
        if peer.cid() == HOST_CID {
            converse(desk, &callers, stream).await;
        } else {
            tracing::warn!(
                "the control RPC turned away a caller with CID {}",
                peer.cid()
            );
        }
    }
}

async fn over_tcp(desk: &Arc<Desk>, address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    serve_tcp(desk, &listener, METADATA_ADDR.into()).await
}

async fn serve_tcp(desk: &Arc<Desk>, listener: &TcpListener, host: IpAddr) -> io::Result<()> {
    let callers = Arc::new(Semaphore::new(CALLERS));
    loop {
        let (stream, peer) = listener.accept().await?;
        if peer.ip() == host {
            converse(desk, &callers, stream).await;
        } else {
            tracing::warn!("the control RPC turned away a caller from {peer}: it is not the host");
        }
    }
}

async fn converse<S>(desk: &Arc<Desk>, callers: &Arc<Semaphore>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(place) = Arc::clone(callers).acquire_owned().await else {
        return;
    };
    let desk = Arc::clone(desk);
    tokio::spawn(async move {
        if let Err(error) = conversation(&desk, stream).await {
            tracing::warn!("a control RPC caller was hung up on: {error}");
        }
        drop(place);
    });
}

async fn conversation<S>(desk: &Desk, mut stream: S) -> Result<(), CallError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut decoder = Decoder::new();
    let mut bytes = [0; 4096];
    loop {
        while let Some(body) = decoder.next_body()? {
            let (answer, then_stop) = answer(desk, &body).await;
            let packed = prefix::encode(&answer.encode()?)?;
            let written = stream.write_all(&packed).await;
            if then_stop {
                // Also when the caller is gone: it was asked for.
                desk.stop.notify_one();
            }
            written?;
        }
        let read = clock::within(IDLE, stream.read(&mut bytes))
            .await
            .ok_or(CallError::Idle)??;
        if read == 0 {
            return Ok(decoder.finish()?);
        }
        decoder.push(&bytes[..read]);
    }
}

/// The answer, and whether the machine stops once it is on its way.
async fn answer(desk: &Desk, body: &[u8]) -> (Response, bool) {
    let command = match Request::decode(body) {
        Ok(Request::Known(command)) => command,
        Ok(Request::Unknown(name)) => return (Response::unknown(&name), false),
        Err(error) => return (Response::refused(error.to_string()), false),
    };
    let told = desk.state.borrow().clone();
    let verdict = policy::verdict(&command, told.lifecycle);
    if let Some(words) = policy::refusal(&command, told.lifecycle, verdict) {
        return (Response::refused(words), false);
    }
    match clock::within(ANSWER, commands::carry_out(desk, &told, &command)).await {
        Some(answered) => answered,
        None => {
            let words = format!("{command:?} was given up after {} s", ANSWER.as_secs());
            (Response::refused(words), false)
        }
    }
}
