//! Everything said to Postgres: how it is made, started, asked and told.

pub(crate) mod cluster;
pub(crate) mod controldata;
pub(crate) mod ensure;
pub(crate) mod login;
pub(crate) mod postmaster;
pub(crate) mod scram;
pub(crate) mod session;
pub(crate) mod two_phase;
pub(crate) mod wal_end;
