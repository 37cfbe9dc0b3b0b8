//! Processes of a machine that end as nobody asked them to.

use anyhow::{Context as _, ensure};
use e2e::disk::PGDATA;
use e2e::{Door, Outcome, scenario};

/// A postmaster that the kernel kills leaves a backend behind that is too busy to notice and keeps
/// the shared memory, which no new postmaster starts beside. It is ended, and clients get in.
#[tokio::test]
async fn a_backend_that_outlives_its_postmaster_keeps_nobody_out() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        let busy = db.never_ending_statement().await?;
        ledger.reaches(100).await?;
        db.crash_postgres().await?;
        let promise = ledger.cut_off().await?;

        db.is_back().await?;
        promise.is_kept_by(&db).await?;
        let processes = db.processes().await?;
        ensure!(
            processes.iter().all(|process| process.pid != busy),
            "{processes:?}"
        );
        Ok(())
    })
    .await
}

/// One that does not even take SIGQUIT, because it stands still, is killed; the postmaster's own end has
/// decided already that Postgres recovers.
#[tokio::test]
async fn a_backend_that_stands_still_when_its_postmaster_dies_keeps_nobody_out() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        let idle = db.session(Door::Direct).await?;
        let still: i32 = idle.ask("SELECT pg_backend_pid()").await?;
        ledger.reaches(100).await?;
        let postmaster = db.postmaster().await?;
        db.shell(&format!("kill -STOP {still} && kill -KILL {postmaster}"))
            .await?;
        let promise = ledger.cut_off().await?;

        db.is_back().await?;
        promise.is_kept_by(&db).await?;
        db.expect_log(&format!("({still}) is not: sending SIGKILL"))
            .await?;
        Ok(())
    })
    .await
}

/// A statement that wants more memory than the machine has is killed by the kernel. Postgres ends itself, PID 1
/// starts it again at once, and what was acknowledged is there.
#[tokio::test]
async fn a_backend_that_the_kernel_kills_for_its_memory_costs_no_acknowledged_row() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").memory("512m").boot().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(100).await?;
        let postmaster = db.postmaster().await?;
        let greedy = db.session(Door::Pooled).await?;
        let asked = greedy.sql("SELECT length(repeat('x', 1000000000))").await;
        ensure!(asked.is_err(), "512 MB were enough for 1 GB");
        let promise = ledger.cut_off().await?;

        db.is_back().await?;
        promise.is_kept_by(&db).await?;
        db.expect_log("was terminated by signal 9: Killed").await?;
        ensure!(db.postmaster().await? != postmaster, "nothing died");
        db.says_health("ready").await.map(drop)
    })
    .await
}

/// Numbers of processes repeat. A lock that a killed postmaster has left and that names a process which
/// lives, by then somebody else's, keeps no new postmaster from starting.
#[tokio::test]
async fn a_lock_that_names_somebody_elses_process_keeps_nobody_out() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let (postmaster, somebody) = (db.postmaster().await?, db.pooler().await?);
        let locks = format!("{PGDATA}/postmaster.pid /run/postgresql/.s.PGSQL.*.lock");
        db.shell(&format!(
            "sed -i '1s/.*/{somebody}/' {locks} && kill -KILL {postmaster}"
        ))
        .await?;
        db.is_back().await?;
        ensure!(db.pooler().await? == somebody);
        Ok(())
    })
    .await
}

/// The same after the power was cut: PID 1 is in every machine, and what ran in the last one has its
/// like in the next.
#[tokio::test]
async fn a_lock_of_the_last_boot_keeps_no_machine_from_booting() -> Outcome {
    scenario(async |world| {
        let mut db = world.vm("db").on_folder().boot().await?;
        for pid in [1, db.postmaster().await?, db.pooler().await?] {
            let cut = db.crash().await?;
            cut.on_volume(&format!("sed -i '1s/.*/{pid}/' {PGDATA}/postmaster.pid"))
                .await?;
            db = cut.boot().await?;
            db.expect_log("remove the postmaster.pid of a machine that is gone")
                .await?;
        }
        Ok(())
    })
    .await
}

/// Limits, umask and search path of every process are the ones that the image chose, whatever the
/// machine was started with. The kernel can be told whom to spare only by a machine with
/// CAP_SYS_RESOURCE; one without says so once and goes on.
#[tokio::test]
async fn every_process_has_the_limits_that_were_chosen_for_it() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let direct = db.session(Door::Direct).await?;
        let backend: i32 = direct.ask("SELECT pg_backend_pid()").await?;
        let auxiliary = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
        let auxiliary: i32 = direct.ask(auxiliary).await?;

        // A shell of the container has what the container was started with.
        let hard: u64 = db.shell("ulimit -Hn").await?.trim().parse()?;
        let score: i32 = db
            .shell("cat /proc/self/oom_score_adj")
            .await?
            .trim()
            .parse()?;
        let open_files = hard.min(65_536).to_string();
        let of_postgres = [
            db.postmaster().await?,
            u32::try_from(backend)?,
            u32::try_from(auxiliary)?,
            db.pooler().await?,
        ];
        for pid in of_postgres.into_iter().chain([1]) {
            let given = db.given("root", pid).await?;
            ensure!(given.soft("open files") == open_files, "{pid}: {given:?}");
            ensure!(given.soft("core file size") == "0", "{pid}: {given:?}");
            ensure!(given.soft("stack size") == "8388608", "{pid}: {given:?}");
            ensure!(given.umask == "0077", "{pid}: {given:?}");
            ensure!(given.oom_score_adj == score, "{pid}: {given:?}");
        }

        let pooler = db.given("postgres", db.pooler().await?).await?;
        direct
            .sql("CREATE TEMP TABLE t (path text); COPY t FROM PROGRAM 'printenv PATH'")
            .await?;
        let of_a_backend: String = direct.ask("SELECT path FROM t").await?;
        for path in [of_a_backend, pooler.path.context("no PATH")?] {
            ensure!(path.starts_with("/usr/lib/postgresql/18/bin/:/"), "{path}");
        }

        db.crash_postgres().await?;
        db.is_back().await?;
        let said = "the kernel is not told to spare Postgres when memory runs out";
        let log = db.log().await?;
        let times = log.iter().filter(|line| line.contains(said)).count();
        ensure!(times == 1, "said {times} times");
        Ok(())
    })
    .await
}
