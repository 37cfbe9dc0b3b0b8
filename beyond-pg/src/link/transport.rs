//! How this machine reaches its host (contract 9).

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_vsock::{VsockAddr, VsockStream};
use wire::ports::{HOST_CID, HOST_LINK, METADATA_ADDR};

use crate::metadata::has_own_kernel;
use crate::sys::net;

/// The TCP port that stands for the vsock port of the same number.
const HOST_LINK_TCP: u16 = {
    let [0, 0, high, low] = HOST_LINK.to_be_bytes() else {
        panic!("TCP has no such port");
    };
    u16::from_be_bytes([high, low])
};

/// The way to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// AF_VSOCK, which is not namespaced: from a container it reaches the hypervisor under the
    /// container's host, which is not ours.
    Vsock,
    /// The same bytes over TCP.
    Tcp(SocketAddr),
}

impl Transport {
    /// `None`: this machine has no host that it could reach.
    pub(super) fn choose(own_kernel: bool, link_local: bool) -> Option<Transport> {
        if own_kernel {
            return Some(Transport::Vsock);
        }
        // Without a link-local address the packet would leave by the default route.
        link_local.then(|| Transport::Tcp((METADATA_ADDR, HOST_LINK_TCP).into()))
    }

    /// Looked at before each dial: a network may be attached at any time.
    pub(super) fn of_this_machine() -> Option<Transport> {
        Transport::choose(has_own_kernel(), net::has_link_local())
    }

    pub(super) async fn dial(self) -> io::Result<Connection> {
        Ok(match self {
            Transport::Vsock => {
                let host = VsockAddr::new(HOST_CID, HOST_LINK);
                Box::new(VsockStream::connect(host).await?)
            }
            Transport::Tcp(host) => Box::new(TcpStream::connect(host).await?),
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
