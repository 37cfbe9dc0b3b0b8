//! Forks of disks: a map is shared, nothing is copied.

use anyhow::{Context as _, Result, ensure};
use e2e::until::until_true;
use e2e::{Door, Outcome, Vm, budget, scenario};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

const SIBLINGS: usize = 10;

/// Each fork taken under load has every commit that was acknowledged before it, and the parent goes on.
#[tokio::test]
async fn a_fork_of_a_disk_under_load_has_what_was_acknowledged() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        for round in 1..=3 {
            ledger.reaches(ledger.so_far().rows() + 200).await?;
            let before = ledger.so_far();
            let fork = db.fork(&format!("fork-{round}")).boot().await?;
            before.is_kept_by(&fork).await?;
            fork.is_intact().await?;
            ensure!(timeline(&fork).await? == 2 && timeline(&db).await? == 1);
            // What it writes is its own.
            fork.sql("TRUNCATE ledger").await?;
        }
        let now = ledger.so_far();
        let db = db.power_cut(3).await?;
        ledger
            .cut_off()
            .await?
            .is_kept_by(&db.boot().await?)
            .await?;
        ensure!(now.rows() >= 600);
        Ok(())
    })
    .await
}

async fn timeline(db: &Vm) -> Result<u32> {
    let health = db.rpc("health").await?.health.context("no health")?;
    health.timeline.context("no timeline")
}

/// Ten at once of one parent, each with all of it and nothing of the others.
#[tokio::test]
async fn ten_siblings_at_once_never_meet() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        db.sql("CREATE TABLE t AS SELECT -1 AS who").await?;
        let siblings: Vec<Vm> = stream::iter(0..SIBLINGS)
            .map(async |n| {
                let sibling = db
                    .fork(&format!("sibling-{n}"))
                    .memory("384m")
                    .boot()
                    .await?;
                sibling.sql(&format!("INSERT INTO t VALUES ({n})")).await?;
                anyhow::Ok(sibling)
            })
            .buffer_unordered(SIBLINGS)
            .try_collect()
            .await?;
        for sibling in &siblings {
            let rows: i64 = sibling.ask("SELECT count(*) FROM t").await?;
            ensure!(rows == 2, "{} has {rows} rows", sibling.name());
        }
        ensure!(db.ask::<i64>("SELECT count(*) FROM t").await? == 1);
        Ok(())
    })
    .await
}

/// Of a fork, of a machine that is off, of one without power, of an ephemeral one, and in the middle of a
/// checkpoint: a disk is a disk.
#[tokio::test]
async fn any_disk_can_be_forked_in_any_state() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().ephemeral().boot().await?;
        db.sql("CREATE TABLE t AS SELECT 'db' AS who").await?;
        let one = db.fork("one").boot().await?;
        one.sql("INSERT INTO t VALUES ('one')").await?;
        let grandchild = one.fork("grandchild").boot().await?;

        one.sql("CREATE TABLE much AS SELECT repeat('x', 500) FROM generate_series(1, 100000)")
            .await?;
        let checkpoint = one.sql("CHECKPOINT");
        let fork = one.fork("amid").boot();
        let (checkpoint, amid) = futures_util::join!(checkpoint, fork);
        checkpoint?;
        let amid = amid?;
        ensure!(amid.ask::<i64>("SELECT count(*) FROM much").await? == 100_000);

        let one = one.stop().await?;
        let of_stopped = one.fork("of-stopped").boot().await?;
        let one = one.boot().await?.power_cut(5).await?;
        let of_cut = one.fork("of-cut").boot().await?;
        for (vm, whole) in [
            (&grandchild, "db one"),
            (&of_stopped, "db one"),
            (&of_cut, "db one"),
        ] {
            let who: String = vm.ask("SELECT string_agg(who, ' ') FROM t").await?;
            ensure!(who == whole, "{}: {who}", vm.name());
            vm.is_intact().await?;
        }
        Ok(())
    })
    .await
}

/// A fork with a time to live goes when that is over, running or not, unless somebody is a copy of it: that
/// one keeps it until it goes itself.
#[tokio::test]
async fn a_fork_with_a_time_to_live_goes_and_not_under_its_children() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        let short = db.fork("short").for_seconds(1).boot().await?;
        let child = short.fork("child").boot().await?;
        db.fork("other").for_seconds(1).boot().await?;
        let awaited = "the fork that nobody is a copy of goes";
        until_true(budget::SOON, awaited, async || {
            Ok(world.expire().await? == ["child", "db", "short"])
        })
        .await?;
        short.ask::<i32>("SELECT 1").await?;

        child.crash().await?.remove().await?;
        ensure!(
            world.expire().await? == ["db"],
            "its time has come, and nobody keeps it"
        );
        db.ask::<i32>("SELECT 1").await.map(drop)
    })
    .await
}
