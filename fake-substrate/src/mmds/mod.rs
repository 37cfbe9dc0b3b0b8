//! The metadata service, byte for byte Firecracker's (facts part 2, read at 81b38b9da).
//!
//! Cut at Firecracker's own joints: [`store`] knows JSON, size and the IMDS text form and has
//! never heard of a socket; [`token`] owns session tokens and is told the time; [`routes`] turns
//! a request head into an answer; [`http`] is the only file with a connection in it. Which
//! machine is asking, and what its document is, belongs to `serve`.

pub mod fault;
pub mod http;
pub mod routes;
pub mod store;
pub mod token;

use bytes::Bytes;

use store::Store;
use token::TokenAuthority;

/// Whether a GET needs a session token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Tokens are optional.
    V1,
    /// A GET without a valid token is a 401.
    V2,
}

/// What a machine's service serves.
#[derive(Clone)]
pub enum Contents {
    /// A document, answered as Firecracker answers it.
    Store(Store),
    /// A fault Firecracker cannot have: these bytes for every path.
    Raw(Bytes),
}

/// The metadata service as one machine sees it.
#[derive(Clone)]
pub struct Service {
    /// Whether tokens are required.
    pub version: Version,
    /// What is served.
    pub contents: Contents,
    /// Who makes and checks the tokens.
    pub tokens: TokenAuthority,
}
