//! Back to a moment: from a snapshot, with the archive, onto a timeline of its own.

use anyhow::{Context as _, Result, ensure};
use e2e::{Outcome, Spec, Stopped, Vm, archived_by, disk::PGDATA, scenario};
use fake_substrate::substrate::S3;

/// A copy of the machine's volume as it is now, for later: a restore to before it is refused, and the
/// refusal changes nothing.
async fn snapshot(db: &Vm, s3: &S3, name: &str) -> Result<Stopped> {
    let spec: Spec = db.fork(name).archived(s3).instance(name);
    let spec = spec.metadata("BEYOND_PG_RESTORE_TARGET_LSN", "0/1");
    let refused = spec.start().await?.ended().await?;
    refused
        .must_have_said("LSN 0/1 lies before the end of this volume. The window: from ")
        .await?;
    Ok(refused)
}

async fn rows(db: &Vm) -> Result<Vec<i32>> {
    let rows: String = db
        .ask("SELECT string_agg(n::text, ' ' ORDER BY n) FROM t")
        .await?;
    let rows = rows.split(' ').map(str::parse);
    rows.collect::<Result<_, _>>()
        .context("rows that are no numbers")
}

/// What a machine that was restored looks like, and stays like.
async fn is_restored(db: &Vm, s3: &S3, instance: &str) -> Result<()> {
    let health = db.health().await?;
    ensure!(health.timeline == Some(2), "{health:?}");
    let left = db
        .shell(&format!(
            "ls {PGDATA}/conf.d/05-pitr.conf {PGDATA}/recovery.signal 2>/dev/null || true"
        ))
        .await?;
    ensure!(left.trim().is_empty(), "{left}");
    db.must_have_an_empty_plan().await?;
    db.does("archive_now").await?;
    let own = archived_by(s3, instance).await?;
    ensure!(
        own.iter().any(|key| key.contains("/00000002.history")),
        "{own:?}"
    );
    Ok(())
}

/// A fork of an older state goes on to an LSN, a time and a name, each beside its parent, which never
/// hears of it; asked for a moment that the archive does not have, it says what there is.
#[tokio::test]
async fn a_fork_goes_on_to_an_lsn_a_time_and_a_name() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let db = world.vm("db").archived(&s3).instance("db").boot().await?;
        db.sql("CREATE TABLE t AS SELECT 1 AS n").await?;
        let to_lsn = snapshot(&db, &s3, "to-lsn").await?;
        let to_time = snapshot(&db, &s3, "to-time").await?;
        let to_name = snapshot(&db, &s3, "to-name").await?;

        db.sql("INSERT INTO t VALUES (2)").await?;
        let lsn: String = db.ask("SELECT pg_current_wal_lsn()::text").await?;
        let time: String = db
            .ask("SELECT clock_timestamp()::timestamptz(6)::text")
            .await?;
        db.sql("INSERT INTO t VALUES (3)").await?;
        db.sql("SELECT pg_create_restore_point('three')").await?;
        db.sql("INSERT INTO t VALUES (4)").await?;

        // Nothing of this is archived yet.
        to_lsn.restore_to("LSN", &lsn).await?;
        let to_lsn = to_lsn.start().await?.ended().await?;
        to_lsn
            .must_have_said("lies behind what the archive has")
            .await?;
        db.does("archive_now").await?;
        let of_parent = archived_by(&s3, "db").await?;

        let to_lsn = to_lsn.boot().await?;
        ensure!(rows(&to_lsn).await? == [1, 2], "{:?}", rows(&to_lsn).await?);
        is_restored(&to_lsn, &s3, "to-lsn").await?;
        // The target is still in its metadata, and is no target any more.
        to_lsn.sql("INSERT INTO t VALUES (9)").await?;
        let to_lsn = to_lsn.restart().await?;
        ensure!(rows(&to_lsn).await? == [1, 2, 9]);

        to_time.restore_to("TIME", &time).await?;
        let to_time = to_time.boot().await?;
        ensure!(
            rows(&to_time).await? == [1, 2],
            "{:?}",
            rows(&to_time).await?
        );
        is_restored(&to_time, &s3, "to-time").await?;

        to_name.restore_to("NAME", "three").await?;
        let to_name = to_name.boot().await?;
        ensure!(
            rows(&to_name).await? == [1, 2, 3],
            "{:?}",
            rows(&to_name).await?
        );
        is_restored(&to_name, &s3, "to-name").await?;

        ensure!(
            archived_by(&s3, "db").await? == of_parent,
            "a fork wrote to its parent's archive"
        );
        ensure!(rows(&db).await? == [1, 2, 3, 4]);
        Ok(())
    })
    .await
}

/// A machine whose host was lost comes back as of its flush point, and goes on from there to the moment
/// that is asked for, beyond what its volume kept.
#[tokio::test]
async fn a_rehomed_machine_goes_on_to_a_moment_behind_its_flush_point() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let db = world
            .vm("db")
            .on_block_volume()
            .archived(&s3)
            .instance("db");
        let db = db.boot().await?;
        db.sql("CREATE TABLE t AS SELECT 1 AS n").await?;
        db.flush().await?;
        db.sql("INSERT INTO t VALUES (2)").await?;
        db.sql("SELECT pg_create_restore_point('two')").await?;
        db.sql("INSERT INTO t VALUES (3)").await?;
        db.does("archive_now").await?;

        let db = db.lose_host().await?.rehome().await?;
        db.restore_to("NAME", "two").await?;
        let db = db.boot().await?;
        let found = rows(&db).await?;
        ensure!(found == [1, 2], "{found:?}");
        is_restored(&db, &s3, "db").await
    })
    .await
}
