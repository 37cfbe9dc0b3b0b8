//! The platform on a laptop: metadata, volumes, machines.
//!
//! The binary `fake-substrate` is a thin command line ([`cli`]) over this library; the scenarios in `e2e`
//! start their machines through the same modules, so that what is tested is what `up` does.

pub mod admin;
pub mod authority;
pub mod backend;
pub mod certificates;
pub mod cli;
pub mod command;
pub mod docker;
pub mod doctor;
pub mod fault;
pub mod hosts;
pub mod image;
pub mod labels;
pub mod link;
pub mod link_local;
pub mod lock;
pub mod login;
pub mod machine;
pub mod mmds;
pub mod names;
pub mod owner;
pub mod page;
pub mod ports;
pub mod progress;
pub mod s3;
pub mod serve;
pub mod substrate;
pub mod telling;
pub mod until;
pub mod volume;
