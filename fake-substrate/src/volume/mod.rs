//! Volumes: the platform's block store in miniature.

pub mod backing;
pub mod host;
pub mod name;
pub mod store;

pub use name::VolumeName;
