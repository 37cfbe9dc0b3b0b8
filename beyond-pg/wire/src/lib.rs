//! Every byte that crosses between a machine and its platform.
//!
//! The leaf of the workspace: `beyond-pg` speaks these formats from inside the machine and
//! `fake-substrate` from outside, so neither has to import the other. No I/O, no clock and no
//! sockets live here; a reader hands in bytes and gets values back. `docs/wire.md` is the
//! prose, `golden/*.hex` the bytes.

pub mod frame;
pub mod log;
pub mod lsn;
mod message_pack;
pub mod ports;
pub mod prefix;
pub mod rpc;
pub mod sink;

pub use message_pack::MessagePackError;
