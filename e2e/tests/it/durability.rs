//! What each kind of machine promises when its host is lost (contract 10): a row of that table, a scenario. Clients
//! commit beside each other, big transactions and tiny ones, and the ledger that they keep outside of the database
//! is the judge. Each prints what it came to.

use anyhow::{Result, ensure};
use e2e::{Children, Door, Lost, Mark, Outcome, Vm, scenario};

/// How many clients there are.
const CLIENTS: usize = 16;

/// What was acknowledged before the last flush point of the volume began is there, and the volume comes to flush
/// points by itself. What is gone of the rest is the end of it, and of no commit there is a part. The machine is the
/// same one: no fork, the same password, the same identity.
#[tokio::test]
async fn a_lost_host_costs_what_came_after_the_flush_point_and_nothing_else() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().password("its own");
        let db = db.boot().await?;
        let identity = identity(&db).await?;
        let mut clients = db.serves(CLIENTS, Door::Direct).await?;
        clients.commit(200).await?;
        let flushed = clients.mark().await;
        db.flushes_by_itself().await?;
        // From here on nothing comes to object storage: there is something to lose.
        let no_flush = world.flushes_fail().await?;
        clients.commit(300).await?;
        let lost = db.lose_host().await?;
        let acknowledged = clients.cut_off().await?;
        no_flush.heal().await?;

        let db = lost.rehome().await?.boot().await?;
        reads_nothing_ahead(&db).await?;
        let tally = acknowledged.are_kept_up_to(flushed, &db).await?;
        ensure!(tally.given_up > 0, "nothing was lost: {tally}");
        db.is_intact().await?;
        ensure!(self::identity(&db).await? == identity);
        db.lets_in(Door::Pooled, "its own").await?;
        db.must_have_an_empty_plan().await
    })
    .await
}

/// The kernel would read the bitmap of each group of a disk whose blocks are all somewhere else.
async fn reads_nothing_ahead(db: &Vm) -> Result<()> {
    let mounts = db
        .shell("grep ' /var/lib/postgresql ' /proc/mounts")
        .await?;
    ensure!(mounts.contains("no_prefetch_block_bitmaps"), "{mounts}");
    Ok(())
}

/// The timeline tells a fork, the instance who it is.
async fn identity(db: &Vm) -> Result<(Option<u32>, String)> {
    let timeline = db.health().await?.timeline;
    let stamp = db
        .shell("cat /var/lib/postgresql/18/main/beyond/instance-id")
        .await?;
    Ok((timeline, stamp))
}

/// An ephemeral volume goes with its host, and whoever wants it back is told why it cannot be; once its name is
/// free, another one of it begins empty. A durable volume on the same host comes back.
#[tokio::test]
async fn an_ephemeral_volume_goes_with_its_host() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        let scratch = world.vm("scratch").on_block_volume().ephemeral();
        let scratch = scratch.boot().await?;
        let mut clients = scratch.serves(CLIENTS, Door::Direct).await?;
        clients.commit(300).await?;
        db.flush().await?;
        let db = db.lose_host().await?;
        let scratch = Lost::together(scratch).await?;
        let acknowledged = clients.cut_off().await?;
        scratch.must_be_gone("since it is ephemeral").await?;
        let hosts = world.hosts().await?;
        ensure!(hosts.is_empty(), "made for nobody, and left: {hosts:?}");
        let db = db.rehome().await?.boot().await?;
        scratch.must_be_gone("since it is ephemeral").await?;
        db.ask::<i32>("SELECT 1").await?;

        world.remove("scratch", Some(Children::Forbid)).await?;
        let scratch = world.vm("scratch").on_block_volume().ephemeral();
        let scratch = scratch.boot().await?;
        let tally = acknowledged.are_kept_up_to(Mark::NOTHING, &scratch).await?;
        ensure!(tally.found == 0, "a new volume has {tally}");
        Ok(())
    })
    .await
}

