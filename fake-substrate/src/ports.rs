//! Ports of the host under which a machine is reachable, always on loopback only.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// The two doors of a machine, as seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Ports {
    /// Leads to PgBouncer.
    pub pooler: u16,
    /// Leads to Postgres itself.
    pub direct: u16,
}

/// Which host ports to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// The pooler exactly here, Postgres beside it when that is free.
    At(u16),
    /// Whatever is free.
    Any,
}

/// Why no ports could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody listens where the database is wanted.
    #[error(
        "port {port} on localhost is already in use{}\nHINT: choose another with --port, or stop what listens there",
        by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default()
    )]
    InUse {
        /// The port that was asked for.
        port: u16,
        /// Who has it, where that is known.
        by: Option<String>,
    },
    /// The system gave no free port.
    #[error("the system has no free port on localhost to publish a machine on")]
    NoneFree(#[source] io::Error),
}

/// Chooses ports by asking whether each is free; `none_free` asks the system for any free one.
fn chosen(
    choice: PortChoice,
    is_free: impl Fn(u16) -> bool,
    any_free: impl Fn() -> io::Result<u16>,
) -> Result<Ports, PortError> {
    let any_but = |taken: Option<u16>| loop {
        match any_free() {
            Ok(port) if Some(port) == taken => {}
            Ok(port) => return Ok(port),
            Err(error) => return Err(PortError::NoneFree(error)),
        }
    };
    let pooler = match choice {
        PortChoice::At(port) if is_free(port) => port,
        PortChoice::At(port) => return Err(PortError::InUse { port, by: None }),
        PortChoice::Any => any_but(None)?,
    };
    let beside = pooler.checked_add(1).filter(|port| is_free(*port));
    let direct = match beside {
        Some(port) => port,
        None => any_but(Some(pooler))?,
    };
    Ok(Ports { pooler, direct })
}

/// Chooses ports on this host. What is free now may be taken a moment later: Docker has the last
/// word when the machine starts.
pub fn choose(choice: PortChoice) -> Result<Ports, PortError> {
    chosen(choice, is_free, any_free)
}

/// `localhost` means ::1 first on most systems: a stranger there would get the connection.
fn is_free(port: u16) -> bool {
    let taken = |address: SocketAddr| match TcpListener::bind(address) {
        Ok(_listener) => false,
        Err(error) => error.kind() == io::ErrorKind::AddrInUse,
    };
    !taken((Ipv4Addr::LOCALHOST, port).into()) && !taken((Ipv6Addr::LOCALHOST, port).into())
}

fn any_free() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

#[cfg(test)]
mod tests {
    use super::{PortChoice, PortError, Ports, any_free, choose, chosen};
    use std::cell::RefCell;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    fn all_free(_port: u16) -> bool {
        true
    }

    #[test]
    fn the_direct_port_stands_beside_the_pooler_when_it_can() {
        let ports = chosen(PortChoice::At(5432), all_free, || unreachable!()).unwrap();
        assert_eq!(
            ports,
            Ports {
                pooler: 5432,
                direct: 5433
            }
        );
        let ports = chosen(PortChoice::At(5432), |port| port != 5433, || Ok(40_000)).unwrap();
        assert_eq!(
            ports,
            Ports {
                pooler: 5432,
                direct: 40_000
            }
        );
        let ports = chosen(PortChoice::At(u16::MAX), all_free, || Ok(40_000)).unwrap();
        assert_eq!(
            ports,
            Ports {
                pooler: u16::MAX,
                direct: 40_000
            }
        );
    }

    #[test]
    fn the_two_doors_never_share_a_port() {
        let offers = RefCell::new(vec![40_001, 40_000, 40_000]);
        let offer = || Ok(offers.borrow_mut().pop().unwrap());
        let ports = chosen(PortChoice::Any, |_port| false, offer).unwrap();
        assert_eq!(
            ports,
            Ports {
                pooler: 40_000,
                direct: 40_001
            }
        );
    }

    #[test]
    fn a_listener_on_either_loopback_takes_the_port() {
        let port = any_free().unwrap();
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(matches!(
            choose(PortChoice::At(port)),
            Err(PortError::InUse { .. })
        ));
        drop(v4);
        if let Ok(_v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
            assert!(matches!(
                choose(PortChoice::At(port)),
                Err(PortError::InUse { .. })
            ));
        }
    }

    #[test]
    fn a_taken_port_is_named_with_its_holder() {
        let error = PortError::InUse {
            port: 5432,
            by: Some("container pg".to_owned()),
        };
        assert_eq!(
            error.to_string(),
            "port 5432 on localhost is already in use by container pg\nHINT: choose another with --port, or stop what listens there"
        );
    }
}
