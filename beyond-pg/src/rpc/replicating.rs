//! `promote` and `set_sync_standbys`: a machine's standing changes while it runs, and stays so.

use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use tokio_postgres::types::PgLsn;
use wire::rpc::{CommandName, Response};

use crate::conf::{self, ConfFile};
use crate::fx::clock;
use crate::fx::fs::{remove_if_present, write_atomic};
use crate::postgres::session::Session;
use crate::replication::marks;
use crate::replication::standing::{self, Marks, Promoted, PromotionEnd, SyncStandbys};
use crate::replication::upstream::STANDBY;
use crate::rpc::commands::{CommandError, session};
use crate::rpc::desk::Desk;
use crate::rpc::{lsn, policy};
use crate::settings::{Role, Settings, StandbyName, Tier};
use crate::sys::user;
use crate::wal::name;

/// How long the end of recovery may take, within the deadline of the command.
const PROMOTION: i32 = 45;
/// How long Postgres may take to follow names that were set.
const READ: Duration = Duration::from_secs(5);
/// Between two looks whether it does.
const GLANCE: Duration = Duration::from_millis(10);

impl Desk {
    /// Why a machine of that tier does not do it. One that was promoted answers as it did then.
    pub(super) fn objects(&self, command: CommandName, tier: Tier) -> Option<String> {
        let repeats = command == CommandName::Promote
            && marks::read(&self.layout).is_ok_and(|marks| self.promotion(&marks).is_some());
        match repeats {
            true => None,
            false => policy::objection(command, tier),
        }
    }

    /// What this instance's promotion came to, if it was promoted.
    fn promotion(&self, marks: &Marks) -> Option<PromotionEnd> {
        let told = self.state.borrow();
        let ours = told.settings.as_ref()?.instance_id.as_ref()?.as_str();
        let promoted = marks.promoted.as_ref()?;
        match promoted.instance == ours && !marks.follows {
            true => promoted.end,
            false => None,
        }
    }

    fn settings(&self) -> Option<Arc<Settings>> {
        self.state.borrow().settings.clone()
    }

    /// Other settings are in force from now on: for whoever asks, and for Postgres, which is told.
    fn settle(&self, settings: Settings) -> Result<(), CommandError> {
        if let Some(text) = conf::replication_text(&settings, &self.layout) {
            let file = ConfFile::Replication03;
            let (path, owner) = (file.path(&self.layout), user::postgres()?);
            write_atomic(&path, text.as_bytes(), file.mode(), owner)?;
        }
        self.state
            .send_modify(|told| told.settings = Some(Arc::new(settings)));
        self.reload.notify_one();
        Ok(())
    }
}

/// Ends recovery. The record is written before it begins, so that a boot that comes in between knows that
/// a cluster which does not follow any more was promoted, and is no former primary.
pub(super) async fn promote(desk: &Desk) -> Result<Response, CommandError> {
    let _turn = desk.work.acquire().await?;
    if let Some(end) = desk.promotion(&marks::read(&desk.layout)?) {
        return Ok(answer(end));
    }
    let Some(settings) = desk.settings() else {
        return Ok(Response::refused(
            "the settings are not known yet\nHINT: ask again",
        ));
    };
    let Role::Replica { name, .. } = &settings.role else {
        let words = policy::objection(CommandName::Promote, settings.role.tier());
        return Ok(Response::refused(words.unwrap_or_default()));
    };
    let mut record = Promoted {
        instance: name.as_str().to_owned(),
        end: None,
    };
    let session = session(desk).await?;
    let owner = user::postgres()?;
    marks::keep_promoted(&desk.layout, owner, &record)?;
    if follows(&session).await? && !end_recovery(&session).await? {
        return Ok(Response::refused(format!(
            "promote: recovery did not end within {PROMOTION} s; it goes on\nHINT: ask again, which waits for it"
        )));
    }
    let end = end_of_promotion(desk, &session).await?;
    record.end = Some(end);
    marks::keep_promoted(&desk.layout, owner, &record)?;
    desk.settle(Settings {
        role: standing::promoted(&settings.role),
        ..settings.as_ref().clone()
    })?;
    remove_if_present(&desk.layout.passfile(STANDBY))?;
    // It tells its clients what the server was when it first met it: a standby.
    desk.renew_pooler.notify_one();
    tracing::info!("promoted: timeline {} begins at {}", end.timeline, end.lsn);
    Ok(answer(end))
}

