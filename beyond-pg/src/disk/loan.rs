//! A little of the reserve file for whoever cannot even log in.
//!
//! A backend that finds no cache of its catalogs writes one before it lets its session in. On a volume
//! without a byte left that is a FATAL for everybody: the operator who would make room, and PID 1. As
//! Postgres runs on, no start of it releases the reserve file; or one did, and that room is gone, too.

use super::observe;
use crate::fx::fs;
use crate::layout::Layout;
use crate::supervise::chain;

/// What the C library says of a volume that is full, and Postgres and PgBouncer repeat.
const OUT_OF_ROOM: &str = "No space left on device";

/// Lends, when that is what kept a session out: `words` are why it was. Best effort, and tried again
/// with each session that is kept out.
pub(crate) fn lend_to_sessions(layout: &Layout, words: &str) {
    if !words.contains(OUT_OF_ROOM) {
        return;
    }
    let left = match observe(layout) {
        Ok(volume) => volume.reserve_after_a_loan(),
        Err(error) => return tracing::error!("{}", chain(&error)),
    };
    let Some(left) = left else {
        return;
    };
    match fs::shrink(&layout.reserve(), left) {
        Ok(()) => tracing::warn!(
            "shrank the reserve file to {} MB: without it nobody can log in to make room",
            left >> 20
        ),
        Err(error) => tracing::error!("{}", chain(&error)),
    }
}
