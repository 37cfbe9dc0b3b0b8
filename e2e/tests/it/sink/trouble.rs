//! Sinks that have no room, lost their slot, or are needed twice.

use anyhow::ensure;
use e2e::{Door, Outcome, scenario};

use super::writes;

/// Without waiting for the sink: WAL in segments that it has not got.
const AHEAD: &str = "SET synchronous_commit = local; \
                     CREATE TABLE IF NOT EXISTS ahead (n int); \
                     INSERT INTO ahead VALUES (1); SELECT pg_switch_wal(); \
                     INSERT INTO ahead VALUES (2); SELECT pg_switch_wal(); \
                     INSERT INTO ahead VALUES (3); CHECKPOINT";

/// Commits wait while there is no room for their WAL, and go on by themselves when there is.
#[tokio::test]
async fn a_sink_that_is_full_says_so_and_goes_on_when_there_is_room() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.volume_of("400m");
        let sink = sink.boot_sink().await?;
        let db = world.vm("db").with_sink("sink")?.boot().await?;
        db.has_its_sink().await?;
        db.sql("CREATE TABLE t (n int)").await?;
        let full = sink.fill_up_to(0).await?;
        let writing = db.session(Door::Direct).await?;
        let committed = tokio::spawn(async move {
            writing.sql("SELECT pg_switch_wal()").await?;
            writing.sql("INSERT INTO t VALUES (1)").await
        });
        sink.is_degraded_by("No space left on device").await?;
        db.is_degraded_by("commits wait: none of ANY 1 (\"wal_sink\")")
            .await?;
        ensure!(!committed.is_finished());
        full.heal().await?;
        committed.await??;
        sink.is_whole().await?;
        db.has_its_sink().await
    })
    .await
}

/// The slot is gone and WAL with it: the sink says so, keeps what it had, and begins again with a copy of
/// the cluster.
#[tokio::test]
async fn a_sink_whose_slot_was_lost_says_so_and_begins_again() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").on_block_volume().with_sink("sink")?;
        let db = db.boot().await?;
        db.has_its_sink().await?;
        let sink = sink.stop().await?;
        db.sql("SELECT pg_drop_replication_slot('wal_sink')")
            .await?;
        let ahead = db.session(Door::Direct).await?;
        ahead.sql(AHEAD).await?;
        let sink = sink.boot_sink().await?;
        sink.expect_log("the slot on the primary was lost: it keeps WAL from")
            .await?;
        db.has_its_sink().await?;
        sink.is_whole().await?;
        sink.shell("test -n \"$(ls /var/lib/postgresql/sink/wal.before/0*)\"")
            .await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(50).await?;
        let lost = db.lose_host().await?;
        let all = ledger.cut_off().await?;
        let db = lost.rehome().await?.boot().await?;
        all.is_kept_by(&db).await?;
        ensure!(db.ask::<i64>("SELECT count(*) FROM ahead").await? == 3);
        db.is_intact().await
    })
    .await
}

/// Several segments are missing, and the boot that fetches them is killed after the first: the next one
/// finds a volume that lacks less. The sink is met again under the same name.
#[tokio::test]
async fn a_boot_that_is_killed_while_it_fetches_is_completed_by_the_next() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").on_block_volume().with_sink("sink")?;
        let db = db.boot().await?;
        db.has_its_sink().await?;
        db.flush().await?;
        let no_flush = world.flushes_fail().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        for rows in [20, 40, 60, 80] {
            ledger.reaches(rows).await?;
            db.sql("SELECT pg_switch_wal()").await?;
        }
        ledger.reaches(100).await?;
        let lost = db.lose_host().await?;
        let all = ledger.cut_off().await?;
        no_flush.heal().await?;

        let db = lost.rehome().await?.start().await?;
        db.hears("from the WAL sink").await?;
        let db = db.crash().await?.boot().await?;
        all.is_kept_by(&db).await?;
        db.is_intact().await?;
        db.has_its_sink().await?;
        sink.is_whole().await?;
        writes(&db).await
    })
    .await
}

/// A fork neither asks its parent's sink nor feeds it, and the parent keeps it.
#[tokio::test]
async fn a_fork_has_nothing_to_do_with_its_parents_sink() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").on_block_volume().with_sink("sink")?;
        let db = db.boot().await?;
        db.has_its_sink().await?;
        db.sql("CREATE TABLE t AS SELECT 1 AS n").await?;
        let child = db.fork("child").boot().await?;
        child.sql("INSERT INTO t VALUES (2)").await?;
        ensure!(child.shows("synchronous_standby_names").await?.is_empty());
        db.sql("INSERT INTO t VALUES (3)").await?;
        sink.is_whole().await?;
        ensure!(db.ask::<i64>("SELECT sum(n) FROM t").await? == 4);

        // Told of that sink by mistake, another one takes nothing from it, and is refused once it is itself.
        let told = db.fork("told").with_sink("sink")?.boot().await?;
        let log = told.log().await?;
        let asked = log.iter().find(|line| line.contains("from the sink"));
        ensure!(asked.is_none(), "it asked: {asked:?}");
        let told = told.crash().await?.start().await?.ended().await?;
        told.must_have_said("one is a fork of the other").await?;
        sink.is_whole().await?;
        db.has_its_sink().await
    })
    .await
}
