//! One machine of a substrate: what it is made of, which states it goes through, and the handle
//! by which the command line and the scenarios hold it.

mod handle;
pub mod metadata;
pub mod size;
pub mod spec;
pub mod state;

pub use handle::{Change, Machine, MachineError, NotReady, View};
