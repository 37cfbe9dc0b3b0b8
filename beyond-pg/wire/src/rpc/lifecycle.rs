//! What a machine is doing, as far as a command cares.
//!
//! ```text
//!            the disk is ready        a client's login works
//!  Booting ───────────────────► Starting ──────────────────► Ready ◄──────┐
//!     │                            │          a server ended  │ │         │ a client's
//!     │                            │             by itself    │ ▼         │ login works
//!     │ a stop is                  │ a stop is                │ Restarting┘
//!     ▼ asked for                  ▼ asked for                ▼  │
//!  the machine ends             Stopping ◄────────────────────┴──┘
//! ```
//!
//! That Postgres replays WAL is no state of its own: it happens within `Starting`, within
//! `Restarting`, and on a replica within `Ready`, and no command is treated differently for it.
//! `health` says it beside the state.

use std::fmt;

/// The states, in the order in which a machine first meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifecycle {
    /// Settings are sought or the disk is made ready; there is no server.
    Booting,
    /// The servers are on their way up, for the first time since this boot.
    Starting,
    /// Clients get in.
    Ready,
    /// Clients got in before; a server has ended and is on its way up again.
    Restarting,
    /// A stop was asked for.
    Stopping,
}

impl Lifecycle {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Booting,
        Self::Starting,
        Self::Ready,
        Self::Restarting,
        Self::Stopping,
    ];

    /// As `health` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
        }
    }

    /// For an operator.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Booting => "settings are sought or the disk is made ready; there is no server",
            Self::Starting => "the servers are on their way up for the first time since this boot",
            Self::Ready => "clients get in",
            Self::Restarting => {
                "clients got in before; a server has ended and is on its way up again"
            }
            Self::Stopping => "a stop was asked for",
        }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
