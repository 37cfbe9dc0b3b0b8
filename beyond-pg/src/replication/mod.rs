//! Tiers `primary` and `replica` (D-002, C-003): a second machine of the same image that follows, and
//! takes over when it is told to.
//!
//! ```text
//!   empty volume ──── base backup ───┐                     promote (RPC)
//!   copy of the primary's volume ────┼──► follows ─────────────────────────► writes
//!   a former primary ── pg_rewind ───┘      ▲   standby.signal      promoted.json │
//!                                           └───────── tier replica, and another ─┘
//!                                                      member is on a later timeline
//! ```
//!
//! - **follows**: `standby.signal` is there; the WAL comes from whichever member is the primary.
//! - **writes**: it has no signal file. Before it opens it asks the others whether one of them has gone
//!   on to a later timeline, and refuses when one has: there is never a second writer.
//!
//! `standing` decides what a machine is from its settings and the marks on its volume, `members` what the
//! others' answers mean; both are pure. `upstream` asks, `seed` makes a volume a standby's, `watch` looks
//! after a standby that runs.

pub(crate) mod census;
pub(crate) mod marks;
pub(crate) mod members;
pub(crate) mod seed;
pub(crate) mod standing;
pub(crate) mod upstream;
pub(crate) mod watch;
