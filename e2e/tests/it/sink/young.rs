//! A cluster that no flush point of its volume has yet.

use anyhow::ensure;
use e2e::{Door, Outcome, scenario};

use super::writes;

const AWAY: &str = "cd /var/lib/postgresql/sink && mv base base.away";
const BACK: &str = "cd /var/lib/postgresql/sink && mv base.away base";

/// initdb writes no WAL, and nothing of this volume came to object storage: the database is in its sink
/// alone, and comes back from there, from the first acknowledged commit on. Where the sink has WAL alone,
/// no other cluster is made in its place.
#[tokio::test]
async fn a_host_that_is_lost_before_the_first_flush_costs_no_acknowledged_commit() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").on_block_volume().with_sink("sink")?;
        let db = db.start().await?;
        let no_flush = world.flushes_fail().await?;
        let db = db.ready().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(50).await?;
        let lost = db.lose_host().await?;
        let all = ledger.cut_off().await?;
        no_flush.heal().await?;

        sink.shell(AWAY).await?;
        let db = lost.rehome().await?.start().await?.ended().await?;
        db.must_have_said("but not the cluster: WAL alone makes none. Nothing was changed.")
            .await?;
        sink.shell(BACK).await?;
        let db = db.boot().await?;
        db.expect_log("this volume had no cluster").await?;
        all.is_kept_by(&db).await?;
        eprintln!("{} acknowledged before any flush, and kept", all.rows());
        db.is_intact().await?;
        db.has_its_sink().await?;
        sink.is_whole().await?;
        writes(&db).await?;
        db.must_have_an_empty_plan().await
    })
    .await
}

/// Nothing is laid beside its files, and nothing of them is touched.
#[tokio::test]
async fn a_machine_with_a_database_does_not_become_a_sink() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().boot().await?.stop().await?;
        for (key, value) in [
            ("BEYOND_PG_TIER", "sink"),
            ("BEYOND_PG_PRIMARY_CONNINFO", "host=other port=5433"),
            ("BEYOND_PG_REPLICATION_PASSWORD", "secret"),
        ] {
            db.set_metadata(key, value).await?;
        }
        let untouched = db.on_volume("find /var/lib/postgresql | sort").await?;
        let db = db.start().await?.ended().await?;
        db.must_have_said("holds a database, and this machine was asked to be a WAL sink")
            .await?;
        let now = db.on_volume("find /var/lib/postgresql | sort").await?;
        ensure!(now == untouched, "something was changed");
        Ok(())
    })
    .await
}
