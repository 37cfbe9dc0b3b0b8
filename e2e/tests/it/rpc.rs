//! What the host asks a machine over the control RPC, and what it is told.

use anyhow::{Context as _, ensure};
use e2e::disk::CONF_D;
use e2e::{Outcome, scenario};

/// `health` is the machine's own truth; what it cannot do it refuses with the way out.
#[tokio::test]
async fn the_host_asks_and_is_told_the_truth() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let answer = db.rpc("health").await?;
        let health = answer.health.clone().context("no health in the answer")?;
        ensure!(answer.ok && answer.lsn.is_some(), "{answer:?}");
        ensure!(
            health.state == "ready" && health.ready_since.is_some(),
            "{health:?}"
        );
        ensure!(
            health.timeline == Some(1) && health.in_recovery == Some(false),
            "{health:?}"
        );
        ensure!(health.objections.is_empty(), "{health:?}");
        ensure!(
            health
                .boot
                .is_some_and(|record| record.contains("\"changed\":[\"make folder"))
        );

        db.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
            .await?;
        let checkpoint = db.rpc("checkpoint").await?;
        ensure!(
            checkpoint.ok && checkpoint.lsn > answer.lsn,
            "{checkpoint:?} after {answer:?}"
        );

        let refused = db.rpc("promote").await?;
        ensure!(
            refused
                .error
                .is_some_and(|why| why.contains("this version cannot do Promote"))
        );
        let capabilities = db.rpc("capabilities").await?.commands.context("no list")?;
        ensure!(
            !capabilities.contains(&"promote".to_owned()),
            "{capabilities:?}"
        );

        db.crash_postgres().await?;
        db.is_back().await?;
        db.says_health("ready").await
    })
    .await
}

/// A reload puts good lines in force and names the bad ones, by file and line.
#[tokio::test]
async fn a_reload_names_the_lines_that_are_not_in_force() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let file = format!("{CONF_D}/99-user.conf");
        db.shell(&format!(
            "printf \"work_mem = '77MB'\\nwork_men = '1MB'\\n\" >{file}"
        ))
        .await?;
        let answer = db.rpc("reload").await?;
        let why = answer.error.context("the bad line was not named")?;
        ensure!(why.contains("99-user.conf line 2: work_men"), "{why}");

        db.shell(&format!("printf \"work_mem = '77MB'\\n\" >{file}"))
            .await?;
        let answer = db.rpc("reload").await?;
        ensure!(answer.ok, "{answer:?}");
        db.comes_to_show("work_mem", "77MB").await
    })
    .await
}

/// `shutdown` says up to where everything is safe, and then the machine ends as after SIGTERM.
#[tokio::test]
async fn a_shutdown_by_the_host_is_a_clean_stop() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let answer = db.rpc("shutdown").await?;
        ensure!(answer.ok && answer.lsn.is_some(), "{answer:?}");
        let db = db.ends_cleanly().await?;
        let record = db.boot().await?.boot_record().await?;
        ensure!(
            record.wal.clean && record.wal.replayed_bytes == 0,
            "{record:?}"
        );
        Ok(())
    })
    .await
}
