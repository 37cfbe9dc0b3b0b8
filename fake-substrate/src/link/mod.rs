//! The host's end of every machine's link (contract 9): what the platform's host process does on
//! vsock port 52, over TCP on the substrate's own network, where 169.254.169.254 plays CID 2.
//!
//! ```text
//!   machine ──TCP :52──► serve ─► session ─► record, lines ─► admin API ─► logs, status, e2e
//!   machine ◄─TCP :5430── rpc ◄─ admin API ◄─ rpc NAME CMD
//!   machine ◄─TCP :PORT── firecracker ◄─ vsock-NAME.sock: CONNECT PORT, OK HOSTPORT
//! ```
//!
//! A machine is whoever has its address: Docker hands out the one that the substrate chose, and a
//! container without NET_RAW cannot forge another in a TCP handshake.

pub mod fault;
mod firecracker;
mod lines;
mod machine;
mod record;
mod rpc;
mod session;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::fault::Faults;
use crate::names::MachineName;

use fault::LinkTrouble;
pub(crate) use machine::Machine;
pub(crate) use rpc::request;
pub use rpc::{RpcError, call};
use session::Session;

/// How the host behaves towards every machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// How often it asks whether a machine lives.
    pub heartbeat_every: Duration,
    /// How long a machine may be silent.
    pub degraded_after: Duration,
    /// Where connections to machines come from: they accept control requests from the host alone.
    pub address: Option<Ipv4Addr>,
    /// Where each machine's `vsock-NAME.sock` is.
    pub socket_dir: PathBuf,
    /// The wall clock: when something arrived is told to people.
    pub now_unix_ms: fn() -> u64,
    /// What is broken about it.
    pub faults: Arc<Faults>,
}

impl Host {
    /// As the platform's behaves.
    pub fn new(socket_dir: PathBuf, now_unix_ms: fn() -> u64, faults: Arc<Faults>) -> Self {
        Self {
            heartbeat_every: wire::log::HEARTBEAT_EVERY,
            degraded_after: wire::log::DEGRADED_AFTER,
            address: Some(wire::ports::METADATA_ADDR),
            socket_dir,
            now_unix_ms,
            faults,
        }
    }

    /// A connection to a machine, from the address that plays CID 2.
    pub(crate) async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        rpc::dial(to, self.address).await
    }

    fn now(&self) -> u64 {
        (self.now_unix_ms)()
    }
}

/// One machine that may link, as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Who it is towards the host.
    pub link_local: Ipv4Addr,
}

/// Every machine's link.
#[derive(Debug)]
pub struct Links {
    host: Host,
    machines: RwLock<BTreeMap<String, Arc<Machine>>>,
    newcomers: mpsc::UnboundedSender<Arc<Machine>>,
    /// Taken by [`Links::serve`].
    to_serve: Mutex<Option<mpsc::UnboundedReceiver<Arc<Machine>>>>,
}

/// Where machines link, over TCP.
pub const HOST_LINK: u16 = 52;
/// Where a machine answers control requests, over TCP.
pub(crate) const CONTROL_RPC: u16 = 5430;

/// The TCP port that stands for a vsock port, where there is one.
pub fn tcp_port(vsock: u32) -> Option<u16> {
    u16::try_from(vsock).ok()
}

impl Links {
    /// Of no machine yet.
    pub fn new(host: Host) -> Self {
        let (newcomers, to_serve) = mpsc::unbounded_channel();
        Self {
            host,
            machines: RwLock::default(),
            newcomers,
            to_serve: Mutex::new(Some(to_serve)),
        }
    }

    /// Makes these the machines. A link that is no longer allowed ends; what was heard of a machine
    /// stays for as long as the machine does.
    pub fn set_members(&self, members: Vec<Member>) {
        let mut machines = self
            .machines
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        machines.retain(|name, machine| {
            let stays = members.iter().any(|member| member.name == *name);
            if !stays {
                machine.remove();
                if let Some(path) = socket(&self.host.socket_dir, name) {
                    unlink(&path);
                }
            }
            stays
        });
        for Member { name, link_local } in members {
            if let Some(machine) = machines.get(&name) {
                machine.move_to(link_local);
                continue;
            }
            let machine = Arc::new(Machine::new(&name, link_local));
            machines.insert(name, Arc::clone(&machine));
            // Nobody receives once the process ends.
            drop(self.newcomers.send(machine));
        }
    }

    /// How the host behaves.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The machine of that name.
    pub(crate) fn machine(&self, name: &str) -> Option<Arc<Machine>> {
        let machines = self.machines.read().unwrap_or_else(PoisonError::into_inner);
        machines.get(name).cloned()
    }

    fn at(&self, address: IpAddr) -> Option<Arc<Machine>> {
        let machines = self.machines.read().unwrap_or_else(PoisonError::into_inner);
        machines
            .values()
            .find(|machine| machine.address().map(IpAddr::V4) == Some(address))
            .cloned()
    }

    /// Accepts for as long as it is polled; dropping it drops every connection. To be called once.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<Infallible> {
        let to_serve = self
            .to_serve
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut newcomers =
            to_serve.ok_or_else(|| io::Error::other("the links are served already"))?;
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if let Some(session) = self.admit(&stream, peer) {
                            tasks.spawn(session.run(stream));
                        }
                    }
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => return Err(error),
                },
                Some(machine) = newcomers.recv() => {
                    if let Some(path) = socket(&self.host.socket_dir, machine.name()) {
                        tasks.spawn(firecracker::serve(machine, path, self.host.clone()));
                    }
                }
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a link's task failed");
                    }
                }
            }
        }
    }

    /// The session of a new connection; one that may not be is reset.
    fn admit(&self, stream: &TcpStream, peer: SocketAddr) -> Option<Session> {
        let refused = |why: &str| {
            tracing::warn!(%peer, "a link was refused: {why}");
            reset(stream);
            None
        };
        let Some(machine) = self.at(peer.ip()) else {
            return refused("no machine has this address");
        };
        let refusing = fault::is(LinkTrouble::Refused, machine.name());
        if self.host.faults.strike(refusing).is_some() {
            return refused("a fault says so");
        }
        let Some(connection) = machine.admit() else {
            return refused("the machine has one that lives");
        };
        Some(Session::new(machine, connection, self.host.clone()))
    }
}

/// Closes with a reset, as the guest of a host that has no listener sees it (facts 5.7).
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection is closed without a reset");
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// A name that Docker would not take is no file name either: such a machine has no socket.
fn socket(folder: &Path, name: &str) -> Option<PathBuf> {
    let name: MachineName = name.parse().ok()?;
    Some(folder.join(format!("vsock-{name}.sock")))
}

/// A socket's file outlives whoever listened on it.
fn unlink(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a socket's file stays");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_port_exists_on_tcp() {
        assert_eq!(tcp_port(wire::ports::HOST_LINK), Some(HOST_LINK));
        assert_eq!(tcp_port(wire::ports::CONTROL_RPC), Some(CONTROL_RPC));
        assert_eq!(tcp_port(65536), None);
    }

    #[test]
    fn a_name_that_leads_elsewhere_has_no_socket() {
        let folder = Path::new("/state");
        assert_eq!(socket(folder, "db"), Some("/state/vsock-db.sock".into()));
        assert_eq!(socket(folder, "a/../../db"), None);
    }
}

#[cfg(test)]
mod links_tests;
