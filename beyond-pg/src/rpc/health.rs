//! The answer to `health`: what the supervisor told, what the disk shows, what Postgres says.
//!
//! Each part that cannot be had costs its own fields and a sentence in `unanswered`, never the
//! answer. Postgres is given [`LOOK`] in all; a hung one must not hang whoever asks about it.

use std::fs;
use std::time::Duration;

use tokio_postgres::types::PgLsn;
use wire::lsn::Lsn;
use wire::rpc::{self, Disk, Health, Lifecycle, Response, Standby, Versions};

use crate::archive::unarchived;
use crate::disk;
use crate::fx::clock;
use crate::postgres::cluster;
use crate::postgres::controldata::ControlData;
use crate::postgres::ensure::MAINTENANCE_DATABASE;
use crate::postgres::postmaster::{self, Postmaster};
use crate::postgres::session::Session;
use crate::rpc::archiver::{Archiver, Keeper};
use crate::rpc::desk::{Desk, Told};
use crate::rpc::{configuration, lsn};
use crate::sink::store::Store;
use crate::supervise::chain;
use crate::sys::user;

/// How long Postgres may take to be looked at, the wait for one's turn included.
const LOOK: Duration = Duration::from_secs(3);
/// How long `pg_controldata` may take, which reads one file.
const READ: Duration = Duration::from_secs(1);

/// What a part of the answer came to: nothing more, or why it is missing.
type Part = Result<(), tokio_postgres::Error>;

pub(super) async fn health(desk: &Desk, told: &Told) -> Response {
    let mut health = as_told(told);
    health.disk = disk(desk);
    note_unarchived(desk, &mut health);
    if told.is_sink {
        return of_sink(desk, health);
    }
    let looked = match reason_not_to_ask(desk, told) {
        Some(reason) => Err(reason),
        None => clock::within(LOOK, look(desk, told, &mut health))
            .await
            .unwrap_or_else(|| Err(format!("no answer within {} s", LOOK.as_secs()))),
    };
    if let Err(reason) = looked {
        // A machine that boots has no server to miss.
        if told.lifecycle != Lifecycle::Booting {
            health.unanswered.push(format!("asking Postgres: {reason}"));
        }
        read_control_data(desk, told, &mut health).await;
    }
    let lsn = health.wal.replay_lsn.or(health.wal.flush_lsn);
    Response {
        lsn,
        health: Some(health),
        ..Response::done()
    }
}

/// A sink's position is the end of what is safe there.
fn of_sink(desk: &Desk, mut health: Health) -> Response {
    match Store::of(&desk.layout).holding() {
        Ok(Some(holding)) => {
            health.timeline = Some(holding.timeline);
            health.wal.flush_lsn = Some(holding.flushed_lsn);
        }
        Ok(None) => {}
        Err(error) => health.unanswered.push(chain(&error)),
    }
    Response {
        lsn: health.wal.flush_lsn,
        health: Some(health),
        ..Response::done()
    }
}

/// Nobody holds a commit who has to: it waits until somebody does.
fn waiting(names: &str, standbys: &[Standby]) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let holds = |standby: &Standby| matches!(standby.sync_state.as_str(), "sync" | "quorum");
    (!standbys.iter().any(holds)).then(|| {
        format!(
            "commits wait: none of {names} is connected\n\
             HINT: start one of them, or see in its health why it does not receive; nothing is lost meanwhile"
        )
    })
}

fn as_told(told: &Told) -> Health {
    let mut health = Health {
        state: told.lifecycle.to_string(),
        ready_since: told.ready_at.map(clock::unix_seconds_at),
        degraded: told.concerns.values().cloned().collect(),
        postgres: told.postgres.health(),
        pooler: told.pooler.health(),
        versions: Versions {
            beyond_pg: env!("CARGO_PKG_VERSION").to_owned(),
            postgres: None,
        },
        boot: told.boot_record.clone(),
        ..Health::default()
    };
    health.backup = told.backup.health();
    health.archive.target.clone_from(&told.archive_target);
    health.archive.last_error.clone_from(&told.archive_error);
    health
}

fn disk(desk: &Desk) -> Disk {
    let volume = desk.layout.volume();
    match nix::sys::statvfs::statvfs(&volume) {
        Ok(stat) => Disk {
            bytes: Some(stat.blocks().saturating_mul(stat.fragment_size())),
            free_bytes: Some(stat.blocks_available().saturating_mul(stat.fragment_size())),
            error: None,
        },
        Err(errno) => Disk {
            error: Some(format!(
                "asking for the size of {}: {errno}",
                volume.display()
            )),
            ..Disk::default()
        },
    }
}

