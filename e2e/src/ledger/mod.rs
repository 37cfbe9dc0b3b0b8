//! The ledger: what was acknowledged, written down outside of the database, and held against it later.
//!
//! ```text
//! transaction ─► writers ─► database ─► found ─┐
//!                   └─────► book ──────────────┴─► verdict
//! ```
//!
//! By hand against any Postgres: `cargo run -p e2e --bin ledger`; on machines that are broken meanwhile: `soak`.
//! A scenario with many clients has them write into such a book (`clients`); one that has a single writer and goes on
//! in the same process counts in memory (`counting`).

pub(crate) mod bank;
pub(crate) mod book;
pub mod by_hand;
mod clients;
mod counting;
pub(crate) mod entry;
pub(crate) mod found;
pub(crate) mod transaction;
pub(crate) mod verdict;
pub(crate) mod writers;

pub use clients::{Acknowledged, Clients, Mark, Tally};
pub use counting::{Ledger, Promise};
