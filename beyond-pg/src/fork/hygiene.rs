//! The SQL half of leaving a parent: what [`super::policy`] says, done over the private socket.

use std::path::PathBuf;

use thiserror::Error;

use super::{Journal, Part, Progress};
use crate::postgres::ensure::{
    Ensure, EnsureError, MAINTENANCE_DATABASE, Outcome, PostStart, identifier,
};
use crate::postgres::session::{Session, SessionError};
use crate::settings::Secret;

/// Settings that lead to another machine. `ALTER SYSTEM` may have set them on the parent.
const LEAD_ELSEWHERE: [&str; 10] = [
    "archive_cleanup_command",
    "archive_command",
    "archive_library",
    "primary_conninfo",
    "primary_slot_name",
    "recovery_end_command",
    "restore_command",
    "sync_replication_slots",
    "synchronized_standby_slots",
    "synchronous_standby_names",
];

#[derive(Debug, Error)]
pub(crate) enum HygieneError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Password(#[from] EnsureError),
    #[error("{tried}")]
    Sql {
        tried: String,
        source: tokio_postgres::Error,
    },
    #[error(
        "Postgres recovered and is still on timeline {0}, which is the parent's\n\
         HINT: does something take `recovery.signal` out of PGDATA?"
    )]
    SameTimeline(u32),
}

type Done = Result<(), HygieneError>;

/// What it works with.
pub(super) struct Hygiene<'a> {
    pub(super) socket: PathBuf,
    pub(super) journal: &'a Journal,
    pub(super) password: &'a Secret,
    pub(super) progress: &'a dyn Progress,
}

impl Hygiene<'_> {
    /// Does all of it, and answers with a line for each thing that was not as it should be. The server
    /// answers already, so recovery is over.
    pub(super) async fn clean(&self) -> Result<Vec<String>, HygieneError> {
        let mut changed = Vec::new();
        let session = Session::open_at(&self.socket, MAINTENANCE_DATABASE).await?;
        changed.push(self.own_timeline(&session).await?);
        self.progress.ended(Part::Recover);
        for part in [
            Part::DropSlots,
            Part::ResetSettings,
            Part::Quiet,
            Part::SetPassword,
        ] {
            self.progress.began(part);
            self.part(part, &session, &mut changed).await?;
            self.progress.ended(part);
        }
        Ok(changed)
    }

    async fn own_timeline(&self, session: &Session) -> Result<String, HygieneError> {
        let Journal {
            parent,
            child,
            timeline: parents,
        } = self.journal;
        let timeline = timeline(session).await?;
        if timeline == *parents {
            return Err(HygieneError::SameTimeline(timeline));
        }
        // It is in the control file, too, before anything else is done: a boot that is cut from here on
        // does not leave it again.
        run(session, "CHECKPOINT", "checkpoint on the new timeline").await?;
        Ok(format!(
            "left instance {parent} on timeline {parents}; this is instance {child} on timeline {timeline}"
        ))
    }

    async fn part(&self, part: Part, session: &Session, changed: &mut Vec<String>) -> Done {
        match part {
            Part::DropSlots => drop_slots(session, changed).await?,
            Part::ResetSettings => reset_settings(session, changed).await?,
            Part::Quiet => {
                report_prepared(session, changed).await?;
                for database in databases(session).await? {
                    let session = Session::open_at(&self.socket, &database).await?;
                    disable_subscriptions(&session, &database, changed).await?;
                    pause_jobs(&session, changed).await?;
                    report_unlogged(&session, &database, changed).await?;
                }
            }
            Part::SetPassword => {
                let mut ours = PostStart::at(self.socket.clone(), self.password);
                if let Outcome::Changed(what) = ours.apply(&Ensure::SuperuserPassword).await? {
                    changed.push(what);
                }
            }
            // Before and after: theirs is `leave`.
            Part::Recover | Part::Sign => {}
        }
        Ok(())
    }
}

async fn timeline(session: &Session) -> Result<u32, HygieneError> {
    let query = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)";
    let rows = ask(session, query, "asking for the timeline").await?;
    let hex: &str = rows.first().map_or("", |row| row.get(0));
    Ok(u32::from_str_radix(hex, 16).unwrap_or(0))
}

async fn databases(session: &Session) -> Result<Vec<String>, HygieneError> {
    let query = "SELECT datname::text FROM pg_database WHERE datallowconn ORDER BY 1";
    texts(session, query, "listing the databases").await
}

