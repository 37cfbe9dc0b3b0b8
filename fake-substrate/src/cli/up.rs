//! `up` and `add`: from nothing to a machine that lets a client in.

use std::io::Read as _;

use clap::Args;

use crate::backend::{Backend, Storage};
use crate::docker::{container, processors};
use crate::image::{self, Variant};
use crate::machine::metadata::{self, Wishes, assignment};
use crate::machine::size::{Cpus, Memory};
use crate::machine::spec::Overrides;
use crate::machine::state::State;
use crate::machine::{Change, Machine, View};
use crate::names::MachineName;
use crate::ports::{self, PortChoice, PortError};
use crate::progress::Progress as _;
use crate::substrate::{self, Order, Substrate, SubstrateError};
use crate::until::Budget;
use crate::volume::store::decide::Children;

use super::archive::Archive;
use super::replica::Joining;
use super::undo::Before;
use super::{CliError, Site, answer, page, sink, storage};

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The machine's name
    #[arg(long, default_value = "db")]
    name: MachineName,
    /// With a second machine, NAME-sink, that holds its WAL on another host
    #[arg(long)]
    sink: bool,
    /// Where to find it on localhost; 5432 for a new machine
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Without the page on localhost
    #[arg(long)]
    no_page: bool,
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    volume: storage::Volume,
    #[command(flatten)]
    archive: Archive,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The new machine's name
    name: MachineName,
    /// single, primary, replica (with --of) or sink
    #[arg(long, default_value = "single")]
    tier: String,
    /// The primary that a replica shall follow; its volume lies on another host
    #[arg(long, value_name = "PRIMARY")]
    of: Option<MachineName>,
    /// The machine that shall hold its WAL, made with --tier sink; its volume lies on another host
    #[arg(long)]
    sink: Option<MachineName>,
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    volume: storage::Volume,
    #[command(flatten)]
    archive: Archive,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
struct Size {
    /// Memory, such as 512m or 2g; 2g for a new machine
    #[arg(long)]
    memory: Option<Memory>,
    /// Processors, such as 2 or 0.5; 2 for a new machine, or what Docker has
    #[arg(long)]
    cpus: Option<Cpus>,
}

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Losing the volume is fine: commits are not waited for
    #[arg(long)]
    ephemeral: bool,
    /// A file with the superuser's password, - for standard input; generated unless given
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,
    /// A setting of the machine, such as BEYOND_VOLUME_EPHEMERAL=true; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

impl Up {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let wishes = self.settings.wishes()?;
        let before = Before::look(site, &self.name).await?;
        let work = async {
            if self.sink {
                let wishes = self.bring_up_sink(site, wishes).await?;
                return self.bring_up(site, &wishes).await;
            }
            self.bring_up(site, &wishes).await
        };
        before.or_undo(site, work).await
    }

    async fn bring_up(&self, site: &Site, wishes: &Wishes) -> Result<(), CliError> {
        // Whatever can be refused without making anything is refused first.
        self.check_port(site).await?;
        let cpus = self.size.cpus(site).await?;
        let storage = self.volume.storage(site, &self.name).await?;
        let image = image::ensure_postgres(&site.docker, Variant::Release, &site.progress).await?;
        let substrate = substrate(site, storage.backend()).await?;
        let mut wishes = wishes.clone();
        self.archive.tell(&substrate, &mut wishes).await?;
        let machine = match substrate.machine(&self.name).await? {
            None => {
                let storage = self.apart_from_its_sink(&substrate, storage).await?;
                let order = Order {
                    name: self.name.clone(),
                    image: image.id,
                    memory: self.size.memory.unwrap_or(Memory::DEFAULT),
                    cpus,
                    storage,
                    ttl: None,
                    ports: PortChoice::At(self.port.unwrap_or(wire::ports::POOLER)),
                    wishes,
                    overrides: Overrides::default(),
                };
                boot(site, &substrate, order).await?
            }
            Some((_machine, view)) if view.state == State::Lost => {
                return Err(CliError::Lost(view.name));
            }
            Some((machine, view)) => {
                let change = self.change(image.id, &view)?;
                let told = substrate.tell(&view, &wishes).await?;
                settle(site, &machine, &view, change, told).await?;
                machine
            }
        };
        if !self.no_page {
            page::ensure(site).await;
        }
        ready(site, &machine).await
    }

    fn sink_name(&self) -> Result<MachineName, CliError> {
        Ok(format!("{}-sink", self.name).parse()?)
    }

    /// Where nobody says where a volume goes it goes to a host that is there, and that is the sink's.
    async fn apart_from_its_sink(
        &self,
        substrate: &Substrate,
        storage: Storage,
    ) -> Result<Storage, CliError> {
        if !self.sink {
            return Ok(storage);
        }
        let there = sink::host_of(substrate, &self.sink_name()?).await?;
        Ok(sink::apart_from(storage, there.as_ref()))
    }

    /// The sink first: its primary asks it before anything else.
    async fn bring_up_sink(&self, site: &Site, mut wishes: Wishes) -> Result<Wishes, CliError> {
        let name = self.sink_name()?;
        let storage = self.volume.storage(site, &self.name).await?;
        let substrate = substrate(site, storage.backend()).await?;
        if substrate.machine(&name).await?.is_none() {
            let there = sink::host_of(&substrate, &self.name).await?;
            let beside = there.as_ref().or(storage.host()).cloned();
            let storage = sink::anywhere(self.volume.storage(site, &name).await?);
            let storage = sink::apart_from(storage, beside.as_ref());
            let order = sink::order(site, name.clone(), storage).await?;
            boot(site, &substrate, order).await?;
        }
        let told = sink::introduce(site, &substrate, &name, &self.name).await?;
        wishes.set.extend(told);
        Ok(wishes)
    }

    async fn check_port(&self, site: &Site) -> Result<(), CliError> {
        let views = substrate::views(&site.docker, &site.substrate).await?;
        let own = views
            .iter()
            .find(|view| view.name == self.name)
            .map(|view| view.ports.pooler);
        let wanted = self.port.or(own).unwrap_or(wire::ports::POOLER);
        if own == Some(wanted) {
            return Ok(());
        }
        match ports::choose(PortChoice::At(wanted)) {
            Err(PortError::InUse { port, by: None }) => {
                let by = container::publisher_of(&site.docker, port).await?;
                let by = by.map(|name| format!("container {name}"));
                Err(PortError::InUse { port, by }.into())
            }
            chosen => chosen.map(drop).map_err(Into::into),
        }
    }

    /// What was not asked for stays as it is, but for the image: `up` means the present one.
    fn change(&self, image: String, view: &View) -> Result<Change, CliError> {
        let port = self.port.filter(|port| *port != view.ports.pooler);
        let ports = port
            .map(|port| ports::choose(PortChoice::At(port)))
            .transpose()?;
        let Size { memory, cpus } = self.size;
        let image = Some(image);
        Ok(Change {
            image,
            memory,
            cpus,
            ports,
            disk: None,
            overrides: Overrides::default(),
        })
    }
}

