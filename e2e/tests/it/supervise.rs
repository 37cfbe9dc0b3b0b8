//! What PID 1 does for the processes of its machine.

use anyhow::{Context as _, ensure};
use e2e::until::until_true;
use e2e::{Door, Outcome, budget, scenario};

/// A server that is killed runs again, clients get in, and what was acknowledged is there.
#[tokio::test]
async fn a_killed_server_comes_back_and_clients_get_in() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(100).await?;
        let killed = db.postmaster().await?;
        db.crash_postgres().await?;
        let promise = ledger.cut_off().await?;
        db.is_back().await?;
        promise.is_kept_by(&db).await?;
        ensure!(db.postmaster().await? != killed);
        Ok(())
    })
    .await
}

/// The pooler's end is the pooler's alone: who talks to Postgres directly notices nothing.
#[tokio::test]
async fn a_killed_pooler_comes_back_and_direct_sessions_live_on() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let direct = db.session(Door::Direct).await?;
        let backend: i32 = direct.ask("SELECT pg_backend_pid()").await?;
        let killed = db.pooler().await?;
        db.crash_pooler().await?;
        db.is_back().await?;
        ensure!(db.pooler().await? != killed);
        ensure!(direct.ask::<i32>("SELECT pg_backend_pid()").await? == backend);
        Ok(())
    })
    .await
}

/// A process whose parent is gone is PID 1's, and so is the duty to wait for it. The servers, whose
/// ends are told by their own handles, are not disturbed by that.
#[tokio::test]
async fn orphans_are_reaped() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        // It ends only when somebody opens the other side: surely after its parent.
        let fork = "mkfifo /tmp/gate; cat /tmp/gate >/dev/null 2>&1 & echo $!";
        let orphan: u32 = db.shell(fork).await?.trim().parse()?;
        let of_postgres =
            "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; setsid cat /tmp/gate >/dev/null 2>&1 &'";
        db.sql(of_postgres).await?;

        let gate = |argv: &str| argv.contains("cat /tmp/gate");
        let waiting = db.processes().await?;
        let waiting: Vec<_> = waiting
            .iter()
            .filter(|process| gate(&process.argv))
            .collect();
        ensure!(waiting.len() == 2, "{waiting:?}");
        ensure!(
            waiting.iter().all(|process| process.parent == 1),
            "{waiting:?}"
        );
        waiting
            .iter()
            .find(|process| process.pid == orphan)
            .context("the first orphan")?;

        db.shell(": > /tmp/gate").await?;
        until_true(
            budget::SOON,
            "no orphan is left, not even as a zombie",
            async || {
                let processes = db.processes().await?;
                let is_left = |pid| processes.iter().any(|process| process.pid == pid);
                let zombies = processes.iter().any(|process| process.state == 'Z');
                Ok(!zombies && !waiting.iter().any(|process| is_left(process.pid)))
            },
        )
        .await?;
        ensure!(db.ask::<i32>("SELECT 1").await? == 1);
        Ok(())
    })
    .await
}
