//! Which certificate the servers present, and making one where nobody gave us any (I-001, I-004).
//!
//! ```text
//! PGDATA/beyond/server.* .user-managed ─┐
//! /run/beyond/tls/*.pem the platform's ─┼─ facts ─► source ─► install ─► /run/beyond-pg/tls/current
//! PGDATA/beyond/server.*       our own ─┘   read,    which     copy,      ▲
//!                                            check    wins      one rename │ both servers read here
//! ```
//!
//! `pair` says whether files are fit, `source` which win; `facts` reads, `install` writes, and
//! `watch` does all of it again while the machine runs.

pub(crate) mod facts;
pub(crate) mod install;
pub(crate) mod pair;
pub(crate) mod self_signed;
pub(crate) mod source;
pub(crate) mod watch;
