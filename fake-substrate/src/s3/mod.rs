//! Object storage as machines see it: S3 over HTTP and HTTPS, its objects in a folder.
//!
//! ```text
//! line.rs    a connection that can be reset      ─┐
//! door.rs    the faults, before anything else     │ hands
//! serve.rs   listeners, TLS                      ─┘
//! faults.rs  which request a fault meets            core
//! skew.rs    which signature is of another time     core
//! (s3s)      the protocol: signatures, XML, routes
//! store/     what S3 promises about objects
//! ```
//!
//! The protocol is `s3s`. Its companion `s3s-fs`, which keeps objects in a folder too, is not used:
//! it publishes a body before it checks the body's digest, and metadata and ETag in files of their
//! own after that; see `docs/architecture.md`.

mod body;
pub mod client;
mod door;
pub mod faults;
mod keys;
mod line;
mod serve;
mod skew;
mod store;
mod text;

pub use keys::{Keys, KeysError};
pub use serve::ObjectStorage;

/// Where it listens, at the substrate's address.
pub const PORT: u16 = 9000;
/// The same with TLS.
pub const TLS_PORT: u16 = 9443;
/// The one bucket that is there from the start.
pub const BUCKET: &str = "beyond";
/// What requests are signed for; nothing depends on it.
pub const REGION: &str = "us-east-1";
