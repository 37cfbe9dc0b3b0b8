//! pgBackRest, on the machine's own image: what its archive and its restores are measured against.

use anyhow::{Context as _, Result};
use fake_substrate::image;
use fake_substrate::progress::Lines;
use fake_substrate::substrate::S3;

use crate::disk::PGDATA;
use crate::object_storage::clear;
use crate::running::POSTGRES;
use crate::sql::Door;
use crate::vm::Vm;
use crate::world::World;

/// pgBackRest, and what a script archives with.
const PACKAGES: [&str; 3] = ["pgbackrest", "lz4", "curl"];
/// Where its configuration is, and what it makes; nothing of it is on a volume.
pub(crate) const FOLDER: &str = "/tmp/pgbackrest";
const STANZA: &str = "bench";
/// Where in the bucket it keeps what it has, and of it the WAL of Postgres 18's first cluster.
const REPOSITORY: &str = "pgbackrest";
const WAL: &str = "pgbackrest/archive/bench/18-1/";
/// How many segments are under way in a machine of 2 GB (`beyond-pg archive-ahead --at-once`).
const AT_ONCE: usize = 8;

/// Writes the configuration from the environment: for a container that has no other way in.
pub(crate) const INSTALL: &str = r#"mkdir -p /tmp/pgbackrest &&
    printf '%s' "$BENCH_AUTHORITY" >/tmp/pgbackrest/authority.pem &&
    printf '%s' "$BENCH_CONFIGURATION" >/tmp/pgbackrest/pgbackrest.conf && exec "$@""#;

/// How to run it against the object storage of a substrate.
#[derive(Debug)]
pub struct PgBackRest {
    configuration: String,
    authority: String,
}

impl World {
    /// The image that is shipped, with pgBackRest of the same Debian suite: its id.
    pub async fn image_with_pgbackrest(&self) -> Result<String> {
        let site = &self.site;
        let progress = Lines::to_stderr();
        let made =
            image::with_packages(&site.docker, &site.images.release, &PACKAGES, &progress).await;
        let made = made.with_context(|| {
            format!("the benchmark takes {PACKAGES:?} from Debian's mirror once; without it there is no baseline")
        })?;
        Ok(made.id)
    }
}

impl PgBackRest {
    /// Whose repository is in that bucket. It speaks to object storage over TLS alone.
    pub fn new(s3: &S3) -> Self {
        let address = wire::ports::METADATA_ADDR;
        let port = fake_substrate::s3::TLS_PORT;
        let (bucket, region) = (s3.bucket, s3.region);
        let (key, secret) = (&s3.keys.access_key, &s3.keys.secret_key);
        let direct = Door::Direct.port();
        Self {
            configuration: format!(
                "[global]\n\
                 repo1-type=s3\n\
                 repo1-path=/{REPOSITORY}\n\
                 repo1-s3-bucket={bucket}\n\
                 repo1-s3-endpoint={address}\n\
                 repo1-s3-region={region}\n\
                 repo1-s3-uri-style=path\n\
                 repo1-s3-key={key}\n\
                 repo1-s3-key-secret={secret}\n\
                 repo1-storage-host={address}\n\
                 repo1-storage-port={port}\n\
                 repo1-storage-ca-file={FOLDER}/authority.pem\n\
                 archive-async=y\n\
                 spool-path={FOLDER}\n\
                 lock-path={FOLDER}/lock\n\
                 process-max={AT_ONCE}\n\
                 compress-type=lz4\n\
                 log-level-file=off\n\
                 log-level-console=warn\n\
                 [{STANZA}]\n\
                 pg1-path={PGDATA}\n\
                 pg1-port={direct}\n"
            ),
            authority: s3.authority_pem.clone(),
        }
    }

    /// Puts it onto a machine of its image, and makes its repository.
    pub async fn install(&self, db: &Vm) -> Result<()> {
        db.as_postgres(&["mkdir", "-p", FOLDER]).await?;
        for (file, content) in [
            ("authority.pem", &self.authority),
            ("pgbackrest.conf", &self.configuration),
        ] {
            let write = format!("cat >{FOLDER}/{file}");
            db.shell_reading(POSTGRES, &write, content).await?;
        }
        let make = format!("{} --no-online stanza-create", self.program());
        let made = db.as_postgres(&["sh", "-c", &make]).await;
        made.context("making pgBackRest's repository").map(drop)
    }

    /// For a container without one: what [`INSTALL`] reads.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        [
            ("BENCH_AUTHORITY", &self.authority),
            ("BENCH_CONFIGURATION", &self.configuration),
        ]
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .to_vec()
    }

    /// `archive_command`.
    pub fn archive_command(&self) -> String {
        format!("{} archive-push %p", self.program())
    }

    /// `restore_command`.
    pub(crate) fn restore_command(&self) -> String {
        format!("{} archive-get %f %p", self.program())
    }

    fn program(&self) -> String {
        format!("pgbackrest --config={FOLDER}/pgbackrest.conf --stanza={STANZA}")
    }

    /// It has archived nothing, and does not remember otherwise.
    pub async fn forget(&self, db: &Vm, s3: &S3) -> Result<()> {
        let spool = format!("{FOLDER}/archive");
        db.as_postgres(&["rm", "-rf", &spool]).await?;
        clear(s3, WAL).await
    }
}
