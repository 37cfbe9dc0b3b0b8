//! Firecracker's convention for host tools (facts 5.7), so that one client serves containers, QEMU
//! and Firecracker: connect to a machine's unix socket, say `CONNECT <port>\n`, read
//! `OK <hostport>\n`, and talk to the guest.
//!
//! ```text
//!   tool ──"CONNECT 5430\n"──► vsock-NAME.sock ──TCP──► guest :5430
//!   tool ◄──"OK 1073741824\n"──┘ then bytes, both ways
//! ```
//!
//! Its odd habits are kept, since a client must live with them: the command is read without
//! patience, so it has to come in one write; whatever goes wrong, the socket is closed without a
//! word; closing one half closes both. One cannot be kept: over TCP, the guest's half close looks
//! like its whole one, and Firecracker would not tell the tool of it at all.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Host, Machine, tcp_port, unlink};

/// As many as a machine's device has room for; one more is accepted and dropped.
const CONNECTIONS: usize = 1023;
/// Exactly `connect 0\n`, the shortest command there is.
const FIRST_READ: usize = 10;
/// The longest command, its line end included.
const COMMAND_LIMIT: usize = 32;
const FIRST_HOST_PORT: u32 = 1 << 30;

/// The ports that the host's ends of the connections have: from 2^30, and never beyond 2^31.
#[derive(Debug, Default)]
struct HostPorts(AtomicU32);

impl HostPorts {
    fn allocate(&self) -> u32 {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        FIRST_HOST_PORT | (count % FIRST_HOST_PORT)
    }
}

/// Serves a machine's socket until the machine is removed.
pub(super) async fn serve(machine: Arc<Machine>, path: PathBuf, host: Host) {
    unlink(&path);
    let listener = match UnixListener::bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "host tools cannot reach the machine");
            return;
        }
    };
    let mut whereabouts = machine.whereabouts();
    tokio::select! {
        error = accept(&listener, &machine, &host) => {
            tracing::error!(path = %path.display(), %error, "host tools cannot reach the machine");
        }
        _removed = whereabouts.wait_for(Option::is_none) => {}
    }
}

async fn accept(listener: &UnixListener, machine: &Arc<Machine>, host: &Host) -> io::Error {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let ports = Arc::new(HostPorts::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let tool = match accepted {
                    Ok((tool, _unnamed)) => tool,
                    Err(error) => return error,
                };
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let (machine, host) = (Arc::clone(machine), host.clone());
                let ports = Arc::clone(&ports);
                connections.spawn(async move {
                    bridge(tool, &machine, &host, &ports).await;
                    drop(place);
                });
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a bridge's task failed");
                }
            }
        }
    }
}

/// Errors have no message on this socket; its closing is all that a tool sees.
async fn bridge(mut tool: UnixStream, machine: &Machine, host: &Host, ports: &HostPorts) {
    let name = machine.name();
    let Some(port) = command(&tool).await else {
        tracing::debug!(machine = name, "a host tool did not say CONNECT");
        return;
    };
    let host_port = ports.allocate();
    let (Some(address), Some(tcp)) = (machine.address(), tcp_port(port)) else {
        return;
    };
    let bridged = async {
        let mut guest = host.dial(SocketAddr::from((address, tcp))).await?;
        guest.set_nodelay(true)?;
        tool.write_all(format!("OK {host_port}\n").as_bytes())
            .await?;
        let (from_guest, to_guest) = guest.split();
        let (from_tool, to_tool) = tool.split();
        // Whichever direction ends first ends both.
        tokio::select! {
            ended = carry(from_tool, to_guest) => ended,
            ended = carry(from_guest, to_tool) => ended,
        }
    };
    if let Err(error) = bridged.await {
        tracing::debug!(machine = name, port, %error, "a host tool's connection ended");
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await.map(drop)
}

/// The port in a tool's command, read as Firecracker reads it: what is not there at the first look
/// is not waited for.
async fn command(tool: &UnixStream) -> Option<u32> {
    let mut read = [0; COMMAND_LIMIT];
    let mut length = loop {
        tool.readable().await.ok()?;
        match tool.try_read(&mut read[..FIRST_READ]) {
            // Said to be readable and was not: no look at all.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return None,
            Ok(count) => break count,
        }
    };
    while length < FIRST_READ {
        match tool.try_read(&mut read[length..FIRST_READ]) {
            Ok(0) | Err(_) => return None,
            Ok(count) => length += count,
        }
    }
    // At the limit it has to do as it is: what follows is for the guest.
    while read[length - 1] != b'\n' && length < COMMAND_LIMIT {
        match tool.try_read(&mut read[length..=length]) {
            Ok(1) => length += 1,
            _ => return None,
        }
    }
    port(&read[..length])
}

/// The port in a command. Any case, any white space, and anything behind the port.
fn port(command: &[u8]) -> Option<u32> {
    let mut words = std::str::from_utf8(command).ok()?.split_whitespace();
    let connect = words.next()?.eq_ignore_ascii_case("connect");
    let port = words.next()?.parse().ok()?;
    connect.then_some(port)
}

#[cfg(test)]
#[path = "firecracker_tests.rs"]
mod tests;
