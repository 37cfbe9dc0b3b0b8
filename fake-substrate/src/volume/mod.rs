//! A machine's disk: what can be done to one beside attaching it. Two backends.
//!
//! `copy` is the one that works everywhere: a volume is a folder tree of Docker's, a fork is a copy of it
//! taken while every process of the machine stands still. It promises what a process crash leaves: pages
//! that were written and never flushed survive in the copy, which no power cut would grant.
//!
//! The others are the platform's block store in miniature (`store`, `host`, `front`, `daemon`).

pub mod backing;
pub(crate) mod copy;
pub mod daemon;
pub mod front;
pub mod host;
pub mod name;
pub mod store;
pub mod trouble;

pub use name::VolumeName;
