//! An archive in the substrate's own object storage, for whoever does not bring one.

use clap::Args;

use crate::machine::metadata::Wishes;
use crate::substrate::Substrate;

use super::CliError;

/// Where all machines archive, each in the folder of its instance.
const FOLDER: &str = "archive";

#[derive(Debug, Args)]
pub(super) struct Archive {
    /// Its WAL and its backups go to the substrate's object storage, from which `restore` makes machines
    #[arg(long)]
    archive: bool,
}

impl Archive {
    /// Adds what a machine is told of it; what is set by hand stays.
    pub(super) async fn tell(
        &self,
        substrate: &Substrate,
        wishes: &mut Wishes,
    ) -> Result<(), CliError> {
        if !self.archive {
            return Ok(());
        }
        let s3 = substrate.s3().await?;
        for (key, value) in [
            (
                "BEYOND_PG_ARCHIVE_TARGET",
                format!("s3://{}/{FOLDER}", s3.bucket),
            ),
            ("AWS_ACCESS_KEY_ID", s3.keys.access_key),
            ("AWS_SECRET_ACCESS_KEY", s3.keys.secret_key),
            ("AWS_REGION", s3.region.to_owned()),
            ("AWS_ENDPOINT_URL", s3.machine_endpoint),
        ] {
            wishes.set.entry(key.to_owned()).or_insert(value);
        }
        Ok(())
    }
}
