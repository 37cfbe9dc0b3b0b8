//! One machine of a substrate: what it is made of, which states it goes through, and the handle
//! by which the command line and the scenarios hold it.

pub mod disk;
mod error;
mod handle;
mod handle_disk;
mod last_lines;
pub mod metadata;
mod readiness;
mod resize;
pub mod size;
pub mod spec;
pub mod state;
mod view;

pub use error::{MachineError, NotReady};
pub use handle::Machine;
pub use last_lines::LastLines;
pub use resize::{Resize, Resized};
pub use view::{Change, View};