fn note_unarchived(desk: &Desk, health: &mut Health) {
    match unarchived::gone_by(&desk.layout) {
        Ok(Some(gone_by)) => {
            health.archive.unarchived_first = Some(gone_by.first);
            health.archive.unarchived_last = Some(gone_by.last);
        }
        Ok(None) => {}
        Err(error) => health.unanswered.push(chain(&error)),
    }
}

/// Why Postgres would not answer. It says itself that it does not serve yet; knocking would write a
/// FATAL into its log each time.
fn reason_not_to_ask(desk: &Desk, told: &Told) -> Option<String> {
    if !told.postgres.is_up() {
        return Some("it does not run".to_owned());
    }
    let file = fs::read_to_string(desk.layout.postmaster_pid());
    match file.map(|text| postmaster::state(&text)) {
        Ok(Postmaster::Accepting { .. }) => None,
        Ok(Postmaster::Starting) => Some("it does not serve yet".to_owned()),
        Ok(Postmaster::Stopping) => Some("it shuts down".to_owned()),
        Err(error) => Some(format!("its postmaster.pid cannot be read: {error}")),
    }
}

async fn look(desk: &Desk, told: &Told, health: &mut Health) -> Result<(), String> {
    let _turn = desk.look.acquire().await.map_err(|closed| chain(&closed))?;
    let opened = Session::open(&desk.layout, MAINTENANCE_DATABASE).await;
    let session = opened.map_err(|error| {
        let words = chain(&error);
        disk::lend_to_sessions(&desk.layout, &words);
        words
    })?;
    let mut missing = Vec::new();
    let mut note = |what: &str, part: Part| {
        if let Err(error) = part {
            missing.push(format!("asking Postgres for {what}: {}", chain(&error)));
        }
    };
    note("its position in the WAL", position(&session, health).await);
    note("its archiver", archiver(&session, desk, told, health).await);
    note("its standbys", standbys(&session, health).await);
    note("its primary", upstream(&session, health).await);
    let configured = configuration::look(&session, &desk.layout).await;
    note(
        "its configuration",
        configured.map(|configuration| health.configuration = configuration),
    );
    health.unanswered.extend(missing);
    Ok(())
}

async fn position(session: &Session, health: &mut Health) -> Part {
    // The name of a WAL file begins with its timeline; a checkpoint may be of the one before.
    let query = "SELECT replays, redo_lsn, extract(epoch FROM checkpoint_time)::bigint, \
                 CASE WHEN replays THEN timeline_id ELSE ('x' || substr( \
                     pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, \
                 CASE WHEN NOT replays THEN pg_current_wal_insert_lsn() END, \
                 CASE WHEN replays THEN pg_last_wal_receive_lsn() \
                      ELSE pg_current_wal_flush_lsn() END, \
                 CASE WHEN replays THEN pg_last_wal_replay_lsn() END, \
                 current_setting('server_version') \
                 FROM pg_is_in_recovery() AS replays, pg_control_checkpoint()";
    let row = session.query_one(query, &[]).await?;
    let position = |column| row.get::<_, Option<PgLsn>>(column).map(lsn);
    health.in_recovery = Some(row.get(0));
    health.wal.redo_lsn = position(1);
    health.wal.checkpoint_at = row.get(2);
    health.timeline = u32::try_from(row.get::<_, i32>(3)).ok();
    health.wal.insert_lsn = position(4);
    health.wal.flush_lsn = position(5);
    health.wal.replay_lsn = position(6);
    health.versions.postgres = row.get(7);
    Ok(())
}

async fn archiver(session: &Session, desk: &Desk, told: &Told, health: &mut Health) -> Part {
    let archiver = Archiver::ask(session, &desk.layout, told.archive_target.is_some()).await?;
    let archive = &mut health.archive;
    archive.by = Some(archiver.keeper.name().to_owned());
    archive.waiting = Some(archiver.waiting);
    // Without a keeper the statistics count what was thrown away.
    if let Keeper::Target | Keeper::User = archiver.keeper {
        health
            .degraded
            .extend(archiver.concern(told.archive_error.as_deref()));
        archive.failures = Some(archiver.failures);
        archive.last_segment = archiver.last_segment;
        archive.last_at = archiver.last_at;
        archive.last_failed_segment = archiver.last_failed_segment;
        archive.last_failed_at = archiver.last_failed_at;
    }
    Ok(())
}

