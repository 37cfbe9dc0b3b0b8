//! Volumes: the platform's block store in miniature.

pub mod backing;
pub mod daemon;
pub mod front;
pub mod host;
pub mod name;
pub mod store;

pub use name::VolumeName;
