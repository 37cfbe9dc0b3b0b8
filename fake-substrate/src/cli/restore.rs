//! `restore SRC NEW --to TIME|LSN|NAME`: a machine made from another's archive, and how long each part took.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::backend::Storage;
use crate::docker::volume::Medium;
use crate::machine::disk::Disk;
use crate::machine::metadata::restore;
use crate::machine::size::DiskSize;
use crate::machine::spec::Overrides;
use crate::machine::state::State;
use crate::machine::{Machine, MachineError, NotReady, View};
use crate::names::MachineName;
use crate::ports::PortChoice;
use crate::progress::Progress as _;
use crate::substrate::{Order, SubstrateError};
use crate::until::timed;

use super::undo::Before;
use super::{CliError, Site, up};

/// How long the source may take to archive what it has.
const ARCHIVED: Duration = Duration::from_secs(150);

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The machine whose archive is read, running or not
    source: MachineName,
    /// The new machine
    name: MachineName,
    /// A time with its zone, a position in the WAL, or the name of a restore point; all that is archived unless
    /// given
    #[arg(long, value_name = "TIME|LSN|NAME")]
    to: Option<String>,
    /// The backup to begin with, or latest: the newest before the target
    #[arg(long, value_name = "NAME", default_value = "latest")]
    backup: String,
    #[command(flatten)]
    settings: up::Settings,
}

impl Restore {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let source = site.machine(self.source.clone()).await?;
        let view = source.view().await?;
        let mut wishes = self.settings.wishes()?;
        let backup = (self.backup != "latest").then_some(self.backup.as_str());
        let told = restore::of_restored(&source.metadata().await?, self.to.as_deref(), backup);
        let told = told.ok_or_else(|| CliError::NoArchive(self.source.clone()))?;
        for (key, value) in told {
            wishes.set.entry(key).or_insert(value);
        }
        let before = Before::look(site, &self.name).await?;
        if before.had_machine() {
            let (substrate, name) = (site.substrate.clone(), self.name);
            return Err(SubstrateError::MachineExists { substrate, name }.into());
        }
        let (name, is_new) = (self.name.clone(), !before.had_volume());
        let work = async {
            archive_now(site, &source, &view).await?;
            let order = Order {
                name: self.name.clone(),
                image: view.image_id.clone(),
                memory: view.memory,
                cpus: view.cpus,
                ports: PortChoice::Any,
                storage: like(&view.disk),
                ttl: None,
                wishes,
                overrides: Overrides::default(),
            };
            let end = self.to.as_deref().unwrap_or("the end of the archive");
            site.progress
                .step(&format!("Restoring {} to {end}", self.source));
            let substrate = site.connect().await?;
            let work = async {
                let machine = up::boot(site, &substrate, order).await?;
                let ready = up::ready(site, &machine).await;
                ready.map_err(|error| match error {
                    CliError::Machine(MachineError::NotReady(why)) if is_new => refused(name, why),
                    error => error,
                })
            };
            let (done, took) = timed(work).await;
            done?;
            site.progress
                .step(&format!("Restored in {:.1} s", took.as_secs_f64()));
            Ok(())
        };
        before.or_undo(site, work).await
    }
}

/// A machine that ended serves for nothing but its log.
fn refused(name: MachineName, why: Box<NotReady>) -> CliError {
    match *why {
        NotReady::Ended { .. } => CliError::NotRestored { name, why },
        NotReady::OutOfTime { .. } => MachineError::from(why).into(),
    }
}

/// A source that runs archives what it has, so that its last moments can be restored. One that cannot is
/// restored to what is there.
async fn archive_now(site: &Site, source: &Machine, view: &View) -> Result<(), CliError> {
    if view.state != State::Running {
        return Ok(());
    }
    let substrate = site.connect().await?;
    let request = json!({ "cmd": "archive_now" });
    let asked = substrate
        .admin()
        .rpc(source.name().as_str(), &request, ARCHIVED);
    let (answer, took) = timed(asked).await;
    let name = source.name();
    let words = match answer {
        Ok(answer) if answer.ok => {
            let took = took.as_secs_f64();
            format!("Archived what {name} has in {took:.2} s")
        }
        Ok(answer) => {
            let why = answer.error.unwrap_or_default();
            format!("{name} could not archive its last segment: {why}")
        }
        Err(error) => format!("{name} could not be asked to archive its last segment: {error}"),
    };
    site.progress.step(&words);
    Ok(())
}

/// A volume made of what that one is made of.
fn like(disk: &Disk) -> Storage {
    match disk {
        Disk::Folder => Storage::Copy(Medium::Disk),
        Disk::Block { host, .. } => Storage::Block {
            size: DiskSize::DEFAULT,
            host: Some(host.clone()),
        },
    }
}
