//! Hosts that are lost, with the local disks of everybody on them (contract 10).

use anyhow::ensure;
use e2e::{Door, Outcome, scenario};

/// A flush that was asked for loses nothing of what it was asked for; a host can be lost again.
#[tokio::test]
async fn what_was_flushed_outlives_one_host_after_the_other() -> Outcome {
    scenario(async |world| {
        let mut db = world.vm("db").on_block_volume().boot().await?;
        db.sql("CREATE TABLE lives (n int)").await?;
        for n in 1..=3 {
            db.sql(&format!("INSERT INTO lives VALUES ({n})")).await?;
            db.flush().await?;
            db = db.lose_host().await?.rehome().await?.boot().await?;
            let lives: i64 = db.ask("SELECT count(*) FROM lives").await?;
            ensure!(lives == n, "after {n} hosts there are {lives}");
        }
        db.is_intact().await
    })
    .await
}

/// Who is on another host hears nothing of it, and cannot be rehomed while that one lives.
#[tokio::test]
async fn machines_of_another_host_hear_nothing_of_it() -> Outcome {
    scenario(async |world| {
        let one = world.vm("one").on_host("host-1").boot().await?;
        let two = world.vm("two").on_host("host-2").boot().await?;
        one.sql("CREATE TABLE t AS SELECT 'one' AS who").await?;
        one.flush().await?;
        let mut ledger = two.keep_writing(Door::Direct).await?;
        ledger.reaches(50).await?;
        two.must_refuse_to_be_rehomed("its host lives").await?;
        let one = one.lose_host().await?;
        ledger.reaches(ledger.so_far().rows() + 50).await?;

        // To the host that is left, beside its machine.
        let one = one.rehome().await?.boot().await?;
        ensure!(one.ask::<String>("SELECT who FROM t").await? == "one");
        ledger.reaches(ledger.so_far().rows() + 50).await?;
        let two = two.power_cut(1).await?;
        ledger.cut_off().await?.is_kept_by(&two.boot().await?).await
    })
    .await
}
