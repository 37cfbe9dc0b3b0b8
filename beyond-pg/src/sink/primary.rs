//! What a sink asks its primary, and makes there: a slot, as the role that may do nothing else.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use wire::lsn::Lsn;

use crate::conf;
use crate::fx::clock;
use crate::fx::exec::{ExecError, Program};
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::settings::{self, Conninfo, REPLICATION_ROLE, Secret};
use crate::sys::user::Account;

/// How long the primary may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

#[derive(Debug, Error)]
pub(crate) enum PrimaryError {
    #[error("asking the primary")]
    Ask(#[from] ExecError),
    #[error("the primary did not answer within {} s", ANSWER.as_secs())]
    Silent,
    #[error("the primary's answer is not what was asked for")]
    Answer(#[from] serde_json::Error),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// The primary at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Look {
    pub(crate) system_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) segment_bytes: u64,
    /// Where its crash recovery would begin.
    pub(crate) redo_lsn: Lsn,
    /// The end of what it has flushed itself.
    pub(crate) flush_lsn: Lsn,
    pub(crate) slot: Option<Slot>,
}

/// What keeps WAL for this sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Slot {
    pub(crate) active: bool,
    pub(crate) status: Option<String>,
    /// The oldest that it keeps; a lost one keeps nothing.
    pub(crate) restart_lsn: Option<Lsn>,
}

impl Slot {
    /// It keeps nothing any more, and never will again (facts A 22).
    pub(crate) fn is_lost(&self) -> bool {
        self.status.as_deref() == Some("lost")
    }
}

/// How to reach it.
#[derive(Clone, Copy)]
pub(crate) struct Primary<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) owner: Account,
    pub(crate) conninfo: &'a Conninfo,
    pub(crate) password: &'a Secret,
}

const PSQL: &str = "psql";
/// What the primary calls a session that does not count as the sink's.
const OBSERVER: &str = "beyond_pg_sink";

/// The name of the slot, and of the standby whose word counts.
pub(crate) const NAME: &str = settings::Sink::STANDBY;

impl Primary<'_> {
    pub(crate) async fn look(&self) -> Result<Look, PrimaryError> {
        let instance = conf::INSTANCE;
        let text = self
            .sql(&format!(
                "SELECT json_build_object(\
                 'system_id', (SELECT system_identifier::text FROM pg_control_system()), \
                 'instance_id', nullif(current_setting('{instance}', true), ''), \
                 'segment_bytes', (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'), \
                 'redo_lsn', (SELECT redo_lsn::text FROM pg_control_checkpoint()), \
                 'flush_lsn', pg_current_wal_flush_lsn()::text, \
                 'slot', (SELECT json_build_object('active', active, 'status', wal_status, 'restart_lsn', restart_lsn::text) \
                          FROM pg_replication_slots WHERE slot_name = '{NAME}'))"
            ))
            .await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Makes the slot, in place of one that is lost.
    pub(crate) async fn make_slot(&self, replace: bool) -> Result<(), PrimaryError> {
        if replace {
            self.sql(&format!("SELECT pg_drop_replication_slot('{NAME}')"))
                .await?;
        }
        let make = format!("SELECT pg_create_physical_replication_slot('{NAME}', true)");
        self.sql(&make).await.map(drop)
    }

    /// As libpq reads it: what the operator wrote wins over the first part, and nothing over the last.
    pub(crate) fn conninfo(&self, name: &str) -> String {
        let given = self.conninfo.as_str();
        format!(
            "user={REPLICATION_ROLE} dbname=postgres connect_timeout=10 {given} application_name={name}"
        )
    }

    /// A program of the server's version that finds the password in a file.
    pub(crate) fn program(&self, name: &str) -> Program {
        cluster::program(self.layout, name, self.owner)
            .env("PGPASSFILE", self.layout.passfile(name))
    }

    /// Puts the password where that program looks for it, on tmpfs, for as long as the answer lives.
    pub(crate) fn passfile(&self, program: &str) -> Result<PassFile, PrimaryError> {
        let path = self.layout.passfile(program);
        let escaped = self
            .password
            .expose()
            .replace('\\', "\\\\")
            .replace(':', "\\:");
        let line = format!("*:*:*:*:{escaped}\n");
        fs::write_atomic(&path, line.as_bytes(), 0o600, self.owner)?;
        Ok(PassFile(path))
    }

    /// The conninfo of a session whose word does not count.
    pub(crate) fn observing(&self) -> String {
        self.conninfo(OBSERVER)
    }

    async fn sql(&self, statement: &str) -> Result<String, PrimaryError> {
        let _pass = self.passfile(PSQL)?;
        let program = self
            .program(PSQL)
            .args(["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-c"])
            .arg(statement)
            .arg("-d")
            .arg(self.observing());
        match clock::within(ANSWER, program.run()).await {
            Some(answer) => Ok(answer?),
            None => Err(PrimaryError::Silent),
        }
    }
}

/// A password in a file, while it is needed.
#[derive(Debug)]
pub(crate) struct PassFile(PathBuf);

impl Drop for PassFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_if_present(&self.0) {
            tracing::error!("a password stays in {}: {error}", self.0.display());
        }
    }
}
