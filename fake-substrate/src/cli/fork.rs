//! `fork SRC NEW`: a machine on a copy of another's volume, and how long each part took.

use std::time::Duration;

use clap::Args;

use crate::backend::Storage;
use crate::docker::volume::Medium;
use crate::machine::spec::Overrides;
use crate::names::MachineName;
use crate::ports::PortChoice;
use crate::progress::Progress as _;
use crate::substrate::{Forked, Order, Paused, SubstrateError};

use super::replica::Joining;
use super::undo::Before;
use super::{CliError, Site, up};

#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// The machine to fork, running or not
    source: MachineName,
    /// The new machine
    name: MachineName,
    /// Take the new machine away after so long, such as 90s, 30m, 2h or 7d; the next command after that
    /// does it
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    ttl: Option<Duration>,
    /// A replica of its parent, which is a primary, instead of a database of its own
    #[arg(long)]
    replica: bool,
    #[command(flatten)]
    settings: up::Settings,
}

fn ttl(given: &str) -> Result<Duration, &'static str> {
    let parse = || {
        let number = given.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let seconds = match &given[number.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            _ => return None,
        };
        let number = number.parse::<u64>().ok().filter(|number| *number > 0)?;
        Some(Duration::from_secs(number.checked_mul(seconds)?))
    };
    parse().ok_or("a whole number above 0 and s, m, h or d, such as 2h")
}

impl Fork {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let parent = site.machine(self.source.clone()).await?.view().await?;
        let mut wishes = self.settings.wishes()?;
        let before = Before::look(site, &self.name).await?;
        if before.had_machine() {
            let (substrate, name) = (site.substrate.clone(), self.name);
            return Err(SubstrateError::MachineExists { substrate, name }.into());
        }
        let work = async {
            let substrate = site.connect().await?;
            let joining = match self.replica {
                true => Some(Joining::of(site, &substrate, &self.name, &self.source).await?),
                false => None,
            };
            if let Some(joining) = &joining {
                let mut told = joining.told();
                told.extend(std::mem::take(&mut wishes.set));
                wishes.set = told;
            }
            let order = Order {
                name: self.name.clone(),
                image: parent.image_id.clone(),
                memory: parent.memory,
                cpus: parent.cpus,
                ports: PortChoice::Any,
                // That of its parent, whatever stands here.
                storage: Storage::Copy(Medium::Disk),
                ttl: self.ttl,
                wishes,
                overrides: Overrides::default(),
            };
            let forked = substrate.fork(&self.source, order, &site.progress).await?;
            tell(site, &forked);
            forked.machine.start().await?;
            up::ready(site, &forked.machine).await?;
            match joining {
                Some(joining) => joining.join(site, &substrate, &forked.machine).await,
                None => Ok(()),
            }
        };
        before.or_undo(site, work).await
    }
}

fn tell(site: &Site, forked: &Forked) {
    let seconds = |span: Duration| span.as_secs_f64();
    if let Some(prepared) = forked.prepared {
        site.progress
            .step(&format!("Prepared in {:.2} s", seconds(prepared)));
    }
    let copied = match forked.paused {
        Paused::StoodStill(time) => {
            format!("Copied; the parent stood still for {:.2} s", seconds(time))
        }
        Paused::AtMost(time) => {
            let ms = seconds(time) * 1000.0;
            format!("Forked; the parent's writes waited for at most {ms:.1} ms")
        }
    };
    site.progress.step(&copied);
}
