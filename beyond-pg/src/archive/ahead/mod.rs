//! Working ahead of Postgres' archiver, which hands over one segment at a time and waits for it: object
//! storage answers late and takes much at once, so what decides is how many requests are under way.
//!
//! ```text
//! Postgres ── beyond-pg archive %p %f ──► PID 1's child `beyond-pg archive-ahead`
//!                 one segment, one question     └► that segment and those that are ready behind it
//! ```
//!
//! It keeps the client, its connections and whose archive this is; the command keeps its promise: it
//! succeeds when this segment is in the archive. What was put ahead and is never asked for costs nothing: the same
//! segment again is found there by its content. Nobody depends on the process: a command whose
//! question is not answered does it itself. `restore_command` is the same the other way round.

mod child;
mod fetched;
mod process;
mod queue;
mod talk;

pub(crate) use child::Child;
pub(crate) use process::run;
pub(crate) use talk::{Answer, Question, ask};