async fn standbys(session: &Session, health: &mut Health) -> Part {
    // A standby that others follow sends what it has received.
    let query = "SELECT coalesce(application_name, ''), coalesce(state, ''), \
                 coalesce(sync_state, ''), sent_lsn, flush_lsn, replay_lsn, \
                 (here - sent_lsn)::bigint, (here - flush_lsn)::bigint, (here - replay_lsn)::bigint \
                 FROM pg_stat_replication, LATERAL (SELECT CASE WHEN pg_is_in_recovery() \
                     THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END) AS end_of_wal (here) \
                 ORDER BY 1, pid LIMIT 100";
    let rows = session.query(query, &[]).await?;
    let standby = |row: &tokio_postgres::Row| {
        let position = |column| row.get::<_, Option<PgLsn>>(column).map(lsn);
        // It may have flushed more than we had when we looked.
        let behind = |column| {
            let bytes = row.get::<_, Option<i64>>(column)?;
            Some(u64::try_from(bytes).unwrap_or(0))
        };
        Standby {
            name: row.get(0),
            state: row.get(1),
            sync_state: row.get(2),
            sent_lsn: position(3),
            flush_lsn: position(4),
            replay_lsn: position(5),
            sent_lag_bytes: behind(6),
            flush_lag_bytes: behind(7),
            replay_lag_bytes: behind(8),
        }
    };
    health.standbys = rows.iter().map(standby).collect();
    let query = "SELECT CASE WHEN pg_is_in_recovery() THEN '' \
                 ELSE current_setting('synchronous_standby_names') END";
    let names: String = session.query_one(query, &[]).await?.get(0);
    health.degraded.extend(waiting(&names, &health.standbys));
    Ok(())
}

/// Whom a standby follows, and how far it is behind.
async fn upstream(session: &Session, health: &mut Health) -> Part {
    let query = "SELECT status = 'streaming', sender_host, sender_port, slot_name::text, latest_end_lsn, \
                 extract(epoch FROM latest_end_time)::bigint, \
                 (latest_end_lsn - pg_last_wal_replay_lsn())::bigint \
                 FROM (SELECT WHERE pg_is_in_recovery()) AS follows \
                 LEFT JOIN pg_stat_wal_receiver ON true";
    let Some(row) = session.query_opt(query, &[]).await? else {
        return Ok(());
    };
    let from = |host: String| match row.get::<_, Option<i32>>(2) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    };
    let behind = row.get::<_, Option<i64>>(6);
    health.upstream = Some(rpc::Upstream {
        receiving: row.get::<_, Option<bool>>(0).unwrap_or(false),
        from: row.get::<_, Option<String>>(1).map(from),
        slot: row.get(3),
        end_lsn: row.get::<_, Option<PgLsn>>(4).map(lsn),
        heard_at: row.get(5),
        replay_lag_bytes: behind.map(|bytes| u64::try_from(bytes).unwrap_or(0)),
    });
    Ok(())
}

/// What `pg_control` has, which needs no server: where recovery would begin, and whether it runs.
async fn read_control_data(desk: &Desk, told: &Told, health: &mut Health) {
    match control_data(desk).await {
        Ok(Some(control)) => {
            health.wal.redo_lsn.get_or_insert(lsn(control.redo));
            health.timeline.get_or_insert(control.timeline);
            if told.postgres.is_up() && control.is_in_recovery() {
                health.in_recovery = Some(true);
            }
        }
        Ok(None) => {}
        Err(words) => health.unanswered.push(words),
    }
}

/// `None`: there is no cluster yet.
pub(super) async fn control_data(desk: &Desk) -> Result<Option<ControlData>, String> {
    if !desk.layout.pgdata().join("global/pg_control").exists() {
        return Ok(None);
    }
    let account = user::postgres().map_err(|error| chain(&error))?;
    let program = cluster::controldata(&desk.layout, account);
    let text = clock::within(READ, program.run())
        .await
        .ok_or_else(|| format!("pg_controldata did not end within {} s", READ.as_secs()))?
        .map_err(|error| chain(&error))?;
    let control = ControlData::parse(&text).map_err(|error| chain(&error))?;
    Ok(Some(control))
}

/// The redo point of the last checkpoint, if there is one and it can be read.
pub(super) async fn last_redo(desk: &Desk) -> Option<Lsn> {
    match control_data(desk).await {
        Ok(control) => control.map(|control| lsn(control.redo)),
        Err(words) => {
            tracing::warn!("no LSN in the answer to a shutdown: {words}");
            None
        }
    }
}