impl Add {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        let mut wishes = self.settings.wishes()?;
        match self.tier.as_str() {
            "single" => {}
            "primary" => wishes
                .set
                .extend(metadata::replica::of_new_primary().map_err(SubstrateError::from)?),
            "replica" if self.of.is_some() => {}
            "replica" => return Err(CliError::OfWhom),
            "sink" => wishes
                .set
                .extend(metadata::sink::of_new_sink().map_err(SubstrateError::from)?),
            other => return Err(CliError::NoTier(other.to_owned())),
        }
        if self.of.is_some() && self.tier != "replica" {
            return Err(CliError::OfWhom);
        }
        let before = Before::look(site, &self.name).await?;
        if before.had_machine() {
            let (substrate, name) = (site.substrate.clone(), self.name);
            return Err(SubstrateError::MachineExists { substrate, name }.into());
        }
        let work = async {
            let cpus = self.size.cpus(site).await?;
            let mut storage = self.volume.storage(site, &self.name).await?;
            let image =
                image::ensure_postgres(&site.docker, Variant::Release, &site.progress).await?;
            let substrate = substrate(site, storage.backend()).await?;
            self.archive.tell(&substrate, &mut wishes).await?;
            if let Some(name) = &self.sink {
                let told = sink::introduce(site, &substrate, name, &self.name).await?;
                wishes.set.extend(told);
                let there = sink::host_of(&substrate, name).await?;
                storage = sink::apart_from(storage, there.as_ref());
            }
            let joining = match &self.of {
                Some(primary) => {
                    let joining = Joining::of(site, &substrate, &self.name, primary).await?;
                    let mut told = joining.told();
                    told.extend(std::mem::take(&mut wishes.set));
                    wishes.set = told;
                    let there = sink::host_of(&substrate, primary).await?;
                    storage = sink::apart_from(storage, there.as_ref());
                    Some(joining)
                }
                None => None,
            };
            let waits = metadata::sink::is_sink(&wishes.set)
                && metadata::sink::conninfo_of(&wishes.set).is_none();
            let order = Order {
                name: self.name.clone(),
                image: image.id,
                memory: self.size.memory.unwrap_or(Memory::DEFAULT),
                cpus,
                storage,
                ttl: None,
                ports: PortChoice::Any,
                wishes,
                overrides: Overrides::default(),
            };
            let machine = boot(site, &substrate, order).await?;
            if waits {
                // It is ready once it knows whose WAL it shall hold.
                return sink::tell_of_new(&machine);
            }
            ready(site, &machine).await?;
            match joining {
                Some(joining) => joining.join(site, &substrate, &machine).await,
                None => Ok(()),
            }
        };
        before.or_undo(site, work).await
    }
}

