//! A configuration that Postgres refuses, on a live machine and at a boot.

use anyhow::{Context as _, ensure};
use e2e::disk::{CONF_D, PGDATA};
use e2e::{Door, Outcome, scenario};

/// A line that Postgres refuses is named while the machine lives on; the next boot starts on what
/// worked last, says which line of whose file it left out, and leaves the file as it is. Mended, all
/// of it holds.
#[tokio::test]
async fn a_boot_with_a_line_that_postgres_refuses_runs_on_what_worked_last() -> Outcome {
    scenario(async |world| {
        let file = format!("{CONF_D}/99-user.conf");
        let db = world.vm("db").boot().await?;
        db.shell(&format!("echo \"work_mem = '77MB'\" >{file}"))
            .await?;
        let db = db.restart().await?;
        ensure!(db.shows("work_mem").await? == "77MB");

        let wrong = "work_mem = '88MB'\nwork_men = '1MB'";
        db.shell(&format!("printf \"{wrong}\\n\" >{file}")).await?;
        let answer = db.rpc("reload").await?;
        let why = answer.error.context("the bad line was not named")?;
        ensure!(
            why.contains("your 99-user.conf line 2 was not applied: unrecognized"),
            "{why}"
        );
        ensure!(db.shows("work_mem").await? == "77MB");

        let db = db.restart().await?;
        ensure!(db.shows("work_mem").await? == "77MB");
        let said = db.degraded().await?.join("\n");
        for words in [
            "not applied: your 99-user.conf line 1 (work_mem), 99-user.conf line 2 (work_men)",
            "unrecognized configuration parameter \"work_men\" in file",
            "HINT: mend these lines and restart the machine",
        ] {
            ensure!(said.contains(words), "not in health: {words}: {said}");
        }
        // What Postgres reads now is not the user's file, which a reload must not call in force.
        db.refuses(
            "reload",
            "Postgres did not start with the configuration that you wrote",
        )
        .await?;
        let kept = db.shell(&format!("cat {file}")).await?;
        ensure!(kept == format!("{wrong}\n"), "the user's file is {kept:?}");

        db.shell(&format!("sed -i 2d {file}")).await?;
        let db = db.restart().await?;
        ensure!(db.shows("work_mem").await? == "88MB");
        ensure!(db.degraded().await?.is_empty());
        Ok(())
    })
    .await
}

/// What only a start finds wrong: a library that is not there, a line of the access rules that means
/// nothing, and the same through ALTER SYSTEM, which writes a file that no option can lead around.
#[tokio::test]
async fn what_only_a_start_finds_wrong_is_left_out_as_well() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        db.shell(&format!(
            "echo 'hots all all all trust' >{PGDATA}/99-user-hba.conf"
        ))
        .await?;
        let db = db.restart().await?;
        let said = db.degraded().await?.join("\n");
        ensure!(
            said.contains("not applied: your 99-user-hba.conf line 1"),
            "{said}"
        );
        db.turns_away(Door::Direct, "wrong").await?;
        db.shell(&format!(": >{PGDATA}/99-user-hba.conf")).await?;

        let direct = db.session(Door::Direct).await?;
        direct.sql("ALTER SYSTEM SET work_mem = '66MB'").await?;
        let db = db.restart().await?;
        ensure!(db.shows("work_mem").await? == "66MB" && db.degraded().await?.is_empty());

        let direct = db.session(Door::Direct).await?;
        direct
            .sql("ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'")
            .await?;
        let db = db.restart().await?;
        let said = db.degraded().await?.join("\n");
        ensure!(
            said.contains("not applied: your postgresql.auto.conf line")
                && said.contains("(shared_preload_libraries)"),
            "{said}"
        );
        let refused = db
            .shell(&format!("cat {PGDATA}/beyond/refused.postgresql.auto.conf"))
            .await?;
        ensure!(refused.contains("no_such_library"), "{refused}");
        ensure!(db.shows("work_mem").await? == "66MB");
        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);

        // What it runs on is what stands there now.
        let db = db.restart().await?;
        ensure!(db.degraded().await?.is_empty());
        Ok(())
    })
    .await
}
