//! How this machine reaches its host (contract 9).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_vsock::{VsockAddr, VsockStream};
use wire::ports::{HOST_CID, HOST_LINK, METADATA_ADDR};

use crate::metadata::has_own_kernel;
use crate::sys::net;

/// A neighbour answers in milliseconds; boot waits for the first dial no longer than this.
const DIAL: Duration = Duration::from_secs(1);

/// The TCP port that stands for the vsock port of the same number.
const HOST_LINK_TCP: u16 = {
    let [0, 0, high, low] = HOST_LINK.to_be_bytes() else {
        panic!("TCP has no such port");
    };
    u16::from_be_bytes([high, low])
};

/// The way to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    /// AF_VSOCK, which is not namespaced: from a container it reaches the hypervisor under the
    /// container's host, which is not ours.
    Vsock,
    /// The same bytes over TCP.
    Tcp(SocketAddr),
}

impl Transport {
    /// `None`: this machine has no host that it could reach.
    fn choose(own_kernel: bool, link_local: bool) -> Option<Transport> {
        if own_kernel {
            return Some(Transport::Vsock);
        }
        // Without a link-local address the packet would leave by the default route.
        link_local.then(|| Transport::Tcp((METADATA_ADDR, HOST_LINK_TCP).into()))
    }

    async fn connect(self) -> io::Result<Connection> {
        Ok(match self {
            Transport::Vsock => {
                let host = VsockAddr::new(HOST_CID, HOST_LINK);
                Box::new(VsockStream::connect(host).await?)
            }
            Transport::Tcp(host) => Box::new(TcpStream::connect(host).await?),
        })
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Transport::Vsock => write!(f, "vsock {HOST_CID}:{HOST_LINK}"),
            Transport::Tcp(host) => write!(f, "{host}"),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// A plain container: nothing was tried.
    #[error("this machine has neither a kernel nor a link-local address of its own")]
    NoHost,
    #[error("nobody answers at {host}")]
    Unanswered { host: String, source: io::Error },
}

/// Who connects.
pub(super) trait Dial {
    fn dial(&mut self) -> impl Future<Output = Result<Connection, DialError>> + Send;
}

/// Connects to the host of this machine.
pub(super) struct ToHost;

impl Dial for ToHost {
    /// Looks anew each time: a network may be attached at any time.
    async fn dial(&mut self) -> Result<Connection, DialError> {
        let transport =
            Transport::choose(has_own_kernel(), net::has_link_local()).ok_or(DialError::NoHost)?;
        let connected = match timeout(DIAL, transport.connect()).await {
            Ok(connected) => connected,
            Err(late) => Err(late.into()),
        };
        connected.map_err(|source| DialError::Unanswered {
            host: transport.to_string(),
            source,
        })
    }
}

/// Bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(super) type Connection = Box<dyn Duplex>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vsock_is_for_a_machine_with_its_own_kernel_alone() {
        let tcp = Transport::Tcp(([169, 254, 169, 254], 52).into());
        for (own_kernel, link_local, transport) in [
            (true, true, Some(Transport::Vsock)),
            (true, false, Some(Transport::Vsock)),
            (false, true, Some(tcp)),
            (false, false, None),
        ] {
            let chosen = Transport::choose(own_kernel, link_local);
            assert_eq!(chosen, transport, "{own_kernel} {link_local}");
        }
    }
}
