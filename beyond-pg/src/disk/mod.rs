//! A volume that fills up, and what the machine does about it (contract 8).
//!
//! `volume` is arithmetic and says what of the reserve file is whose, `ladder` decides the stage, `watch` looks and
//! acts, `loan` helps who cannot log in. Nothing here ever touches WAL: what makes room is the reserve file alone,
//! and whatever the operator deletes.

mod ladder;
mod loan;
mod volume;
mod watch;
mod words;

pub(crate) use loan::lend_to_sessions;
pub(crate) use volume::{Volume, VolumeError, observe};
pub(crate) use watch::Watch;
