//! Boots that end in the middle.

use anyhow::{Result, ensure};
use e2e::disk::Tree;
use e2e::{Cut, Outcome, World, scenario, steps_in};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// How many boots are cut and completed at a time: two cores have no use for more.
const AT_A_TIME: usize = 3;

/// Wherever a first boot is cut, the next one ends where an uncut one does.
#[tokio::test]
async fn a_boot_that_is_cut_after_any_step_is_completed_by_the_next() -> Outcome {
    scenario(async |world| {
        let uncut = world.vm("uncut").boot().await?;
        let expected = uncut.booted_tree().await?;
        let steps = steps_in(&uncut.log().await?)?;
        ensure!(
            steps > 20,
            "a first boot of {steps} steps does not make a database"
        );

        stream::iter(1..=steps)
            .map(|step| cut_and_complete(world, step, &expected))
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>()
            .await
    })
    .await
}

async fn cut_and_complete(world: &World, step: usize, expected: &Tree) -> Result<()> {
    let cut = world.vm(&format!("cut-{step}")).cut(Cut::After(step));
    let cut = cut.start().await?.ended().await?;
    cut.must_have_been_cut(Cut::After(step)).await?;

    let db = cut.with_the_released_image().boot().await?;
    let tree = db.booted_tree().await?;
    tree.must_equal(expected, &format!("cut after step {step}, then booted"))?;
    db.must_have_an_empty_plan().await?;
    let record = db.boot_record().await?;
    ensure!(
        record.failed.is_empty(),
        "cut after step {step}, then booted: {record:?}"
    );
    db.crash().await?.remove().await
}

/// initdb is one step that takes long; a kill in the middle of it leaves nothing that looks like a
/// database.
#[tokio::test]
async fn a_machine_killed_in_the_middle_of_initdb_boots_as_if_new() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().start().await?;
        db.hears(" initdb\n").await?;
        let db = db.crash().await?;
        let found = db.on_volume("ls /var/lib/postgresql/18").await?;
        ensure!(
            found == "main.initdb\n",
            "killed in initdb, the volume has: {found}"
        );

        let db = db.boot().await?;
        let tree = db.booted_tree().await?;
        let uncut = world.vm("uncut").on_folder().boot().await?;
        tree.must_equal(&uncut.booted_tree().await?, "killed in initdb, then booted")?;
        db.must_have_an_empty_plan().await
    })
    .await
}

/// A stop that comes while the machine still boots ends it at once, and the next boot goes on.
#[tokio::test]
async fn a_machine_asked_to_stop_while_it_boots_stops_and_boots_again() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").start().await?;
        db.hears(" initdb\n").await?;
        let db = db.stop().await?.boot().await?;
        db.must_have_an_empty_plan().await
    })
    .await
}
