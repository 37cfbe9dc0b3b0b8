//! Every other fault of the double, with a machine that meets it: that it breaks what it says and ends.

use anyhow::ensure;
use e2e::{MmdsTrouble, Outcome, scenario};

/// Requests that are not answered are asked again; after so many the service is well, and the log of the
/// substrate tells when.
#[tokio::test]
async fn a_metadata_service_is_silent_for_so_many_requests() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?.stop().await?;
        let silent = db.mmds_times(MmdsTrouble::Silent, 2).await?;
        let db = db.boot().await?;
        db.expect_log("took the connection and did not answer")
            .await?;
        silent.heal().await?;
        let log = world.substrate_log().await?.join("\n");
        for said in [
            "fault 1 starts: mmds silent for db, 2 times",
            "fault 1 ends: mmds silent for db, used up; it struck 2 times",
        ] {
            ensure!(log.matches(said).count() == 1, "{said}: {log}");
        }
        Ok(())
    })
    .await
}

/// With the clock off by more than S3 believes, what a machine signs is refused, whichever way it is off.
#[tokio::test]
async fn a_clock_that_is_off_makes_signatures_worthless_until_it_is_right() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let host = s3.client()?;
        for offset in ["+20m", "-20m"] {
            let _off = world.clock_off_by(offset).await?;
            let refused = host.put("wal/0001", "x").await?;
            let said = String::from_utf8_lossy(&refused.body).into_owned();
            ensure!(said.contains("RequestTimeTooSkewed"), "{offset}: {said}");
        }
        ensure!(host.put("wal/0001", "x").await?.status.is_success());

        let db = world.vm("db").boot().await?;
        let url = host.presigned_get(&s3.machine_endpoint, "wal/0001");
        let ahead = world.clock_off_by("+61m").await?;
        let got = db.fetch(&url).await?;
        ensure!(got.contains("Request has expired"), "{got}");
        ahead.heal().await?;
        ensure!(db.fetch(&url).await?.ends_with("\r\n\r\nx"));
        Ok(())
    })
    .await
}

/// A full volume is full for Postgres, and has its room again when the guard goes; also of a machine that
/// is off by then.
#[tokio::test]
async fn a_volume_is_full_until_it_is_healed() -> Outcome {
    scenario(async |world| {
        let spec = world.vm("db").memory("2g").volume_of("400m");
        let db = spec.boot().await?;
        let before = db.room_on_volume().await?;
        let full = db.fill_up_to(1 << 20).await?;
        ensure!(db.room_on_volume().await? <= 1 << 20);
        db.hog_the_volume().await?;

        let db = db.crash().await?;
        full.heal().await?;
        let db = db.boot().await?;
        ensure!(db.room_on_volume().await? > before / 2);
        db.sql("CREATE TABLE again AS SELECT generate_series(1, 1000)")
            .await
    })
    .await
}

/// The same of a disk, which nobody has mounted when it is healed.
#[tokio::test]
async fn a_full_disk_is_emptied_while_its_machine_is_off() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_block_volume().boot().await?;
        let before = db.room_on_volume().await?;
        // The store keeps no zeroes: the laptop gives up nothing for this.
        let full = db.fill_up_to(1 << 20).await?;
        ensure!(db.room_on_volume().await? <= 1 << 20);
        let db = db.crash().await?;
        full.heal().await?;
        let db = db.boot().await?;
        ensure!(db.room_on_volume().await? > before / 2);
        db.is_intact().await
    })
    .await
}

/// A volume that is a folder on Docker's disk is not filled: that would fill the disk of the laptop.
#[tokio::test]
async fn a_volume_on_the_hosts_own_disk_is_never_filled() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").on_folder().boot().await?;
        let Err(refused) = db.fill_up_to(0).await else {
            anyhow::bail!("it filled the host's disk");
        };
        let said = format!("{refused:#}");
        ensure!(said.contains("a folder on Docker's own disk"), "{said}");
        let log = world.substrate_log().await?.join("\n");
        ensure!(log.contains("fault 1 ends: volume full for db"), "{log}");
        Ok(())
    })
    .await
}
