//! The programs that an image brings along to run at set points of a machine's life.

use anyhow::{Context as _, ensure};
use e2e::{Outcome, State, scenario};

/// Each folder's programs run when it is their time, in order, and speak in the log under their
/// names. What an editor left behind does not run, and no hook is told a secret.
#[tokio::test]
async fn hooks_run_at_their_time_and_speak_under_their_names() -> Outcome {
    scenario(async |world| {
        let password = "no hook knows this one";
        let db = world.vm("db").password(password).boot().await?;
        db.hook("pre-start.d/20-later", "echo second of two")
            .await?;
        db.hook(
            "pre-start.d/10-sooner",
            "env | sort; pg_isready; echo \"it answers $?\"",
        )
        .await?;
        db.hook("pre-start.d/10-sooner~", "echo must not run")
            .await?;
        db.hook(
            "post-start.d/10-count",
            "psql -Atc 'SELECT count(*) FROM pg_extension'",
        )
        .await?;
        db.hook("pre-stop.d/10-bye", "psql -Atc \"SELECT 'still here'\"")
            .await?;
        let db = db.restart().await?;

        let log = db.log().await?;
        let at = |words: &str| {
            let found = log.iter().position(|line| line.contains(words));
            found.with_context(|| format!("never said: {words}"))
        };
        let sooner = at("hook pre-start.d/10-sooner: it answers 2")?;
        let later = at("hook pre-start.d/20-later: second of two")?;
        ensure!(sooner < later && later < at("start Postgres")?);
        at("hook pre-start.d/10-sooner: BEYOND_HOOK=pre-start")?;
        at("hooks/pre-start.d/10-sooner~ is no hook: ")?;
        ensure!(at("ensure extension vector")? < at("hook post-start.d/10-count: ")?);
        ensure!(at("hook post-start.d/10-count: ")? < at("ready: ")?);

        let db = db.stop().await?;
        db.must_have_said("hook pre-stop.d/10-bye: still here")
            .await?;
        db.must_have_said("the next boot replays no WAL").await?;
        let log = db.log().await?;
        ensure!(!log.iter().any(|line| line.contains(password)));
        ensure!(!log.iter().any(|line| line.contains("must not run")));
        Ok(())
    })
    .await
}

/// What has to be so before Postgres starts is not so: the boot ends with the name of the hook and
/// its words, and the database is as it was.
#[tokio::test]
async fn a_failing_pre_start_hook_stops_the_boot_and_harms_nothing() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().boot().await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;
        db.hook(
            "pre-start.d/50-mount",
            "if [ -e /var/lib/postgresql/.ready ]; then exit 0; fi; echo no such disk >&2; exit 7",
        )
        .await?;
        let db = db.stop().await?.start().await?.ended().await?;
        db.must_have_said("the boot stops here: Postgres was not started")
            .await?;
        db.must_have_said("hook pre-start.d/50-mount ended with exit status: 7")
            .await?;
        db.must_have_said("no such disk").await?;
        let failed = State::Crashed {
            exit_code: 1,
            out_of_memory: false,
        };
        ensure!(db.state() == failed, "it is {}", db.state());

        db.on_volume("touch /var/lib/postgresql/.ready").await?;
        let db = db.boot().await?;
        ensure!(db.boot_record().await?.wal.clean);
        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);
        Ok(())
    })
    .await
}

/// What comes after the database is there can fail or hang; clients get in all the same, and health
/// says what is missing.
#[tokio::test]
async fn a_failing_or_hanging_post_start_hook_is_told_in_health() -> Outcome {
    scenario(async |world| {
        let db = world
            .vm("db")
            .init_option("--hook-deadline", "2")
            .boot()
            .await?;
        db.hook("post-start.d/10-grants", "echo no such role; exit 1")
            .await?;
        db.hook(
            "post-start.d/20-warms",
            "echo warming; sleep 600 & sleep 600",
        )
        .await?;
        db.hook("post-start.d/30-fine", "echo went on").await?;
        let db = db.restart().await?;
        db.expect_log("hook post-start.d/30-fine: went on").await?;

        let health = db.rpc("health").await?.health.context("no health")?;
        ensure!(health.state == "ready", "{health:?}");
        let degraded = health.degraded.join("\n");
        for words in [
            "hook post-start.d/10-grants ended with exit status: 1",
            "no such role",
            "hook post-start.d/20-warms was ended because it took longer than 2 s",
        ] {
            ensure!(
                degraded.contains(words),
                "not in health: {words}: {degraded}"
            );
        }
        let left = db.processes().await?;
        ensure!(
            !left
                .iter()
                .any(|process| process.argv.contains("sleep 600")),
            "{left:?}"
        );
        Ok(())
    })
    .await
}
