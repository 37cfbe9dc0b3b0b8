//! Whose process is at the other end of a connection, since every user of this host reaches its loopback.
//!
//! The page tells a password to whoever asks, so it talks to its own user and to root alone. Linux lists
//! each socket with its owner; elsewhere nothing tells, and everybody is let in (docs/page.md).

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// Where Linux lists the sockets of IPv4, and of IPv6, through which an IPv4 address is reached as well.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Whether the process behind this address may have the page.
pub(super) fn may_have_the_page(peer: SocketAddr, server_port: u16) -> bool {
    let tables: Vec<String> = TABLES
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .collect();
    let us = nix::unistd::geteuid().as_raw();
    is_let_in(&tables, peer, server_port, us)
}

fn is_let_in(tables: &[String], peer: SocketAddr, server_port: u16, us: u32) -> bool {
    if tables.is_empty() {
        return true;
    }
    let owner = tables
        .iter()
        .find_map(|table| owner(table, peer, server_port));
    owner.is_some_and(|uid| uid == us || uid == 0)
}

/// The owner of the socket that is bound to `peer` and connected to our port.
fn owner(table: &str, peer: SocketAddr, server_port: u16) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote) = (fields.next()?, fields.next()?);
        let uid = fields.nth(4)?;
        let (address, port) = socket(local)?;
        let (_, remote_port) = socket(remote)?;
        let same = IpAddr::to_canonical(&address) == peer.ip() && port == peer.port();
        (same && remote_port == server_port).then(|| uid.parse().ok())?
    })
}

/// `0100007F:20EE`: words of an address as the kernel has them in memory, and a port.
fn socket(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..address.len() / 8)
        .map(|at| {
            let word = address.get(at * 8..at * 8 + 8)?;
            Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
        })
        .collect();
    let bytes = words?.concat();
    let address = match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok()?.into(),
        16 => <[u8; 16]>::try_from(bytes).ok()?.into(),
        _ => return None,
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    use super::{is_let_in, may_have_the_page};

    /// A connection of user 1000 from port 40000 to our 8430, and the server's end of it.
    #[cfg(target_endian = "little")]
    const IPV4: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:20EE 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:9C40 0100007F:20EE 01 00000000:00000000 00:00000000 00000000  1000        0 12 1
";
    /// The same from port 40001, by a program that speaks IPv6.
    #[cfg(target_endian = "little")]
    const IPV6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000100007F:9C41 0000000000000000FFFF00000100007F:20EE 01 00000000:00000000 00:00000000 00000000  1000        0 13 1
";

    #[cfg(target_endian = "little")]
    #[test]
    fn only_its_own_user_and_root_are_let_in() {
        let tables = [IPV4.to_owned(), IPV6.to_owned()];
        let from = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for port in [40000, 40001] {
            assert!(is_let_in(&tables, from(port), 8430, 1000));
            assert!(!is_let_in(&tables, from(port), 8430, 1001));
            assert!(
                !is_let_in(&tables, from(port), 8431, 1000),
                "another connection"
            );
        }
        assert!(!is_let_in(&tables, from(40002), 8430, 1000), "nobody's");
        let by_root = [IPV4.replace("  1000 ", "     0 ")];
        assert!(is_let_in(&by_root, from(40000), 8430, 1000));
        assert!(
            is_let_in(&[], from(40000), 8430, 1000),
            "where nothing tells"
        );
    }

    #[test]
    fn a_connection_of_our_own_is_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = listener.local_addr().unwrap();
        let client = TcpStream::connect(server).unwrap();
        let peer = client.local_addr().unwrap();
        assert!(may_have_the_page(peer, server.port()));
    }
}
