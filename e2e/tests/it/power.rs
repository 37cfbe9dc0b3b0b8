//! Machines on disks that lose their power: what was flushed is there, of everything else any part.

use anyhow::{Context as _, Result, ensure};
use e2e::disk::Tree;
use e2e::{Door, Outcome, World, scenario, steps_in};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// How many boots are cut and completed at a time: two cores have no use for more.
const AT_A_TIME: usize = 3;

/// What a client was told is committed is there after the power went, however the disk's cache is torn,
/// and the machine recovers by itself. Even seeds tear between blocks, odd ones within.
#[tokio::test]
async fn a_power_cut_under_load_loses_no_acknowledged_commit() -> Outcome {
    scenario(async |world| {
        let mut db = world.vm("db").on_block_volume().boot().await?;
        for seed in 0..6 {
            let mut ledger = db.keep_writing(Door::Direct).await?;
            ledger.reaches(300).await?;
            // A cache that has something to lose: written and never flushed.
            db.shell("head -c 8388608 /dev/urandom >/var/lib/postgresql/unflushed")
                .await?;
            ledger.reaches(600).await?;
            let off = db.power_cut(seed).await?;
            let promise = ledger.cut_off().await?;
            db = off.boot().await?;
            promise
                .is_kept_by(&db)
                .await
                .with_context(|| format!("seed {seed}"))?;
            let record = db.boot_record().await?;
            ensure!(!record.wal.clean, "seed {seed}: {record:?}");
            db.must_have_an_empty_plan().await?;
            db.sql("DROP TABLE ledger").await?;
        }
        db.is_intact().await
    })
    .await
}

/// A clean stop leaves nothing to replay: the file system is unmounted, and the disk has it all.
#[tokio::test]
async fn a_clean_stop_on_a_disk_leaves_nothing_to_replay() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        let db = db.restart().await?;
        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);
        ensure!(db.boot_record().await?.wal.clean);
        let db = db.crash().await?.boot().await?;
        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);
        Ok(())
    })
    .await
}

/// Wherever the power goes while a machine boots for the first time, the next boot ends where an uncut
/// one does.
#[tokio::test]
async fn a_first_boot_without_power_at_any_step_is_completed_by_the_next() -> Outcome {
    scenario(async |world| {
        let uncut = world.vm("uncut").on_block_volume().boot().await?;
        let expected = uncut.booted_tree().await?;
        let steps = steps_in(&uncut.log().await?)?;
        ensure!(
            steps > 20,
            "a first boot of {steps} steps makes no database"
        );
        stream::iter(1..=steps)
            .map(|step| cut_and_complete(world, step, steps, &expected))
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>()
            .await
    })
    .await
}

/// The power goes as soon as the step is heard of; the machine may be a step further by then.
async fn cut_and_complete(world: &World, step: usize, steps: usize, expected: &Tree) -> Result<()> {
    let name = format!("cut-{step}");
    let db = world.vm(&name).on_block_volume().start().await?;
    db.hears(&format!("boot {step}/{steps} ")).await?;
    let db = db.power_cut(step as u64).await?.boot().await?;
    let when = format!("the power went at step {step}, then booted");
    db.booted_tree().await?.must_equal(expected, &when)?;
    db.must_have_an_empty_plan().await?;
    let failed = db.boot_record().await?.failed;
    ensure!(failed.is_empty(), "{when}: {failed:?}");
    db.crash().await?.remove().await
}

/// A machine on folders says that there is nothing it could lose, and which kind can.
#[tokio::test]
async fn a_machine_on_folders_has_no_power_and_no_host_to_lose() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().boot().await?;
        db.must_refuse_to_lose_anything("--volumes block").await?;
        db.ask::<i32>("SELECT 1").await.map(drop)
    })
    .await
}
