//! The image without any platform around it.

use anyhow::ensure;
use e2e::{Outcome, scenario};

/// `docker run -e POSTGRES_PASSWORD=… -p 5432:5432 beyond-postgres` is a database.
#[tokio::test]
async fn docker_run_with_a_password_is_enough() -> Outcome {
    scenario(async |world| {
        let db = world
            .docker_run()?
            .env("POSTGRES_PASSWORD", "plain")
            .start()
            .await?;
        db.expect_log("ready: ").await?;
        let answer: i32 = db.session("plain").await?.ask("SELECT 42").await?;
        ensure!(answer == 42 && db.session("other").await.is_err());
        let record = db.boot_record().await?;
        ensure!(
            record.settings == "environment" && record.failed.is_empty(),
            "{record:?}"
        );

        let log = db.log().await?.join("\n");
        ensure!(
            !log.contains("169.254"),
            "it has no link-local address and must not ask: {log}"
        );
        ensure!(db.stop().await? == 0);
        Ok(())
    })
    .await
}

/// A password may come in a file, as Docker's secrets do.
#[tokio::test]
async fn docker_run_takes_the_password_from_a_file() -> Outcome {
    scenario(async |world| {
        let db = world
            .docker_run()?
            .file("/etc/beyond/password", "from a file\n");
        let db = db.env("POSTGRES_PASSWORD_FILE", "/etc/beyond/password");
        let db = db.env("POSTGRES_DB", "postgres").start().await?;
        db.expect_log("ready: ").await?;
        ensure!(
            db.session("from a file")
                .await?
                .ask::<i32>("SELECT 42")
                .await?
                == 42
        );
        Ok(())
    })
    .await
}

/// Without a password there is no database; the container says what is missing, and can be stopped.
#[tokio::test]
async fn docker_run_without_a_password_waits_and_says_so() -> Outcome {
    scenario(async |world| {
        let db = world.docker_run()?.start().await?;
        db.expect_log("POSTGRES_PASSWORD").await?;
        let log = db.log().await?.join("\n");
        ensure!(
            !log.contains("initdb"),
            "it began without a password: {log}"
        );
        ensure!(db.stop().await? == 0);
        Ok(())
    })
    .await
}
