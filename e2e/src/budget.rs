//! How long anything may take, each with a name that the failure tells.
//!
//! Generous on purpose: they are for a loaded two-core machine, and nothing here is a measurement.
//! A budget that runs out means that the thing does not happen at all.

use std::time::Duration;

pub use fake_substrate::until::Budget;

const fn budget(name: &'static str, seconds: u64, every_ms: u64) -> Budget {
    Budget {
        name,
        limit: Duration::from_secs(seconds),
        every: Duration::from_millis(every_ms),
    }
}

/// A first boot: initdb and every extension, several machines at a time.
pub const READY: Budget = budget("ready", 180, 100);
/// Servers that were killed run again and let clients in.
pub const COMES_BACK: Budget = budget("comes back", 60, 100);
/// A line appears in a machine's log.
pub const SPEAKS: Budget = budget("speaks", 60, 100);
/// A machine, a client or a connection ends.
pub const ENDS: Budget = budget("ends", 90, 100);
/// A command that a machine was asked for is answered.
pub const ANSWERS: Budget = budget("answers", 150, 100);
/// What a person would call at once.
pub const SOON: Budget = budget("soon", 30, 50);

/// Something goes on beside a story for as long as that takes.
pub const STORY: Budget = budget("story", 600, 200);

/// What contract 8 gives a machine to shut down in: Docker kills it when it takes longer, and then
/// the stop was not clean.
pub const STOP: Duration = Duration::from_secs(30);