async fn drop_slots(session: &Session, changed: &mut Vec<String>) -> Done {
    let query = "SELECT slot_name::text FROM pg_replication_slots ORDER BY 1";
    for slot in texts(session, query, "listing the replication slots").await? {
        let tried = format!("dropping the parent's replication slot {slot}");
        session
            .execute("SELECT pg_drop_replication_slot($1)", &[&slot])
            .await
            .map_err(|source| HygieneError::Sql { tried, source })?;
        changed.push(format!("dropped the parent's replication slot {slot}"));
    }
    Ok(())
}

/// Only what `ALTER SYSTEM` wrote: a user's file is the user's.
async fn reset_settings(session: &Session, changed: &mut Vec<String>) -> Done {
    let query = "SELECT DISTINCT name FROM pg_file_settings
                 WHERE sourcefile LIKE '%/postgresql.auto.conf' AND name = ANY ($1) ORDER BY 1";
    let tried = "looking for settings that lead to the parent's peers";
    let rows = session
        .query(query, &[&LEAD_ELSEWHERE.as_slice()])
        .await
        .map_err(|source| HygieneError::Sql {
            tried: tried.to_owned(),
            source,
        })?;
    for row in rows {
        let name: &str = row.get(0);
        let reset = format!("ALTER SYSTEM RESET {}", identifier(name));
        run(session, &reset, &format!("resetting {name}")).await?;
        changed.push(format!(
            "reset {name}, which ALTER SYSTEM had set on the parent"
        ));
    }
    Ok(())
}

/// The slot's name goes as well: with it, DROP SUBSCRIPTION would drop the slot that the parent uses.
async fn disable_subscriptions(
    session: &Session,
    database: &str,
    changed: &mut Vec<String>,
) -> Done {
    let query =
        "SELECT subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
                 WHERE d.datname = current_database() AND (subenabled OR subslotname IS NOT NULL)
                 ORDER BY 1";
    for name in texts(session, query, "listing the subscriptions").await? {
        let quoted = identifier(&name);
        let tried = format!("disabling subscription {name} in {database}");
        let disable = format!("ALTER SUBSCRIPTION {quoted} DISABLE");
        run(session, &disable, &tried).await?;
        let without_slot = format!("ALTER SUBSCRIPTION {quoted} SET (slot_name = NONE)");
        run(session, &without_slot, &tried).await?;
        changed.push(format!("disabled subscription {name} in {database}"));
    }
    Ok(())
}

async fn pause_jobs(session: &Session, changed: &mut Vec<String>) -> Done {
    let there = "SELECT 'there' WHERE to_regclass('cron.job') IS NOT NULL";
    if texts(session, there, "looking for pg_cron")
        .await?
        .is_empty()
    {
        return Ok(());
    }
    // The image's own jobs look after the fork's own tables.
    let pause = "UPDATE cron.job SET active = false
                 WHERE active AND coalesce(jobname, '') NOT LIKE 'beyond-%'
                 RETURNING concat_ws(' ', jobid, jobname)";
    let mut jobs = texts(session, pause, "pausing the jobs of pg_cron").await?;
    jobs.sort_unstable();
    changed.extend(jobs.into_iter().map(|job| format!("paused cron job {job}")));
    Ok(())
}

async fn report_prepared(session: &Session, changed: &mut Vec<String>) -> Done {
    let query = "SELECT gid || ' in ' || database FROM pg_prepared_xacts ORDER BY 1";
    let found = texts(session, query, "looking for prepared transactions").await?;
    changed.extend(found.into_iter().map(|gid| {
        format!("kept prepared transaction {gid}: it holds its locks until somebody ends it")
    }));
    Ok(())
}

async fn report_unlogged(session: &Session, database: &str, changed: &mut Vec<String>) -> Done {
    let query = "SELECT c.oid::regclass::text FROM pg_class c
                 WHERE relpersistence = 'u' AND relkind = 'r' ORDER BY 1";
    let found = texts(session, query, "looking for unlogged tables").await?;
    changed.extend(
        found.into_iter().map(|table| {
            format!("emptied unlogged table {table} in {database}, as any crash does")
        }),
    );
    Ok(())
}

async fn texts(session: &Session, query: &str, tried: &str) -> Result<Vec<String>, HygieneError> {
    let rows = ask(session, query, tried).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn ask(
    session: &Session,
    query: &str,
    tried: &str,
) -> Result<Vec<tokio_postgres::Row>, HygieneError> {
    session
        .query(query, &[])
        .await
        .map_err(|source| HygieneError::Sql {
            tried: tried.to_owned(),
            source,
        })
}

async fn run(session: &Session, statement: &str, tried: &str) -> Done {
    session
        .batch_execute(statement)
        .await
        .map_err(|source| HygieneError::Sql {
            tried: tried.to_owned(),
            source,
        })
}
