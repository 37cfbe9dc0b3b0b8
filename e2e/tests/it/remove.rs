//! Machines that are taken away one by one.

use anyhow::{Result, bail, ensure};
use e2e::{Children, Outcome, World, scenario};

/// The refusal of something that must not be done, by its words.
fn refused(done: Result<()>, words: &str) -> Result<()> {
    let Err(refused) = done else {
        bail!("it was done, and should have been refused: {words}");
    };
    let said = format!("{refused:#}");
    ensure!(said.contains(words), "refused for another reason: {said}");
    Ok(())
}

async fn names(world: &World) -> Result<Vec<String>> {
    world.expire().await
}

/// Without its volume a machine comes back as the same database, shut down cleanly; with it, its name is
/// anybody's, on folders and on disks.
#[tokio::test]
async fn a_machine_that_was_taken_away_leaves_its_volume_or_its_name() -> Outcome {
    scenario(async |world| {
        for on_disk in [false, true] {
            let db = || match on_disk {
                false => world.vm("db").on_folder(),
                true => world.vm("db").on_block_volume(),
            };
            let first = db().boot().await?;
            first.sql("CREATE TABLE kept AS SELECT 1 AS n").await?;
            world.remove("db", None).await?;
            ensure!(names(world).await?.is_empty());
            refused(world.remove("db", None).await, "its volume is kept")?;

            let again = db().boot().await?;
            ensure!(again.ask::<i32>("SELECT n FROM kept").await? == 1);
            ensure!(again.boot_record().await?.wal.clean, "it was not shut down");
            world.remove("db", Some(Children::Forbid)).await?;
            refused(
                world.remove("db", Some(Children::Forbid)).await,
                "has no machine db",
            )?;

            let new = db().boot().await?;
            let kept = "SELECT to_regclass('kept') IS NOT NULL";
            ensure!(!new.ask::<bool>(kept).await?, "another's rows");
            world.remove("db", Some(Children::Forbid)).await?;
        }
        Ok(())
    })
    .await
}

/// A volume is not taken away under its forks by accident, and the machine is not even shut down; on
/// purpose it is, and the forks lose nothing.
#[tokio::test]
async fn a_volume_goes_from_under_its_children_only_on_purpose() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 1 AS n").await?;
        let fork = db.fork("fork").boot().await?;
        let forbidden = world.remove("db", Some(Children::Forbid)).await;
        refused(forbidden, "has children: fork")?;
        db.ask::<i32>("SELECT n FROM kept").await?;

        world.remove("db", Some(Children::Keep)).await?;
        let fork = fork.restart().await?;
        ensure!(fork.ask::<i32>("SELECT n FROM kept").await? == 1);
        ensure!(names(world).await? == ["fork"]);
        fork.is_intact().await
    })
    .await
}

/// A lost machine is taken away with what object storage has of it, and no host is left behind that was
/// only needed for that.
#[tokio::test]
async fn a_lost_machine_leaves_nothing_in_object_storage() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 1 AS n").await?;
        db.flush().await?;
        db.lose_host().await?;
        world.remove("db", Some(Children::Forbid)).await?;
        ensure!(world.hosts().await?.is_empty());

        let new = world.vm("db").on_block_volume().boot().await?;
        let kept = "SELECT to_regclass('kept') IS NOT NULL";
        ensure!(!new.ask::<bool>(kept).await?, "another's rows");
        Ok(())
    })
    .await
}

/// A volume stays durable, or ephemeral, as it was made; who asks for the other is told what to do.
#[tokio::test]
async fn a_kept_volume_does_not_become_ephemeral_or_durable() -> Outcome {
    scenario(async |world| {
        world.vm("db").boot().await?;
        world.remove("db", None).await?;
        let ephemeral = world.vm("db").ephemeral().boot().await;
        refused(ephemeral.map(drop), "is durable and stays so")?;
        world.vm("db").boot().await?;

        world.vm("scratch").ephemeral().boot().await?;
        world.remove("scratch", None).await?;
        let durable = world
            .vm("scratch")
            .metadata("BEYOND_VOLUME_EPHEMERAL", "false");
        refused(durable.boot().await.map(drop), "is ephemeral and stays so")?;
        world.vm("scratch").boot().await.map(drop)
    })
    .await
}
