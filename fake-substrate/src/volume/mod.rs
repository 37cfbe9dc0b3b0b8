//! A machine's disk: what can be done to one beside attaching it.
//!
//! `copy` is the backend that works everywhere: a volume is a folder tree of Docker's, a fork is a copy
//! of it taken while every process of the machine stands still. It promises what a process crash leaves:
//! pages that were written and never flushed survive in the copy, which no power cut would grant.

pub(crate) mod copy;
