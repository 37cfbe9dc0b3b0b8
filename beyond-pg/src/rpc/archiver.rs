//! What becomes of finished WAL segments, and `archive_now`.
//!
//! `archive_command` is ours unless the user has set another, and ours without a target only records
//! what goes by (contract 10): to call that archived would be a lie.

use std::time::Duration;

use tokio_postgres::types::PgLsn;
use wire::rpc::Response;

use crate::conf::archive_command;
use crate::fx::clock;
use crate::layout::Layout;
use crate::postgres::session::Session;
use crate::rpc::commands::{CommandError, session};
use crate::rpc::desk::{Desk, Told};
use crate::rpc::lsn;

/// How long the archiver may take for what waits. It tries a segment three times in a row, then
/// rests for a minute.
const ARCHIVED: Duration = Duration::from_secs(60);
/// How long to wait for one's turn: with the session and the wait above it stays within the deadline
/// that the schema tells, so that an answer can always carry the LSN.
const TURN: Duration = Duration::from_secs(30);
/// So many files wait when the archive does not keep up: half a gigabyte.
const BEHIND: u64 = 32;
/// Between two looks at the archiver.
const GLANCE: Duration = Duration::from_millis(100);

/// Who keeps finished segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    /// None does, for this reason.
    Nobody(&'static str),
    /// We do, at the archive target.
    Target,
    /// A command or library of the user's own.
    User,
}

/// The settings that decide it.
#[derive(Debug, Clone, Copy)]
struct Decisive<'a> {
    mode: &'a str,
    command: &'a str,
    library: &'a str,
}

impl Keeper {
    fn of(set: Decisive<'_>, ours: &str, has_target: bool) -> Keeper {
        match (set.mode, set.library, set.command) {
            ("off", _, _) => Keeper::Nobody("archive_mode is off"),
            (_, library, _) if !library.is_empty() => Keeper::User,
            (_, _, "") => Keeper::Nobody("archive_command is empty"),
            (_, _, command) if command != ours => Keeper::User,
            _ if has_target => Keeper::Target,
            _ => Keeper::Nobody("there is no archive target"),
        }
    }

    /// As `health` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Keeper::Nobody(_) => "nobody",
            Keeper::Target => "target",
            Keeper::User => "user",
        }
    }
}

/// What Postgres knows of its archiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archiver {
    pub(super) keeper: Keeper,
    pub(super) last_segment: Option<String>,
    pub(super) last_at: Option<i64>,
    pub(super) failures: u64,
    pub(super) last_failed_segment: Option<String>,
    pub(super) last_failed_at: Option<i64>,
    /// WAL files that are finished and not archived.
    pub(super) waiting: u64,
}

impl Archiver {
    pub(super) async fn ask(
        session: &Session,
        layout: &Layout,
        has_target: bool,
    ) -> Result<Archiver, tokio_postgres::Error> {
        let query = "SELECT current_setting('archive_mode'), current_setting('archive_command'), \
                     current_setting('archive_library'), \
                     last_archived_wal, extract(epoch FROM last_archived_time)::bigint, \
                     failed_count, last_failed_wal, extract(epoch FROM last_failed_time)::bigint, \
                     (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') \
                     FROM pg_stat_archiver";
        let row = session.query_one(query, &[]).await?;
        let set = Decisive {
            mode: row.get(0),
            command: row.get(1),
            library: row.get(2),
        };
        let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
        Ok(Archiver {
            keeper: Keeper::of(set, &archive_command(layout), has_target),
            last_segment: row.get(3),
            last_at: row.get(4),
            failures: count(5),
            last_failed_segment: row.get(6),
            last_failed_at: row.get(7),
            waiting: count(8),
        })
    }

    /// What is wrong, when the last try failed or the archive does not keep up. `said` is what our own
    /// command said of it.
    pub(super) fn concern(&self, said: Option<&str>) -> Option<String> {
        let waiting = self.waiting;
        if let Some(segment) = self.failing() {
            let said = said.unwrap_or("HINT: the log has what archive_command said");
            return Some(format!(
                "WAL is not archived and {waiting} files wait: the last try failed, of {segment}\n{said}"
            ));
        }
        (waiting >= BEHIND).then(|| {
            format!(
                "the archive falls behind: {waiting} files wait\n\
                 HINT: WAL is written faster than the way to the archive takes it; what waits fills the volume"
            )
        })
    }

    fn failing(&self) -> Option<&str> {
        let (segment, failed_at) = (self.last_failed_segment.as_ref()?, self.last_failed_at?);
        let failing = self.waiting > 0 && self.last_at.is_none_or(|last| last <= failed_at);
        failing.then_some(segment.as_str())
    }
}

/// What came of the wait for a segment.
enum Wait {
    Archived,
    /// A try has failed since, of this WAL file.
    Failed(String),
}

