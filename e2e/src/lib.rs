//! The scenario language: what a scenario may say, and everything that it need not say.
//!
//! ```no_run
//! # use e2e::{Outcome, scenario};
//! # async fn rows_outlive_a_crash() -> Outcome {
//! scenario(async |world| {
//!     let db = world.vm("db").boot().await?;
//!     db.sql("CREATE TABLE t AS SELECT 42 AS answer").await?;
//!     let db = db.crash().await?.boot().await?;
//!     assert_eq!(db.ask::<i32>("SELECT answer FROM t").await?, 42);
//!     Ok(())
//! })
//! # .await }
//! ```
//!
//! ```text
//! world.vm(name)  ─► Spec ─ start ─► Starting ─ ready ─► Vm
//!                      └──── boot ──────────────────────►┘ │
//!                                      │ ended, stop, crash │ stop, crash
//!                                      ▼                    ▼
//!                  with_memory, … ◄─ Stopped ◄──────────────┤ power_cut
//!                      │  ▲  └─ start, boot ─► Starting, Vm  │
//!                      │  └───────── rehome ──── Lost ◄──────┘ lose_host
//! ```
//!
//! A machine that is off, or lost, cannot be queried: that does not compile. Everything is made by
//! `fake-substrate`'s own code, the same that `up` runs, and meets beyond-pg only as an image.
//! All waiting is in [`until`], all time limits are in [`budget`].

mod acknowledgements;
mod archive;
mod artifacts;
mod backlog;
mod bare;
pub mod bench;
mod block_store;
#[cfg(feature = "browser")]
mod browser;
pub mod budget;
mod certificates;
mod client;
mod commands;
mod cut;
mod default_volumes;
pub mod disk;
mod faults;
mod filled;
mod filling;
mod guest;
mod keep;
pub mod ledger;
mod link;
mod loopback;
mod lost;
pub mod moto;
mod neighbours;
mod object_storage;
mod outage;
mod page;
mod pgbackrest;
mod plain;
mod processes;
mod psql;
mod receiver;
mod record;
mod recovering;
mod replica;
mod rpc;
mod running;
mod scenario;
mod search;
mod sink;
mod slow_disk;
pub mod soak;
mod spec;
mod sql;
mod stopped;
mod stopwatch;
pub mod until;
mod validity;
mod vm;
mod world;
mod writer;

pub use acknowledgements::Acknowledgements;
pub use archive::{ARCHIVE, archive_key, archived_by, forget_archived};
pub use artifacts::Images;
pub use backlog::{Archiver, Backlog, Plainly};
pub use bare::{Bare, Reader};
pub use block_store::{BlockStore, Disk, Volume};
#[cfg(feature = "browser")]
pub use browser::{Browser, Window};
pub use client::{Load, Output};
pub use commands::free_port;
pub use cut::{Cut, steps_in};
pub use fake_substrate::admin::LinkState;
pub use fake_substrate::certificates::{Authority, Issued, PlatformFile};
pub use fake_substrate::fault::{Guard, Party};
pub use fake_substrate::link::fault::LinkTrouble;
pub use fake_substrate::machine::state::State;
pub use fake_substrate::mmds::fault::{Garbage, MmdsTrouble};
pub use fake_substrate::s3::faults::Operation;
pub use fake_substrate::volume::store::decide::Children;
pub use fake_substrate::volume::trouble::Requests;
pub use guest::Guest;
pub use ledger::{Acknowledged, Clients, Ledger, Mark, Promise, Tally};
pub use link::Received;
pub use lost::Lost;
pub use neighbours::Neighbourly;
pub use page::Served;
pub use pgbackrest::PgBackRest;
pub use plain::{DockerRun, Plain};
pub use processes::{Given, Process};
pub use psql::Psql;
pub use record::{BootRecord, Wal};
pub use recovering::WalOf;
pub use rpc::Frozen;
pub use running::{Running, Starting};
pub use scenario::{Failed, Outcome, scenario};
pub use sink::Records;
pub use spec::Spec;
pub use sql::{Door, Session};
pub use stopped::Stopped;
pub use stopwatch::{Encrypted, Idle, timed};
pub use validity::Loaded;
pub use vm::Vm;
pub use world::World;
pub use writer::{Flood, Logging, Writer};
