//! The same machine with other memory and processors.

use anyhow::ensure;
use e2e::{Door, Outcome, Vm, scenario};

/// A machine is tuned for what it has at this boot (contract 5).
#[tokio::test]
async fn a_resized_machine_is_retuned() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").memory("512m").cpus("1").boot().await?;
        is_tuned_for(&db, ["128MB", "384MB", "32MB", "100", "8", "1"]).await?;
        db.sql("CREATE TABLE kept AS SELECT 42 AS answer").await?;

        let db = db
            .stop()
            .await?
            .with_memory("2g")?
            .with_cpus("2")?
            .boot()
            .await?;
        is_tuned_for(&db, ["512MB", "1536MB", "32MB", "100", "8", "2"]).await?;
        ensure!(db.ask::<i32>("SELECT answer FROM kept").await? == 42);

        let db = db.stop().await?.with_memory("8g")?.boot().await?;
        is_tuned_for(&db, ["2GB", "6GB", "40MB", "100", "8", "2"]).await
    })
    .await
}

/// Memory and processors of a machine that runs are others at once, and Postgres is tuned to them at its next
/// start; nobody is disconnected before.
#[tokio::test]
async fn a_running_machine_gets_other_limits_and_is_retuned_at_its_next_start() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").memory("512m").cpus("1").boot().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        ledger.reaches(50).await?;
        db.resize_limits("2g", "2").await?;
        let limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
        let limit = db.shell(limit).await?;
        ensure!(limit.trim() == (2_u64 << 30).to_string(), "{limit}");
        ledger.reaches(ledger.so_far().rows() + 50).await?;
        is_tuned_for(&db, ["128MB", "384MB", "32MB", "100", "8", "1"]).await?;

        let db = db.restart().await?;
        ledger.cut_off().await?.is_kept_by(&db).await?;
        is_tuned_for(&db, ["512MB", "1536MB", "32MB", "100", "8", "2"]).await
    })
    .await
}

async fn is_tuned_for(vm: &Vm, expected: [&str; 6]) -> anyhow::Result<()> {
    let settings = [
        "shared_buffers",
        "effective_cache_size",
        "work_mem",
        "max_connections",
        "max_worker_processes",
        "max_parallel_workers",
    ];
    for (setting, expected) in settings.into_iter().zip(expected) {
        let shown = vm.shows(setting).await?;
        ensure!(shown == expected, "{setting} is {shown}, not {expected}");
    }
    Ok(())
}