/// Ends the current segment and waits until it is archived. On a machine that has written nothing
/// since the last one, Postgres ends none (facts A 26); then it is about that last one.
pub(super) async fn archive_now(desk: &Desk, told: &Told) -> Result<Response, CommandError> {
    let turn = clock::within(TURN, desk.work.acquire()).await;
    let Some(_turn) = turn else {
        return Ok(Response::refused(format!(
            "archive_now has waited {} s for a command that is under way; nothing was done\n\
             HINT: ask again",
            TURN.as_secs()
        )));
    };
    let session = session(desk).await?;
    let before = Archiver::ask(&session, &desk.layout, told.archive_target.is_some()).await?;
    if let Keeper::Nobody(reason) = before.keeper {
        return Ok(Response::refused(format!(
            "nothing is archived: {reason}; nothing was done\n\
             HINT: set BEYOND_PG_ARCHIVE_TARGET, or an archive_command of your own in 99-user.conf"
        )));
    }
    // Both when a segment was ended and when there was nothing to end, what lies right before the
    // position that comes back is the last segment that is over.
    let query = "SELECT ended, pg_walfile_name(ended - 1) FROM pg_switch_wal() AS ended";
    let row = session.query_one(query, &[]).await?;
    let (ended, segment): (PgLsn, String) = (row.get(0), row.get(1));
    let waited = clock::within(ARCHIVED, archived(&session, &segment, before.failures)).await;
    let error = match waited {
        Some(Err(error)) => Some(format!("asking Postgres for its archiver: {error}")),
        Some(Ok(Wait::Archived)) => None,
        Some(Ok(Wait::Failed(failed))) => Some(format!(
            "archive_command failed for {failed}; Postgres goes on trying\n\
             HINT: the log has what it said; mend it and ask again"
        )),
        None => Some(format!(
            "{segment} is not archived after {} s; Postgres goes on trying\n\
             HINT: ask again, or see `archive` in `health`",
            ARCHIVED.as_secs()
        )),
    };
    Ok(Response {
        ok: error.is_none(),
        error,
        lsn: Some(lsn(ended)),
        segment: Some(segment),
        ..Response::default()
    })
}

/// A finished segment waits as `NAME.ready` until it is archived; the file is there before
/// `pg_switch_wal` returns.
async fn archived(
    session: &Session,
    segment: &str,
    failures: u64,
) -> Result<Wait, tokio_postgres::Error> {
    let query = "SELECT failed_count, coalesce(last_failed_wal, ''), EXISTS ( \
                     SELECT FROM pg_ls_archive_statusdir() WHERE name = $1 || '.ready') \
                 FROM pg_stat_archiver";
    loop {
        let row = session.query_one(query, &[&segment]).await?;
        if !row.get::<_, bool>(2) {
            return Ok(Wait::Archived);
        }
        if u64::try_from(row.get::<_, i64>(0)).unwrap_or(0) > failures {
            return Ok(Wait::Failed(row.get(1)));
        }
        clock::pause(GLANCE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "/usr/local/bin/beyond-pg archive %p %f";

    fn keeper(mode: &str, command: &str, library: &str, has_target: bool) -> Keeper {
        let set = Decisive {
            mode,
            command,
            library,
        };
        Keeper::of(set, OURS, has_target)
    }

    #[test]
    fn our_own_command_keeps_nothing_without_a_target() {
        let nobody = Keeper::Nobody("there is no archive target");
        assert_eq!(keeper("on", OURS, "", false), nobody);
        assert_eq!(keeper("on", OURS, "", true), Keeper::Target);
    }

    #[test]
    fn a_command_or_library_of_the_users_own_is_the_users() {
        assert_eq!(keeper("on", "cp %p /a/%f", "", false), Keeper::User);
        assert_eq!(keeper("always", "cp %p /a/%f", "", true), Keeper::User);
        assert_eq!(keeper("on", OURS, "basic_archive", true), Keeper::User);
    }

    #[test]
    fn an_archiver_that_is_switched_off_keeps_nothing() {
        let off = Keeper::Nobody("archive_mode is off");
        assert_eq!(keeper("off", "cp %p /a/%f", "", true), off);
        let paused = Keeper::Nobody("archive_command is empty");
        assert_eq!(keeper("on", "", "", true), paused);
    }

    #[test]
    fn an_archiver_is_a_concern_while_files_wait_behind_a_failure() {
        let failing = Archiver {
            keeper: Keeper::User,
            last_segment: Some("000000010000000000000001".into()),
            last_at: Some(10),
            failures: 3,
            last_failed_segment: Some("000000010000000000000002".into()),
            last_failed_at: Some(20),
            waiting: 2,
        };
        assert_eq!(
            failing.concern(None).unwrap(),
            "WAL is not archived and 2 files wait: the last try failed, of \
             000000010000000000000002\nHINT: the log has what archive_command said"
        );
        let words = failing.concern(Some("403 AccessDenied")).unwrap();
        assert!(
            words.ends_with("000000010000000000000002\n403 AccessDenied"),
            "{words}"
        );
        let mended = Archiver {
            last_at: Some(21),
            ..failing.clone()
        };
        assert_eq!(mended.concern(None), None);
        let behind = Archiver {
            waiting: BEHIND,
            ..mended
        };
        let words = behind.concern(None).unwrap();
        assert!(
            words.starts_with("the archive falls behind: 32 files"),
            "{words}"
        );
        let caught_up = Archiver {
            waiting: 0,
            ..failing.clone()
        };
        assert_eq!(caught_up.concern(None), None);
        let never_failed = Archiver {
            last_failed_segment: None,
            last_failed_at: None,
            ..failing
        };
        assert_eq!(never_failed.concern(None), None);
    }
}
