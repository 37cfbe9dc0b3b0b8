//! `image`: build, list, and keep the pins current.

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use crate::image::{self, Variant};
use crate::progress::Progress as _;

use super::{CliError, Site, answer};

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Build the machine's image, unless there is one of the present sources
    Build,
    /// The images that were built
    Ls,
    /// Compare the pins of extensions.toml with what Debian carries now
    Pins(Pins),
}

#[derive(Debug, Args)]
pub(crate) struct Pins {
    /// Write the versions that exist into extensions.toml
    #[arg(long)]
    update: bool,
}

impl Image {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        match self {
            Self::Build => build(site).await,
            Self::Ls => ls(site).await,
            Self::Pins(pins) => pins.run(site).await,
        }
    }
}

async fn build(site: &Site) -> Result<(), CliError> {
    let built = image::ensure_postgres(&site.docker, Variant::Release, &site.progress).await?;
    let how = if built.built { "built" } else { "up to date" };
    site.progress
        .step(&format!("Image {} is {how}", built.name));
    answer(&built.id)
}

async fn ls(site: &Site) -> Result<(), CliError> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["IMAGE", "ID", "SIZE", "REVISION"]);
    for image in image::list(&site.docker).await? {
        let id = image
            .id
            .trim_start_matches("sha256:")
            .chars()
            .take(12)
            .collect();
        let size = format!("{} MB", image.size / 1_000_000);
        let revision = image.revision.unwrap_or_default();
        table.add_row([image.names.join("\n"), id, size, revision]);
    }
    answer(&table.trim_fmt())
}

impl Pins {
    async fn run(self, site: &Site) -> Result<(), CliError> {
        let changes = image::pins_update(&site.docker, self.update, &site.progress).await?;
        if changes.is_empty() {
            site.progress.step("Every pin is what Debian carries");
        }
        for change in changes {
            answer(&change.to_string())?;
        }
        Ok(())
    }
}
