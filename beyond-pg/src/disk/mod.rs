//! A volume that fills up, and what the machine does about it (contract 8).
//!
//! `volume` is arithmetic, `ladder` decides, `watch` looks and acts. Nothing here ever touches WAL:
//! what makes room is the reserve file alone, and whatever the operator deletes.

mod ladder;
mod volume;
mod watch;
mod words;

pub(crate) use volume::{Volume, VolumeError, observe};
pub(crate) use watch::Watch;