fn answer(end: PromotionEnd) -> Response {
    Response {
        timeline: Some(end.timeline),
        ..Response::done_at(end.lsn)
    }
}

async fn follows(session: &Session) -> Result<bool, tokio_postgres::Error> {
    let row = session.query_one("SELECT pg_is_in_recovery()", &[]).await?;
    Ok(row.get(0))
}

async fn end_recovery(session: &Session) -> Result<bool, tokio_postgres::Error> {
    let row = session
        .query_one("SELECT pg_promote(true, $1)", &[&PROMOTION])
        .await?;
    Ok(row.get(0))
}

/// Where the history of the timeline says that the one before was left.
async fn end_of_promotion(desk: &Desk, session: &Session) -> Result<PromotionEnd, CommandError> {
    let query =
        "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int";
    let timeline: i32 = session.query_one(query, &[]).await?.get(0);
    // A timeline has 32 bits, the type of SQL one less.
    let timeline = timeline.cast_unsigned();
    let path = desk.layout.wal().join(name::history(timeline));
    let history =
        fs::read_to_string(path).map_err(|source| CommandError::History { timeline, source })?;
    match name::left_at(&history).last() {
        Some(&(_before, lsn)) => Ok(PromotionEnd { timeline, lsn }),
        None => Err(CommandError::History {
            timeline,
            source: io::Error::other("it does not say where the timeline before was left"),
        }),
    }
}

/// Keeps the names, then lets Postgres follow them.
pub(super) async fn set_sync_standbys(
    desk: &Desk,
    names: &[String],
) -> Result<Response, CommandError> {
    let _turn = desk.work.acquire().await?;
    let standbys: Result<Vec<_>, _> = names.iter().cloned().map(StandbyName::try_from).collect();
    let standbys = match standbys {
        Ok(standbys) => standbys,
        Err(words) => {
            return Ok(Response::refused(format!(
                "{words}\nHINT: a name has 1 to 63 letters, digits, `_` or `-`, and is the BEYOND_INSTANCE_ID of a replica; never `*`, with which any connection could acknowledge a commit"
            )));
        }
    };
    let Some(settings) = desk.settings() else {
        return Ok(Response::refused(
            "the settings are not known yet\nHINT: ask again",
        ));
    };
    let mut settings = settings.as_ref().clone();
    let Role::Primary {
        standbys: before, ..
    } = &mut settings.role
    else {
        let words = policy::objection(CommandName::SetSyncStandbys, settings.role.tier());
        return Ok(Response::refused(words.unwrap_or_default()));
    };
    let over = match marks::read(&desk.layout)?.sync {
        Some(record) => record.over,
        None => before.clone(),
    };
    before.clone_from(&standbys);
    let record = SyncStandbys {
        instance: settings
            .instance_id
            .as_ref()
            .map(|id| id.as_str().to_owned()),
        over,
        names: standbys,
    };
    marks::keep_sync(&desk.layout, user::postgres()?, &record)?;
    let wanted = settings.sync_names().unwrap_or_default();
    desk.settle(settings)?;
    in_force(desk, &wanted).await
}

async fn in_force(desk: &Desk, wanted: &str) -> Result<Response, CommandError> {
    let session = session(desk).await?;
    let follows = clock::within(READ, async {
        while sync_names(&session).await? != wanted {
            clock::pause(GLANCE).await;
        }
        Ok::<_, tokio_postgres::Error>(())
    });
    let follows = follows.await.transpose()?.is_some();
    let found = sync_names(&session).await?;
    if !follows {
        return Ok(Response::refused(format!(
            "the names are kept, but Postgres follows {found:?} and not {wanted:?}\nHINT: does 99-user.conf or ALTER SYSTEM set synchronous_standby_names? `reload` says what Postgres objects to"
        )));
    }
    let at = session
        .query_one("SELECT pg_current_wal_flush_lsn()", &[])
        .await?;
    Ok(Response {
        sync_standbys: Some(found),
        ..Response::done_at(lsn(at.get::<_, PgLsn>(0)))
    })
}

async fn sync_names(session: &Session) -> Result<String, tokio_postgres::Error> {
    let query = "SELECT current_setting('synchronous_standby_names')";
    Ok(session.query_one(query, &[]).await?.get(0))
}
