//! The control RPC: the host asks, the machine answers (I-003, L-001). Several requests on one
//! connection, each answered before the next. Who closes, even one half, has hung up, and what was
//! asked for is dropped: a half close is a whole one on Firecracker's vsock (facts 5.7).
//!
//! `policy` says what may be done when, `commands` and its neighbours do it, `desk` is where the
//! supervisor tells what they go by; here is the socket. In a machine with a
//! kernel of its own that is AF_VSOCK, in a container TCP on the link-local address, where only
//! 169.254.169.254 is listened to (contract 9). Without either nobody can ask.

mod archiver;
mod backup;
mod commands;
mod configuration;
mod desk;
mod health;
mod objections;
mod policy;
mod replicating;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_postgres::types::PgLsn;
use tokio_vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener};
use wire::lsn::Lsn;
use wire::ports::{CONTROL_RPC, HOST_CID, METADATA_ADDR};
use wire::prefix::{self, BODY_LIMIT, Decoder, PrefixError};
use wire::rpc::{Command, Request, Response};

use crate::fx::clock;
use crate::metadata::has_own_kernel;
use crate::sys::net;

pub(crate) use desk::{Concern, Desk};
pub(crate) use wire::rpc::Lifecycle;

/// A host that has connected is hung up on when it has not sent a whole request by then, or has not
/// taken its answer.
const IDLE: Duration = Duration::from_secs(60);
/// Before another try to listen: the address may be attached later.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);
/// Conversations at a time; more wait in the backlog. Most of them wait for something, so there are
/// many more than the machine has work for.
const CALLERS: usize = 64;

impl Desk {
    /// Listens for callers, for ever.
    pub(crate) fn open(self: &Arc<Desk>) {
        tokio::spawn(listen(Arc::clone(self)));
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
    #[error("no whole request within {} s", IDLE.as_secs())]
    Idle,
    #[error("its answer was not taken within {} s", IDLE.as_secs())]
    NotTaken,
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

async fn conversation<S>(desk: &Desk, stream: S) -> Result<(), CallError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut caller = Caller {
        stream,
        decoder: Decoder::new(),
    };
    loop {
        let asked = clock::within(IDLE, caller.request()).await;
        let Some(body) = asked.ok_or(CallError::Idle)?? else {
            return Ok(());
        };
        let request = Request::decode(&body);
        let then_stop = matches!(request, Ok(Request::Known(Command::Shutdown)));
        let answered = tokio::select! {
            biased;
            response = answer(desk, request) => Some(response),
            // A stop goes on without its caller: it was asked for.
            () = caller.gone(), if !then_stop => None,
        };
        let Some(response) = answered else {
            tracing::info!("a control RPC caller hung up before its answer");
            return Ok(());
        };
        let written = caller.tell(&response).await;
        if then_stop {
            desk.stop.notify_one();
        }
        written?;
    }
}

/// Who has connected.
struct Caller<S> {
    stream: S,
    decoder: Decoder,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Caller<S> {
    /// The next request's body; `None` when the caller hangs up between two. May be dropped.
    async fn request(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        loop {
            if let Some(body) = self.decoder.next_body()? {
                return Ok(Some(body));
            }
            if self.read().await? == 0 {
                self.decoder.finish()?;
                return Ok(None);
            }
        }
    }

    /// Comes back when the caller hangs up. What it sends meanwhile is its next request, of which no
    /// more is taken in than one may have.
    async fn gone(&mut self) {
        while self.decoder.buffered() <= BODY_LIMIT {
            if !matches!(self.read().await, Ok(1..)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    async fn read(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes).await?;
        self.decoder.push(&bytes[..read]);
        Ok(read)
    }

    async fn tell(&mut self, response: &Response) -> Result<(), CallError> {
        let packed = prefix::encode(&response.encode()?)?;
        clock::within(IDLE, self.stream.write_all(&packed))
            .await
            .ok_or(CallError::NotTaken)??;
        Ok(())
    }
}

async fn answer(desk: &Desk, request: Result<Request, wire::MessagePackError>) -> Response {
    let command = match request {
        Ok(Request::Known(command)) => command,
        Ok(Request::Unknown(name)) => return Response::unknown(&name),
        Err(error) => return Response::refused(error.to_string()),
    };
    let name = command.name();
    let told = desk.state.borrow().clone();
    let verdict = policy::verdict(name, told.lifecycle);
    if let Some(words) = policy::refusal(name, told.lifecycle, verdict) {
        return Response::refused(words);
    }
    let tier = told.settings.as_ref().map(|settings| settings.role.tier());
    if let Some(words) = tier.and_then(|tier| desk.objects(name, tier)) {
        return Response::refused(words);
    }
    let deadline = name.row().deadline;
    clock::within(deadline, commands::carry_out(desk, &told, &command))
        .await
        .unwrap_or_else(|| {
            Response::refused(format!(
                "{name} was given up after {} s\nHINT: `health` tells how the machine is; then ask again",
                deadline.as_secs()
            ))
        })
}

fn lsn(lsn: PgLsn) -> Lsn {
    Lsn::new(lsn.into())
}
