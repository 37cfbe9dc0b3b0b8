//! Another image on the same volume.

use anyhow::ensure;
use e2e::disk::CONF_D;
use e2e::{Outcome, scenario};

/// An image brings its own configuration; data and the user's file are none of its business.
#[tokio::test]
async fn an_image_swap_keeps_data_and_the_users_file_and_rewrites_its_own() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let before = db.booted_tree().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        let scribble = format!(
            "echo \"log_min_messages = 'error'\" >> {CONF_D}/99-user.conf
             echo \"wal_level = 'minimal'\" > {CONF_D}/00-beyond.conf
             echo \"max_connections = '7'\" >> {CONF_D}/01-tuning.conf"
        );
        db.shell(&scribble).await?;

        let db = db
            .stop()
            .await?
            .with_image(world.another_image())
            .boot()
            .await?;
        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);
        let after = db.booted_tree().await?;
        for ours in ["00-beyond.conf", "01-tuning.conf"] {
            let path = format!("{CONF_D}/{ours}");
            ensure!(
                after.text(&path) == before.text(&path),
                "{ours}: {:?}",
                after.text(&path)
            );
        }
        let users = format!("{CONF_D}/99-user.conf");
        ensure!(after.text(&users) == Some("log_min_messages = 'error'\n"));
        ensure!(db.shows("log_min_messages").await? == "error");
        let changed = db.boot_record().await?.changed;
        for ours in ["write 00-beyond.conf", "write 01-tuning.conf"] {
            ensure!(changed.iter().any(|what| what == ours), "{changed:?}");
        }
        ensure!(
            !changed.iter().any(|what| what.contains("initdb")),
            "{changed:?}"
        );
        Ok(())
    })
    .await
}
