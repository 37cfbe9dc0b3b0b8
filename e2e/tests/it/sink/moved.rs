//! A sink, or its primary, that comes to be somewhere else.

use anyhow::ensure;
use e2e::{Door, Outcome, scenario};

/// The sink's host is lost under load, and its volume falls back behind what it had acknowledged. Commits wait until
/// it receives again, on another host and from where the primary still keeps WAL; then the loss of the database's
/// host costs nothing either.
#[tokio::test]
async fn a_sink_whose_host_was_lost_begins_again_with_what_the_primary_keeps() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.on_host("sink-1");
        let sink = sink.boot_sink().await?;
        let db = world.vm("db").with_sink("sink")?.on_host("db-1");
        let db = db.boot().await?;
        db.has_its_sink().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(50).await?;
        sink.flush().await?;
        let no_flush = world.flushes_fail().await?;
        db.sql("SELECT pg_switch_wal()").await?;
        ledger.reaches(ledger.so_far().rows() + 50).await?;
        let sink = sink.lose_host().await?;
        db.is_degraded_by("commits wait: none of ANY 1 (\"wal_sink\")")
            .await?;
        no_flush.heal().await?;

        let sink = sink.rehome_to("sink-2").await?.boot_sink().await?;
        db.has_its_sink().await?;
        sink.is_whole().await?;
        sink.expect_log("Receiving begins again with the oldest that the primary has")
            .await?;
        db.flush().await?;
        let no_flush = world.flushes_fail().await?;
        ledger.reaches(ledger.so_far().rows() + 50).await?;
        let lost = db.lose_host().await?;
        let all = ledger.cut_off().await?;
        no_flush.heal().await?;
        let db = lost.rehome_to("db-2").await?.boot().await?;
        all.is_kept_by(&db).await?;
        db.expect_log("bytes were fetched from").await?;
        db.is_intact().await?;
        db.has_its_sink().await
    })
    .await
}

/// The sink goes on under another name, on a copy of its volume. Commits go on with it, since it comes to the
/// database and not the other way round; the database asks where its metadata say, at its next boot.
#[tokio::test]
async fn a_sink_that_moved_is_asked_at_the_address_that_the_metadata_have_now() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").on_block_volume().with_sink("sink")?;
        let db = db.boot().await?;
        db.has_its_sink().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(50).await?;
        db.flush().await?;
        let no_flush = world.flushes_fail().await?;

        let sink = sink.stop().await?;
        let moved = sink.fork("moved").sink_of("db")?.boot_sink().await?;
        db.has_its_sink().await?;
        ledger.reaches(ledger.so_far().rows() + 50).await?;
        let lost = db.lose_host().await?;
        let all = ledger.cut_off().await?;
        no_flush.heal().await?;

        // At the old address nobody answers, and nothing is given up.
        let db = lost.rehome().await?.start().await?;
        db.expect_log("waiting for the WAL sink").await?;
        let db = db.crash().await?;
        db.has_its_sink_at("moved").await?;
        let db = db.boot().await?;
        all.is_kept_by(&db).await?;
        let asked = db.expect_log("bytes were fetched from").await?;
        ensure!(asked.contains(".moved:"), "{asked}");
        db.is_intact().await?;
        db.has_its_sink().await?;
        moved.is_whole().await
    })
    .await
}

/// The database goes on under another name, on what its volume kept. The sink says that nothing comes in and serves
/// what it has; told where its primary is now, it follows.
#[tokio::test]
async fn a_sink_follows_a_primary_that_moved() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").on_block_volume().with_sink("sink")?;
        let db = db.instance("db").boot().await?;
        db.has_its_sink().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(50).await?;
        db.flush().await?;
        let no_flush = world.flushes_fail().await?;
        ledger.reaches(ledger.so_far().rows() + 50).await?;
        let lost = db.lose_host().await?;
        let all = ledger.cut_off().await?;
        no_flush.heal().await?;
        sink.is_degraded_by("no WAL comes in").await?;

        let old = lost.rehome().await?;
        let moved = old.fork("moved").with_sink("sink")?.instance("db");
        let moved = moved.boot().await?;
        all.is_kept_by(&moved).await?;
        moved.expect_log("bytes were fetched from").await?;
        let waits = moved.is_degraded_by("commits wait: none of ANY 1 (\"wal_sink\")");
        waits.await?;
        let sink = sink.stop().await?;
        sink.has_its_primary_at("moved").await?;
        let sink = sink.boot_sink().await?;
        moved.has_its_sink().await?;
        moved.sql("INSERT INTO ledger VALUES (0)").await?;
        moved.is_intact().await?;
        sink.is_whole().await
    })
    .await
}
