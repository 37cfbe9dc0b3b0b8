//! A second copy of the WAL (contract 10, B-006a): no acknowledged commit is lost with the host.

mod cut;
mod moved;
mod trouble;
mod young;

use anyhow::{Result, ensure};
use e2e::{Door, Outcome, Vm, scenario};

/// A crash of the sink loses nothing that it acknowledged (facts A 2), and a clean stop of the database
/// in between is no obstacle: Postgres replays nothing behind one by itself.
#[tokio::test]
async fn a_sink_that_was_restarted_and_a_volume_of_a_clean_stop_lose_nothing() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").on_block_volume().with_sink("sink")?;
        let db = db.boot().await?.stop().await?;
        db.flush().await?;
        let db = db.boot().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(100).await?;
        let sink = sink.crash().await?.boot_sink().await?;
        ledger.reaches(ledger.so_far().rows() + 50).await?;
        let lost = db.lose_host().await?;
        let all = ledger.cut_off().await?;
        let _sink = sink.crash().await?.boot_sink().await?;

        let db = lost.rehome().await?.boot().await?;
        all.is_kept_by(&db).await?;
        db.is_intact().await?;
        db.has_its_sink().await?;
        writes(&db).await
    })
    .await
}

/// Commits wait, health says what to do, and both end when the sink is back; a boot waits, too.
#[tokio::test]
async fn without_its_sink_commits_and_boots_wait_and_say_so() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").with_sink("sink")?.boot().await?;
        db.has_its_sink().await?;
        db.sql("CREATE TABLE t (n int)").await?;
        let sink = sink.stop().await?;
        let waiting = db.session(Door::Direct).await?;
        let committed = tokio::spawn(async move { waiting.sql("INSERT INTO t VALUES (1)").await });
        db.is_degraded_by("commits wait: none of ANY 1 (\"wal_sink\")")
            .await?;
        let waits: i64 = db
            .ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            .await?;
        ensure!(waits == 1 && !committed.is_finished(), "{waits} wait");
        let sink = sink.boot_sink().await?;
        committed.await??;
        db.is_whole().await?;
        sink.is_whole().await?;

        let sink = sink.stop().await?;
        let db = db.crash().await?.start().await?;
        db.expect_log("waiting for the WAL sink").await?;
        let _sink = sink.boot_sink().await?;
        let db = db.ready().await?;
        ensure!(db.ask::<i64>("SELECT count(*) FROM t").await? == 1);
        Ok(())
    })
    .await
}

/// A sink of another cluster, or one that holds commits which this volume went on without: nobody guesses.
#[tokio::test]
async fn a_sink_that_is_another_databases_or_has_diverged_is_refused() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").on_block_volume().with_sink("sink")?;
        let db = db.boot().await?;
        db.has_its_sink().await?;
        let other = world.vm("other").with_sink("sink")?.start().await?;
        other
            .ended()
            .await?
            .must_have_said("this volume holds no cluster, and the sink holds one of instance")
            .await?;

        db.sql("CREATE TABLE t (n int)").await?;
        db.flush().await?;
        db.sql("INSERT INTO t VALUES (1)").await?;
        let lost = db.lose_host().await?;
        let sink = sink.stop().await?;
        let db = lost.rehome().await?;
        db.set_metadata("BEYOND_PG_WAL_SINK_POLICY", "preferred")
            .await?;
        let db = db.boot().await?;
        db.expect_log("started without asking the WAL sink").await?;
        db.sql("SET synchronous_commit = local; INSERT INTO t VALUES (2), (3)")
            .await?;
        // On the same timeline and past the sink's end: nothing but the bytes tells the two apart.
        db.sql("SET synchronous_commit = local; INSERT INTO t SELECT generate_series(1, 50000)")
            .await?;
        let sink = sink.boot_sink().await?;
        let received = sink.wal_here().await?;
        sink.is_degraded_by("the primary's WAL is not what this sink acknowledged")
            .await?;
        ensure!(
            sink.wal_here().await? == received,
            "the sink wrote over what it had"
        );
        let db = db.stop().await?;
        db.set_metadata("BEYOND_PG_WAL_SINK_POLICY", "required")
            .await?;
        let db = db.start().await?.ended().await?;
        db.must_have_said("the sink's WAL and this volume's have diverged")
            .await?;
        db.must_have_said("Nothing was changed, here or there.")
            .await?;
        sink.is_degraded_by("no WAL comes in").await
    })
    .await
}

async fn writes(db: &Vm) -> Result<()> {
    db.sql("CREATE TABLE afterwards AS SELECT 1 AS one").await
}