/// All of it is there, though the volume fell back to a moment long before. The sink's own WAL is what pg_waldump
/// reads, to the same end.
#[tokio::test]
async fn with_a_sink_a_lost_host_costs_no_acknowledged_commit() -> Outcome {
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").on_block_volume().with_sink("sink")?;
        let db = db.boot().await?;
        db.has_its_sink().await?;
        sink.is_whole().await?;
        let mut clients = db.serves(CLIENTS, Door::Direct).await?;
        clients.commit(200).await?;
        db.flush().await?;
        let no_flush = world.flushes_fail().await?;
        clients.commit(300).await?;
        let lost = db.lose_host().await?;
        let acknowledged = clients.cut_off().await?;
        no_flush.heal().await?;
        sink.wal_ends().await?;

        let db = lost.rehome().await?.boot().await?;
        acknowledged.are_kept_by(&db).await?;
        db.expect_log("bytes were fetched from").await?;
        eprintln!("{}", db.expect_log("recovery ended at").await?);
        db.is_intact().await?;
        db.has_its_sink().await?;
        db.sql("CREATE TABLE afterwards AS SELECT 1 AS one").await
    })
    .await
}

/// The primary's host is lost, the replica is promoted, the clients go on there: nothing is missing. The old primary
/// does not open beside it, and rejoins once it is told what it is. Then the other one's host is lost: it has all
/// that was ever acknowledged, on either.
#[tokio::test]
async fn a_promoted_replica_has_every_acknowledged_commit_and_the_old_primary_only_follows()
-> Outcome {
    scenario(async |world| {
        let db = world.vm("db").primary_with(["replica"])?.on_host("host-1");
        let db = db.boot().await?;
        let replica = world.vm("replica").replica_of("db")?.on_host("host-2");
        let replica = replica.boot().await?;
        db.has_standby("replica").await?;
        let mut clients = db.serves(CLIENTS, Door::Direct).await?;
        clients.commit(200).await?;
        db.flush().await?;
        let no_flush = world.flushes_fail().await?;
        clients.commit(150).await?;
        db.sql("SELECT pg_switch_wal()").await?;
        clients.commit(150).await?;
        let lost = db.lose_host().await?;
        let acknowledged = clients.cut_off().await?;
        no_flush.heal().await?;

        let promoted = replica.promote().await?;
        replica.answers_again().await?;
        eprintln!("promoted: {promoted:?}");
        acknowledged.are_kept_by(&replica).await?;
        let mut clients = acknowledged
            .go_on_at(&replica, CLIENTS, Door::Direct)
            .await?;
        clients.commit(100).await?;
        let again = replica.promote().await?;
        ensure!(
            (again.lsn, again.timeline) == (promoted.lsn, promoted.timeline),
            "{again:?}"
        );

        // What only the old primary's disk may have, and nobody was told of.
        let old = lost.rehome_to("host-3").await?.start().await?;
        let old = old.ended().await?;
        old.must_have_said("instance replica of this cluster went on to timeline 2")
            .await?;
        old.must_have_said("HINT: set BEYOND_PG_TIER=replica")
            .await?;
        clients.commit(50).await?;
        let old = old.as_tier("replica").await?.boot().await?;
        // What its volume fell back to ends long before the other one took over: there is nothing to rewind.
        old.expect_log("a base backup replaces its cluster").await?;
        old.receives().await?;
        let waits = replica.wait_for_standbys(&["db"]).await?;
        ensure!(
            waits.sync_standbys.as_deref() == Some("ANY 1 (\"db\")"),
            "{waits:?}"
        );
        clients.commit(100).await?;
        let lost = replica.lose_host().await?;
        let acknowledged = clients.cut_off().await?;

        old.promote().await?;
        old.answers_again().await?;
        acknowledged.are_kept_by(&old).await?;
        old.sql("CREATE TABLE afterwards AS SELECT 1 AS one")
            .await?;
        // Its metadata have said replica all the time.
        let replica = lost.rehome_to("host-4").await?.boot().await?;
        replica.receives().await?;
        old.is_intact().await?;
        replica.has_caught_up_with(&old).await?;
        acknowledged.are_kept_by(&replica).await?;
        replica.is_intact_as_a_standby().await
    })
    .await
}
