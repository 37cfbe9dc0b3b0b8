//! Where a machine and its platform meet: ports, context ids, the metadata address.
//!
//! A literal `5433` anywhere else is a second opinion about the contract.

use std::net::Ipv4Addr;

/// Where clients log in: the pooler (contract 6).
pub const POOLER: u16 = 5432;

/// Postgres itself, past the pooler (E-003).
pub const DIRECT: u16 = 5433;

/// Where a WAL sink serves what it holds, over HTTP.
pub const SINK: u16 = 5434;

/// Vsock port on the host that every machine dials once and keeps: readiness, heartbeats and
/// log lines share that connection (contract 9, facts 53).
pub const HOST_LINK: u32 = 52;

/// Vsock port in the machine where the host sends control requests (contract 9).
pub const CONTROL_RPC: u32 = 5430;

/// The host's vsock context id, as every hypervisor numbers it.
pub const HOST_CID: u32 = 2;

/// Where a machine finds its metadata service. In a container the same address plays
/// [`HOST_CID`], because AF_VSOCK is not namespaced (contract 9).
pub const METADATA_ADDR: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The metadata service's TCP port.
pub const METADATA: u16 = 80;
