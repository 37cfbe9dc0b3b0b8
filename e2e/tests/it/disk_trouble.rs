//! Disks that fail and disks that are slow.

use anyhow::{Context as _, Result, ensure};
use e2e::until::within;
use e2e::{Door, Outcome, Requests, World, budget, scenario};

/// A disk that cannot write, or cannot flush, under load: Postgres dies of it rather than acknowledge what is
/// not there, and once the disk is well a boot has all that was acknowledged.
#[tokio::test]
async fn a_disk_that_fails_writes_costs_no_acknowledged_commit() -> Outcome {
    scenario(async |world| no_commit_is_lost(world, Requests::Writes).await).await
}

#[tokio::test]
async fn a_disk_that_fails_flushes_costs_no_acknowledged_commit() -> Outcome {
    scenario(async |world| no_commit_is_lost(world, Requests::Flushes).await).await
}

async fn no_commit_is_lost(world: &World, on: Requests) -> Result<()> {
    let db = world.vm("db").on_block_volume().boot().await?;
    let mut ledger = db.keep_writing(Door::Direct).await?;
    ledger.reaches(300).await?;
    let failing = db.disk_fails(on).await?;
    let promise = ledger.cut_off().await?;
    db.host_hears("PANIC:  could not fdatasync file").await?;
    failing.heal().await?;
    let db = db.power_cut(1).await?.boot().await?;
    promise.is_kept_by(&db).await?;
    db.is_intact().await?;
    db.must_have_an_empty_plan().await
}

/// What has to be read and cannot be is an error for whoever asked, and for nobody else.
#[tokio::test]
async fn a_read_that_fails_is_an_error_of_the_query_and_ends_with_the_fault() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        db.make_cold_table("cold").await?;
        let postmaster = db.postmaster().await?;
        {
            let _failing = db.disk_fails(Requests::Reads).await?;
            let Err(refused) = db.ask::<i32>("SELECT answer FROM cold").await else {
                anyhow::bail!("a disk that fails every read was read");
            };
            let said = format!("{refused:#} {refused:?}");
            ensure!(said.contains("Input/output error"), "{said}");
            ensure!(db.ask::<i32>("SELECT 1").await? == 1);
        }
        ensure!(db.ask::<i32>("SELECT answer FROM cold").await? == 42);
        ensure!(db.postmaster().await? == postmaster);
        db.is_well().await
    })
    .await
}

/// A read that is held holds up its own query and no other; it is answered when the disk is well.
#[tokio::test]
async fn a_query_waits_for_a_slow_disk_and_others_do_not_wait_with_it() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        db.make_cold_table("cold").await?;
        let session = db.session(Door::Direct).await?;
        ensure!(session.ask::<i32>("SELECT 1").await? == 1);
        let slow = db.disk_holds(Requests::Reads).await?;
        let asking =
            tokio::spawn(async move { session.ask::<i32>("SELECT answer FROM cold").await });
        db.disk_is_asked_in_vain().await?;
        ensure!(db.ask::<i32>("SELECT 1").await? == 1);
        ensure!(!asking.is_finished(), "it was answered without its disk");
        slow.heal().await?;
        let answer = within(budget::SOON, "the answer of a disk that is well", asking).await???;
        ensure!(answer == 42);
        let log = world.substrate_log().await?.join("\n");
        for said in ["starts: volume reads late by", "ends: volume reads late by"] {
            ensure!(log.matches(said).count() == 1, "{said}: {log}");
        }
        Ok(())
    })
    .await
}

/// A fault is of the machine's disk for as long as it stands, whatever becomes of machine and host; and
/// that both are gone is no reason not to heal.
#[tokio::test]
async fn a_disk_stays_in_trouble_over_a_power_cut_and_the_death_of_its_host() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        let failing = db.disk_fails(Requests::Writes).await?;
        let db = db.power_cut(1).await?;
        db.host_dies().await?;
        let db = db.start().await?.ended().await?;
        db.must_have_said("mounting /dev/vdb at /var/lib/postgresql failed")
            .await?;
        ensure!(db.disk_troubles().await?[0].struck > 0);
        db.host_dies().await?;
        failing.heal().await?;
        let db = db.boot().await?;
        ensure!(db.disk_troubles().await? == []);
        let answer = db.ask::<i32>("SELECT answer FROM kept").await;
        ensure!(answer.context("after the disk was healed")? == 42);
        Ok(())
    })
    .await
}

/// A folder has no requests that could fail: it says so, and which kind has.
#[tokio::test]
async fn a_volume_of_folders_is_no_disk_that_could_fail() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().boot().await?;
        let Err(refused) = db.disk_fails(Requests::Writes).await else {
            anyhow::bail!("a folder was taken for a disk");
        };
        let said = format!("{refused:#}");
        ensure!(
            said.contains("is a folder of Docker's") && said.contains("--volumes block"),
            "{said}"
        );
        let log = world.substrate_log().await?.join("\n");
        ensure!(
            log.contains("fault 1 ends: volume writes fail for db"),
            "{log}"
        );
        db.sql("CREATE TABLE written AS SELECT 1").await
    })
    .await
}
