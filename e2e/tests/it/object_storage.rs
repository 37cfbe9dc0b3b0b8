//! The platform's object storage, as a machine and its host find it.

use anyhow::ensure;
use e2e::{Operation, Outcome, scenario};

/// What the host puts into the object storage a machine gets at the platform's address, if it may.
#[tokio::test]
async fn a_machine_and_its_host_see_the_same_objects() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let host = s3.client()?;
        let put = host.put("wal/0001", "from the host").await?;
        ensure!(put.status.is_success(), "{put:?}");

        let db = world.vm("db").boot().await?;
        let url = host.presigned_get(&s3.machine_endpoint, "wal/0001");
        let got = db.fetch(&url).await?;
        ensure!(got.ends_with("\r\n\r\nfrom the host"), "{got}");
        let unsigned = db
            .fetch(&format!("{}/beyond/wal/0001", s3.machine_endpoint))
            .await?;
        ensure!(unsigned.starts_with("HTTP/1.1 403 "), "{unsigned}");
        Ok(())
    })
    .await
}

/// A fault breaks what it names until its guard goes, and the substrate's log tells of both.
#[tokio::test]
async fn a_fault_of_the_object_storage_is_told_when_it_starts_and_when_it_ends() -> Outcome {
    scenario(async |world| {
        let s3 = world.s3().await?;
        let host = s3.client()?;
        {
            let _refusing = s3.refuse(Operation::Put).of("wal/*").start().await?;
            ensure!(host.put("wal/0001", "x").await?.status == 503);
            ensure!(host.put("base/0001", "x").await?.status.is_success());
        }
        ensure!(host.put("wal/0001", "x").await?.status.is_success());

        let log = world.substrate_log().await?.join("\n");
        for said in [
            "fault 1 starts: s3 refuse with 503 on put of wal/*, until it is cleared",
            "fault 1 ends: s3 refuse with 503 on put of wal/*, cleared; it struck once",
        ] {
            ensure!(log.matches(said).count() == 1, "{said}: {log}");
        }
        Ok(())
    })
    .await
}
