//! `down`: everything of a substrate goes, but for what holds data.

use clap::Args;

use crate::progress::Progress as _;
use crate::substrate;

use super::{CliError, Site, page};

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// The volumes too: every database of this substrate is gone then
    #[arg(long)]
    volumes: bool,
}

impl Down {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        // First: its buttons must not make anew what is taken away.
        page::end(site).await?;
        let Site {
            docker,
            substrate,
            progress,
        } = site;
        let taken = substrate::down(docker, substrate, self.volumes, progress).await?;
        let machines = taken
            .machines
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        let machines = if machines.is_empty() {
            "none".to_owned()
        } else {
            machines.join(", ")
        };
        progress.step(&format!(
            "Substrate {substrate} is down; machines taken away: {machines}"
        ));
        if !taken.kept_volumes.is_empty() {
            let kept = taken.kept_volumes.join(", ");
            progress.step(&format!(
                "Kept: {kept}; `up` takes them up again, `down --volumes` removes them"
            ));
        }
        Ok(())
    }
}
