//! Hosts that are lost, with the local disks of everybody on them (contract 10).

use anyhow::{Result, ensure};
use e2e::{Door, Lost, Outcome, Vm, scenario};

/// What was acknowledged before the flush point is there; of what came after, all up to some moment and
/// nothing behind it. The machine is the same one: no fork, the same password, the same identity.
#[tokio::test]
async fn a_lost_host_costs_what_came_after_the_flush_point_and_nothing_else() -> Outcome {
    scenario(async |world| {
        let db = world
            .vm("db")
            .on_block_volume()
            .password("its own")
            .boot()
            .await?;
        let identity = identity(&db).await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(200).await?;
        let flushed = ledger.so_far();
        db.flush().await?;
        ledger.reaches(flushed.rows() + 400).await?;
        let lost = db.lose_host().await?;
        let all = ledger.cut_off().await?;

        let db = lost.rehome().await?.boot().await?;
        flushed.is_kept_by(&db).await?;
        let there = all.is_a_prefix_on(&db).await?;
        eprintln!(
            "{} acknowledged, {} before the flush point, {there} there",
            all.rows(),
            flushed.rows()
        );
        db.is_intact().await?;
        ensure!(self::identity(&db).await? == identity);
        db.lets_in(Door::Pooled, "its own").await?;
        db.must_have_an_empty_plan().await
    })
    .await
}

/// The timeline tells a fork, the instance who it is.
async fn identity(db: &Vm) -> Result<(Option<u32>, String)> {
    let timeline = db
        .rpc("health")
        .await?
        .health
        .and_then(|health| health.timeline);
    let stamp = db
        .shell("cat /var/lib/postgresql/18/main/beyond/instance-id")
        .await?;
    Ok((timeline, stamp))
}

/// A flush that was asked for loses nothing of what it was asked for; a host can be lost again.
#[tokio::test]
async fn what_was_flushed_outlives_one_host_after_the_other() -> Outcome {
    scenario(async |world| {
        let mut db = world.vm("db").on_block_volume().boot().await?;
        db.sql("CREATE TABLE lives (n int)").await?;
        for n in 1..=3 {
            db.sql(&format!("INSERT INTO lives VALUES ({n})")).await?;
            db.flush().await?;
            db = db.lose_host().await?.rehome().await?.boot().await?;
            let lives: i64 = db.ask("SELECT count(*) FROM lives").await?;
            ensure!(lives == n, "after {n} hosts there are {lives}");
        }
        db.is_intact().await
    })
    .await
}

/// An ephemeral volume goes with its host, and whoever wants it back is told why it cannot be. A durable
/// one on the same host comes back.
#[tokio::test]
async fn an_ephemeral_volume_goes_with_its_host() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        let scratch = world
            .vm("scratch")
            .on_block_volume()
            .ephemeral()
            .boot()
            .await?;
        db.flush().await?;
        let db = db.lose_host().await?;
        let scratch = Lost::together(scratch).await?;
        scratch.must_be_gone("since it is ephemeral").await?;
        let hosts = world.hosts().await?;
        ensure!(hosts.is_empty(), "made for nobody, and left: {hosts:?}");
        let db = db.rehome().await?.boot().await?;
        scratch.must_be_gone("since it is ephemeral").await?;
        db.ask::<i32>("SELECT 1").await.map(drop)
    })
    .await
}

/// Who is on another host hears nothing of it, and cannot be rehomed while that one lives.
#[tokio::test]
async fn machines_of_another_host_hear_nothing_of_it() -> Outcome {
    scenario(async |world| {
        let one = world.vm("one").on_host("host-1").boot().await?;
        let two = world.vm("two").on_host("host-2").boot().await?;
        one.sql("CREATE TABLE t AS SELECT 'one' AS who").await?;
        one.flush().await?;
        let mut ledger = two.keep_writing(Door::Direct).await?;
        ledger.reaches(50).await?;
        two.must_refuse_to_be_rehomed("its host lives").await?;
        let one = one.lose_host().await?;
        ledger.reaches(ledger.so_far().rows() + 50).await?;

        // To the host that is left, beside its machine.
        let one = one.rehome().await?.boot().await?;
        ensure!(one.ask::<String>("SELECT who FROM t").await? == "one");
        ledger.reaches(ledger.so_far().rows() + 50).await?;
        let two = two.power_cut(1).await?;
        ledger.cut_off().await?.is_kept_by(&two.boot().await?).await
    })
    .await
}