/// Docker refuses more than there are, in words of its own and only at the end.
pub(super) fn can_have(asked: Cpus, there: u32) -> Result<(), CliError> {
    if asked > Cpus::whole(there) {
        return Err(CliError::TooManyCpus { asked, there });
    }
    Ok(())
}

impl Size {
    /// What was asked for, or what a new machine gets.
    async fn cpus(&self, site: &Site) -> Result<Cpus, CliError> {
        let there = processors(&site.docker).await?;
        match self.cpus {
            Some(asked) => can_have(asked, there).map(|()| asked),
            None => Ok(Cpus::DEFAULT.min(Cpus::whole(there))),
        }
    }
}

impl Settings {
    pub(super) fn wishes(&self) -> Result<Wishes, CliError> {
        Ok(Wishes {
            password: self.password_file.as_deref().map(password).transpose()?,
            ephemeral: self.ephemeral.then_some(true),
            set: self.set.iter().cloned().collect(),
        })
    }
}

/// A file rather than an option, which every user of this host could read in the process list.
fn password(file: &str) -> Result<String, CliError> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin().lock().read_to_string(&mut text),
        path => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    let file = file.to_owned();
    match read {
        Err(source) => Err(CliError::PasswordFile { file, source }),
        Ok(_bytes) => match text.lines().next().filter(|line| !line.is_empty()) {
            Some(line) => Ok(line.to_owned()),
            None => Err(CliError::EmptyPassword { file }),
        },
    }
}

/// A new one remembers what the volume of its first machine is made of.
async fn substrate(site: &Site, backend: Backend) -> Result<Substrate, CliError> {
    let image = image::ensure_substrate(&site.docker, &site.progress).await?;
    site.progress
        .step(&format!("Starting substrate {}", site.substrate));
    let Site {
        docker,
        substrate,
        progress,
    } = site;
    let substrate = Substrate::up(docker, substrate, &image.id, backend, None, progress).await?;
    substrate.expire(progress).await?;
    Ok(substrate)
}

/// A machine that could not even be started was never there: its port may have been taken in the
/// meantime. One that boots and fails stays, with its output.
pub(super) async fn boot(
    site: &Site,
    substrate: &Substrate,
    order: Order,
) -> Result<Machine, CliError> {
    let Order {
        name, memory, cpus, ..
    } = &order;
    site.progress
        .step(&format!("Booting machine {name} ({memory}, cpus {cpus})"));
    let name = name.clone();
    let had_volume = substrate::volumes(&site.docker, &site.substrate)
        .await?
        .iter()
        .any(|volume| volume.name == site.substrate.machine_volume(&name));
    match substrate.boot(order, &site.progress).await {
        Err(error) => {
            // The failure to start is what matters; what cannot be removed is found by label.
            let volume = (!had_volume).then_some(Children::Forbid);
            drop(substrate.handle(name).remove(volume).await);
            Err(error.into())
        }
        booted => Ok(booted?),
    }
}

/// Brings a machine that exists into line with what was asked for.
async fn settle(
    site: &Site,
    machine: &Machine,
    view: &View,
    change: Change,
    told: bool,
) -> Result<(), CliError> {
    let name = machine.name();
    let differences: Vec<_> = change.differences(view).collect();
    if !differences.is_empty() {
        let differences = differences.join(", ");
        site.progress.step(&format!(
            "Making machine {name} anew on its volume: {differences}"
        ));
        machine.recreate(change, &site.progress).await?;
    } else if told && view.state == State::Running {
        site.progress.step(&format!(
            "Restarting machine {name}: its settings have changed"
        ));
        machine.stop(None).await?;
    } else if view.state != State::Running {
        site.progress
            .step(&format!("Booting machine {name}, which was {}", view.state));
    }
    Ok(machine.start().await?)
}

/// Waits, then ends with the line to paste: the only one on standard output.
pub(super) async fn ready(site: &Site, machine: &Machine) -> Result<(), CliError> {
    let took = machine.ready(Budget::MACHINE_READY, &site.progress).await?;
    if sink::is_one(machine).await? {
        return sink::tell(machine);
    }
    let name = machine.name();
    let (pooled, direct) = machine.login().await?.commands(machine.view().await?.ports);
    let took = took.as_secs_f64();
    site.progress
        .step(&format!("Machine {name} is ready (waited {took:.1} s)"));
    if let Some(url) = page::url(site) {
        site.progress.step(&format!("Page: {url}"));
    }
    site.progress.step(&format!("Past the pooler: {direct}"));
    site.progress.step("Through the pooler:");
    answer(&pooled)
}
