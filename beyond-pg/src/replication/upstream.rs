//! How a machine reaches the other members of its cluster, and what it asks them.
//!
//! The password is in a file on tmpfs (mode 0600, of the account that reads it) and nowhere else: a standby's
//! file stays, since Postgres reads it whenever it connects again, any other goes with its guard.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;

use crate::conf;
use crate::fx::clock;
use crate::fx::exec::{ExecError, Program};
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::replication::members::Member;
use crate::settings::{Conninfo, REPLICATION_ROLE, Role, Secret, StandbyName};
use crate::sys::user::Account;

/// How long a member may take to answer.
const ANSWER: Duration = Duration::from_secs(15);

/// The owner of a standby's password file: Postgres itself.
pub(crate) const STANDBY: &str = "standby";
/// The same of what is asked before a primary opens.
const MEMBERS: &str = "members";

#[derive(Debug, Error)]
pub(crate) enum UpstreamError {
    #[error("asking the primary")]
    Ask(#[from] ExecError),
    #[error("a member of the cluster did not answer within {} s", ANSWER.as_secs())]
    Silent,
    #[error("a member's answer is not what was asked for")]
    Answer(#[from] serde_json::Error),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// The members of a cluster, as one of them reaches the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upstream {
    conninfo: Conninfo,
    name: String,
    passfile: PathBuf,
}

impl Upstream {
    /// Of a standby.
    pub(crate) fn of_standby(layout: &Layout, primary: &Conninfo, name: &StandbyName) -> Upstream {
        Upstream {
            conninfo: primary.clone(),
            name: name.as_str().to_owned(),
            passfile: layout.passfile(STANDBY),
        }
    }

    /// Of whoever follows, by its role.
    pub(crate) fn of(layout: &Layout, role: &Role) -> Option<Upstream> {
        match role {
            Role::Replica { primary, name, .. } => {
                Some(Upstream::of_standby(layout, primary, name))
            }
            Role::Single | Role::Primary { .. } | Role::Sink { .. } => None,
        }
    }

    /// Of one that would write, with its password for as long as the guard lives.
    pub(crate) fn of_writer(
        layout: &Layout,
        owner: Account,
        members: &Conninfo,
        password: &Secret,
    ) -> Result<(Upstream, PassFile), FsError> {
        let passfile = layout.passfile(MEMBERS);
        let line = passfile_line(password);
        fs::write_atomic(&passfile, line.as_bytes(), 0o600, owner)?;
        let upstream = Upstream {
            conninfo: members.clone(),
            name: "beyond_pg_members".to_owned(),
            passfile: passfile.clone(),
        };
        Ok((upstream, PassFile(passfile)))
    }

    /// As libpq reads it: what the operator wrote wins over the first part, and nothing over the last. The
    /// database is for whoever synchronizes logical slots; of several hosts the primary is meant.
    pub(crate) fn conninfo(&self) -> String {
        format!(
            "user={REPLICATION_ROLE} dbname=postgres connect_timeout=5 target_session_attrs=primary {} application_name={} passfile={}",
            self.conninfo.as_str(),
            self.name,
            self.passfile.display(),
        )
    }

    /// The slot of this standby.
    pub(crate) fn slot(&self) -> String {
        slot_of(&self.name)
    }

    /// Asks the primary.
    pub(crate) async fn primary(
        &self,
        layout: &Layout,
        owner: Account,
    ) -> Result<Member, UpstreamError> {
        self.ask(layout, owner, "").await
    }

    /// Asks each member, whatever it is: one after the other in the line, all at once.
    pub(crate) async fn everybody(
        &self,
        layout: &Layout,
        owner: Account,
    ) -> Vec<Result<Member, UpstreamError>> {
        let hosts = self.conninfo.each_host().into_iter();
        let asked = hosts.map(async |host| {
            let whom = format!(" {host} target_session_attrs=any");
            self.ask(layout, owner, &whom).await
        });
        join_all(asked).await
    }

    async fn ask(
        &self,
        layout: &Layout,
        owner: Account,
        whom: &str,
    ) -> Result<Member, UpstreamError> {
        let (instance, slot) = (conf::INSTANCE, self.slot());
        // While it follows, the checkpoint of its control file may be of the timeline before.
        let text = self
            .sql(
                layout,
                owner,
                whom,
                &format!(
                    "SELECT json_build_object(\
                     'system_id', (SELECT system_identifier::text FROM pg_control_system()), \
                     'instance_id', nullif(current_setting('{instance}', true), ''), \
                     'in_recovery', follows, \
                     'timeline', CASE WHEN follows THEN (SELECT greatest(timeline_id, min_recovery_end_timeline) \
                         FROM pg_control_checkpoint(), pg_control_recovery()) \
                         ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, \
                     'flushed_lsn', CASE WHEN follows \
                         THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text END, \
                     'slot', (SELECT json_build_object('status', wal_status) \
                         FROM pg_replication_slots WHERE slot_name = '{slot}')) \
                     FROM pg_is_in_recovery() AS follows"
                ),
            )
            .await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Makes this standby's slot on the primary, in place of one that is lost.
    pub(crate) async fn make_slot(
        &self,
        layout: &Layout,
        owner: Account,
        primary: &Member,
    ) -> Result<(), UpstreamError> {
        let slot = self.slot();
        match &primary.slot {
            Some(there) if !there.is_lost() => return Ok(()),
            Some(_lost) => {
                let drop_it = format!("SELECT pg_drop_replication_slot('{slot}')");
                self.sql(layout, owner, "", &drop_it).await?;
            }
            None => {}
        }
        let make = format!("SELECT pg_create_physical_replication_slot('{slot}', true)");
        self.sql(layout, owner, "", &make).await?;
        tracing::info!(
            "made the replication slot {slot} on instance {}",
            primary.name()
        );
        Ok(())
    }

    async fn sql(
        &self,
        layout: &Layout,
        owner: Account,
        whom: &str,
        statement: &str,
    ) -> Result<String, UpstreamError> {
        let program = cluster::program(layout, "psql", owner)
            .args(["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-c"])
            .arg(statement)
            .arg("-d")
            .arg(format!("{}{whom}", self.conninfo()));
        match clock::within(ANSWER, program.run()).await {
            Some(answer) => Ok(answer?),
            None => Err(UpstreamError::Silent),
        }
    }

    /// `pg_basebackup` into the staging folder, its WAL where `pg_wal` will point.
    pub(crate) fn base_backup(&self, layout: &Layout, owner: Account) -> Program {
        cluster::program(layout, "pg_basebackup", owner)
            .arg("-D")
            .arg(layout.seed_staging())
            .arg("--waldir")
            .arg(layout.wal())
            .args([
                "--wal-method=stream",
                "--checkpoint=fast",
                "--no-manifest",
                "--no-password",
                // The whole file system is flushed once, before the rename.
                "--no-sync",
                "--slot",
            ])
            .arg(self.slot())
            .arg("-d")
            .arg(self.conninfo())
    }

    /// `pg_rewind` of PGDATA. It recovers a volume that was not shut down, with this image's configuration.
    pub(crate) fn rewind(&self, layout: &Layout, owner: Account) -> Program {
        cluster::program(layout, "pg_rewind", owner)
            .arg("-D")
            .arg(layout.pgdata())
            .arg(format!("--source-server={}", self.conninfo()))
            .arg(format!(
                "--config-file={}",
                layout.postgres_conf().display()
            ))
            .args(["--no-sync"])
    }
}

/// The slot of a standby of that name.
pub(crate) fn slot_of(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// What libpq reads.
pub(crate) fn passfile_line(password: &Secret) -> String {
    let escaped = password.expose().replace('\\', "\\\\").replace(':', "\\:");
    format!("*:*:*:*:{escaped}\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_wrote_wins_over_our_defaults_and_not_over_the_name() {
        let layout = Layout::new("/");
        let given = Conninfo::parse("host=a,b port=5433,5433 sslmode=require").unwrap();
        let name = StandbyName::parse("i-B1").unwrap();
        let upstream = Upstream::of_standby(&layout, &given, &name);
        assert_eq!(
            upstream.conninfo(),
            "user=beyond_replication dbname=postgres connect_timeout=5 target_session_attrs=primary \
             host=a,b port=5433,5433 sslmode=require application_name=i-B1 \
             passfile=/run/beyond-pg/pgpass.standby"
        );
        assert_eq!(upstream.slot(), "i_b1");
    }

    #[test]
    fn a_password_is_escaped_as_libpq_reads_it() {
        assert_eq!(
            passfile_line(&Secret::new(r"a:b\c d")),
            "*:*:*:*:a\\:b\\\\c d\n"
        );
    }
}
