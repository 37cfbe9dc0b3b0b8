//! What the kernel says about this machine's interfaces.

use std::net::Ipv4Addr;

use nix::ifaddrs::getifaddrs;

/// The IPv4 addresses of every interface that is configured right now.
///
/// An error of `getifaddrs(3)` yields no address: then the metadata service, which is reachable
/// from link-local addresses alone, is not asked, and that is the safe side (contract 9).
fn ipv4_addresses() -> Vec<Ipv4Addr> {
    match getifaddrs() {
        Ok(interfaces) => interfaces
            .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
            .collect(),
        Err(errno) => {
            tracing::warn!("getifaddrs failed ({errno}): taken as having no link-local address");
            Vec::new()
        }
    }
}

/// The address from which 169.254.169.254 is a neighbour.
pub(crate) fn link_local() -> Option<Ipv4Addr> {
    ipv4_addresses().into_iter().find(Ipv4Addr::is_link_local)
}

/// Whether this machine has such an address.
///
/// Without one a packet to 169.254.169.254 leaves by the default route and, on a cloud host, reaches
/// the cloud's own metadata service.
pub(crate) fn has_link_local() -> bool {
    link_local().is_some()
}
