//! The same machine with other memory and processors.

use anyhow::ensure;
use e2e::{Outcome, Vm, scenario};

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
