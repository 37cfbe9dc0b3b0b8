//! The platform on a laptop: metadata, volumes, machines.
//!
//! The binary `fake-substrate` is a thin command line over this library; the scenarios in `e2e`
//! start their machines through the same modules, so that what is tested is what `up` does.

pub mod admin;
pub mod mmds;
pub mod progress;
pub mod serve;
