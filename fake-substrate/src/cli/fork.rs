//! `fork SRC NEW`: a machine on a copy of another's volume, and how long each part took.

use clap::Args;

use fake_substrate::docker::volume::Medium;
use fake_substrate::machine::spec::Overrides;
use fake_substrate::names::MachineName;
use fake_substrate::ports::PortChoice;
use fake_substrate::progress::Progress as _;
use fake_substrate::substrate::{Forked, Order, SubstrateError};

use super::undo::Before;
use super::{CliError, Site, up};

#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// The machine to fork, running or not
    source: MachineName,
    /// The new machine
    name: MachineName,
    #[command(flatten)]
    settings: up::Settings,
}

impl Fork {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let parent = site.machine(self.source.clone()).await?.view().await?;
        let wishes = self.settings.wishes()?;
        let before = Before::look(site, &self.name).await?;
        if before.had_machine() {
            let (substrate, name) = (site.substrate.clone(), self.name);
            return Err(SubstrateError::MachineExists { substrate, name }.into());
        }
        let work = async {
            let order = Order {
                name: self.name.clone(),
                image: parent.image_id.clone(),
                memory: parent.memory,
                cpus: parent.cpus,
                ports: PortChoice::Any,
                medium: Medium::Disk,
                wishes,
                overrides: Overrides::default(),
            };
            let substrate = site.connect().await?;
            let forked = substrate.fork(&self.source, order, &site.progress).await?;
            tell(site, &forked);
            forked.machine.start().await?;
            up::ready(site, &forked.machine).await
        };
        before.or_undo(site, work).await
    }
}

fn tell(site: &Site, forked: &Forked) {
    let seconds = |span: std::time::Duration| span.as_secs_f64();
    if let Some(prepared) = forked.prepared {
        site.progress
            .step(&format!("Prepared in {:.2} s", seconds(prepared)));
    }
    site.progress.step(&format!(
        "Copied; the parent stood still for {:.2} s",
        seconds(forked.frozen)
    ));
}
