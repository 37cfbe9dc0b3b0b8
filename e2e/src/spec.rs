//! A machine as a scenario describes it, before it exists.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fake_substrate::backend::{Backend, Storage};
use fake_substrate::docker::volume::Medium;
use fake_substrate::machine::metadata::Wishes;
use fake_substrate::machine::size::{Cpus, DiskSize, Memory};
use fake_substrate::machine::spec::Overrides;
use fake_substrate::names::MachineName;
use fake_substrate::ports::PortChoice;
use fake_substrate::progress::Quiet;
use fake_substrate::substrate::Order;

use crate::default_volumes;
use crate::filling;
use crate::guest::Guest;
use crate::running::Starting;
use crate::vm::Vm;
use crate::world::Site;

/// A machine to be booted.
#[derive(Debug)]
pub struct Spec {
    site: Arc<Site>,
    name: String,
    image: String,
    memory: &'static str,
    cpus: &'static str,
    volume: Volume,
    wishes: Wishes,
    overrides: Overrides,
    /// The machine whose volume it begins with.
    parent: Option<MachineName>,
    ttl: Option<Duration>,
}

/// What its volume is made of; a fork's is made of what its parent's is.
#[derive(Debug, Clone, Copy)]
enum Volume {
    Unsaid(Option<&'static str>),
    Folder,
    Memory(&'static str),
    Block(Option<&'static str>),
}

impl Volume {
    fn storage(self, unsaid: Backend) -> Result<Storage> {
        Ok(match self {
            Self::Unsaid(host) if unsaid == Backend::Block => Self::Block(host).storage(unsaid)?,
            Self::Unsaid(_) | Self::Folder => Storage::Copy(Medium::Disk),
            Self::Memory(size) => Storage::Copy(Medium::Memory(size.parse::<Memory>()?.bytes())),
            Self::Block(host) => Storage::Block {
                size: DiskSize::DEFAULT,
                host: host.map(str::parse).transpose()?,
            },
        })
    }
}

impl Spec {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    pub(crate) fn new(site: Arc<Site>, name: &str) -> Self {
        Self {
            image: site.images.release.clone(),
            site,
            name: name.to_owned(),
            // Small, since several scenarios share a small host; large enough for every extension.
            memory: "512m",
            cpus: "2",
            volume: Volume::Unsaid(None),
            wishes: Wishes::default(),
            overrides: Overrides::default(),
            parent: None,
            ttl: None,
        }
    }

    /// On a copy of that machine's volume, taken when it is switched on.
    pub(crate) fn fork_of(parent: &Guest, name: &str) -> Self {
        Self {
            parent: Some(parent.machine.name().clone()),
            ..Self::new(Arc::clone(&parent.site), name)
        }
    }

    /// Of that image, by its id, instead of the one that is shipped.
    pub fn of_image(mut self, id: &str) -> Self {
        self.image = id.to_owned();
        self
    }

    /// As in `512m` or `2g`.
    pub fn memory(mut self, memory: &'static str) -> Self {
        self.memory = memory;
        self
    }

    /// As in `0.5` or `2`.
    pub fn cpus(mut self, cpus: &'static str) -> Self {
        self.cpus = cpus;
        self
    }

    /// The size of its volume, as in `400m`, for a scenario that fills it. It lies in memory, most of
    /// which the machine's own limit is charged with.
    pub fn volume_of(mut self, size: &'static str) -> Self {
        self.volume = Volume::Memory(size);
        self
    }

    /// Its volume is a folder, whatever others get in this run (`E2E_VOLUMES`): the story looks into it while
    /// the machine is off, or is about folders.
    pub fn on_folder(mut self) -> Self {
        self.volume = Volume::Folder;
        self
    }

    /// Its volume is a disk, which can lose its power and its host; on the world's only host, unless there
    /// are others.
    pub fn on_block_volume(mut self) -> Self {
        self.volume = Volume::Block(None);
        self
    }

    /// The same on that host, which is made when it is missing.
    pub fn on_host(mut self, host: &'static str) -> Self {
        self.volume = Volume::Block(Some(host));
        self
    }

    /// On that host if its volume is a disk and nobody has said which host it is on: what is to survive the
    /// loss of another machine's host must not be on it.
    pub(crate) fn kept_apart_on(mut self, host: &'static str) -> Self {
        match &mut self.volume {
            Volume::Unsaid(on @ None) | Volume::Block(on @ None) => *on = Some(host),
            Volume::Unsaid(_) | Volume::Block(_) | Volume::Folder | Volume::Memory(_) => {}
        }
        self
    }

    /// A fork that is taken away after so many seconds.
    pub fn for_seconds(mut self, seconds: u64) -> Self {
        self.ttl = Some(Duration::from_secs(seconds));
        self
    }

    /// Losing its volume is fine.
    pub fn ephemeral(mut self) -> Self {
        self.wishes.ephemeral = Some(true);
        self
    }

    /// The superuser's password, instead of a generated one.
    pub fn password(mut self, password: &str) -> Self {
        self.wishes.password = Some(password.to_owned());
        self
    }

    /// One key of its metadata.
    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        self.wishes.set.insert(key.to_owned(), value.to_owned());
        self
    }

    /// An option of PID 1, for every boot of this machine.
    pub fn init_option(mut self, option: &str, value: &str) -> Self {
        let init = || vec!["/sbin/init".to_owned()];
        let argv = self.overrides.entrypoint.get_or_insert_with(init);
        argv.extend([option.to_owned(), value.to_owned()]);
        self
    }

    /// One variable in the environment of its PID 1, where a platform's settings do not belong.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.overrides.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Of the image whose boot says where it can be cut.
    pub fn with_failpoints(mut self) -> Self {
        self.image = self.site.images.failpoints.clone();
        self
    }

    /// It sends as many log lines as its host takes.
    pub fn without_log_limit(mut self) -> Self {
        self.image = self.site.images.failpoints.clone();
        let argv = ["/sbin/init", "--log-limit", "none"].map(str::to_owned);
        self.overrides.entrypoint = Some(argv.to_vec());
        self
    }

    /// That program runs in place of PID 1: a plain container with a machine's limits and its disk.
    pub(crate) fn in_place_of_init<const N: usize>(mut self, argv: [&str; N]) -> Self {
        self.overrides.entrypoint = Some(argv.map(str::to_owned).to_vec());
        self
    }

    /// It looks at its certificates every second.
    pub fn watching_certificates(mut self) -> Self {
        let argv = ["/sbin/init", "--tls-poll", "1"].map(str::to_owned);
        self.overrides.entrypoint = Some(argv.to_vec());
        self
    }

    /// Boots it and waits until clients get in.
    pub async fn boot(self) -> Result<Vm> {
        self.start().await?.ready().await
    }

    /// Switches it on.
    pub async fn start(self) -> Result<Starting> {
        self.make().await?.power_on().await
    }

    /// Makes container and volume and leaves them off.
    pub async fn make(self) -> Result<Guest> {
        let name = self.name;
        let unsaid = default_volumes::backend(&self.site.docker).await?;
        let order = Order {
            name: name.parse()?,
            image: self.image,
            memory: self.memory.parse::<Memory>()?,
            cpus: self.cpus.parse::<Cpus>()?,
            storage: self.volume.storage(unsaid)?,
            ttl: self.ttl,
            ports: PortChoice::Any,
            wishes: self.wishes,
            overrides: self.overrides.clone(),
        };
        let substrate = &self.site.substrate;
        let machine = match &self.parent {
            None => substrate.create(order, &Quiet).await,
            Some(parent) => {
                let forked = substrate.fork(parent, order, &Quiet).await;
                forked.map(|forked| {
                    // No assertion on time; whoever reads a run wants to know.
                    eprintln!("forked {parent}: {:?}", forked.paused);
                    forked.machine
                })
            }
        };
        let machine = machine.with_context(|| format!("making machine {name}"))?;
        if let Volume::Memory(_) = self.volume {
            filling::hold(&self.site, &machine).await?;
        }
        Ok(Guest {
            site: self.site,
            machine,
            overrides: self.overrides,
        })
    }
}
