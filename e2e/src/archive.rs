//! The archive of a machine's WAL in the substrate's object storage, as a scenario speaks of it.

use anyhow::Result;
use fake_substrate::substrate::S3;

use crate::guest::Guest;
use crate::object_storage::{clear, keys};
use crate::spec::Spec;
use crate::vm::Vm;

/// Where in the bucket all machines of a scenario archive, each under its instance.
pub const ARCHIVE: &str = "archive";
/// Where a machine keeps whom it trusts.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

impl Spec {
    /// Its WAL is archived in the object storage.
    pub fn archived(self, s3: &S3) -> Self {
        self.metadata(
            "BEYOND_PG_ARCHIVE_TARGET",
            &format!("s3://{}/{ARCHIVE}", s3.bucket),
        )
        .metadata("AWS_ACCESS_KEY_ID", &s3.keys.access_key)
        .metadata("AWS_SECRET_ACCESS_KEY", &s3.keys.secret_key)
        .metadata("AWS_REGION", s3.region)
        .metadata("AWS_ENDPOINT_URL", &s3.machine_endpoint)
    }

    /// Its empty volume is filled with a backup of that instance.
    pub fn restored_from(self, s3: &S3, instance: &str) -> Self {
        self.archived(s3).metadata(
            "BEYOND_PG_RESTORE_FROM",
            &format!("s3://{}/{ARCHIVE}/{instance}", s3.bucket),
        )
    }

    /// Who its database is, instead of a name of its own.
    pub fn instance(self, id: &str) -> Self {
        self.metadata("BEYOND_INSTANCE_ID", id)
    }
}

/// The keys under which an instance has archived, in order.
pub async fn archived_by(s3: &S3, instance: &str) -> Result<Vec<String>> {
    keys(s3, &format!("{ARCHIVE}/{instance}/wal/")).await
}

/// Nothing that an instance has archived is there any more.
pub async fn forget_archived(s3: &S3, instance: &str) -> Result<()> {
    clear(s3, &format!("{ARCHIVE}/{instance}/wal/")).await
}

/// The key of one file in the archive of an instance.
pub fn archive_key(instance: &str, file: &str) -> String {
    format!("{ARCHIVE}/{instance}/wal/{file}.lz4")
}

impl Vm {
    /// It speaks TLS to the object storage.
    pub async fn archives_over_tls(&self, s3: &S3) -> Result<()> {
        let trust = format!("cat >>{TRUSTED}");
        self.shell_reading("root", &trust, &s3.authority_pem)
            .await?;
        self.set_metadata("AWS_ENDPOINT_URL", &s3.machine_tls_endpoint)
            .await?;
        // Whoever has spoken to object storage before goes on to trust whom it trusted then.
        self.kill(self.archives_ahead().await?).await?;
        self.comes_to_archive_ahead().await
    }
}

impl Guest {
    /// Its next boot is restored to this and to nothing else.
    pub async fn restore_to(&self, kind: &str, target: &str) -> Result<()> {
        for other in ["TIME", "LSN", "NAME"] {
            if other != kind {
                self.remove_metadata(&format!("BEYOND_PG_RESTORE_TARGET_{other}"))
                    .await?;
            }
        }
        self.set_metadata(&format!("BEYOND_PG_RESTORE_TARGET_{kind}"), target)
            .await
    }
}
