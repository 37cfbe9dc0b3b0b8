//! Boot: observe facts, make a plan, apply it (G-001). `boot`, `boot --plan` and the start of the
//! supervisor are the same three calls.

pub(crate) mod apply;
mod asking;
pub(crate) mod facts;
pub(crate) mod failpoint;
pub(crate) mod gap;
pub(crate) mod journal;
pub(crate) mod plan;
pub(crate) mod step;

#[cfg(test)]
mod cut_tests;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::boot::apply::{ApplyError, Disk, unheard};
use crate::boot::facts::{Facts, FactsError, Owners};
use crate::boot::gap::GapError;
use crate::boot::journal::{BootRecord, Journal, StopAfter};
use crate::boot::plan::{Boot, Refusal};
use crate::boot::step::{DiskStep, Plan};
use crate::conf::ConfFile;
use crate::fx::clock;
use crate::init::volume::{self, VolumeError};
use crate::layout::Layout;
use crate::machine::{Machine, MachineError};
use crate::manifest::{Manifest, ManifestError};
use crate::metadata::{self, Metadata, Source};
use crate::replication::census::CensusError;
use crate::settings::{Problems, RestoreTarget, Settings};
use crate::supervise::chain;
use crate::sys::user::{Account, AccountError};
use crate::sys::volume_lock::{LockError, VolumeLock};

/// How long a machine that refuses its settings waits before it asks again: the platform may mend
/// the document, and a machine that exits is restarted with the same one.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How long a command looks for settings: whoever typed it waits for an answer, unlike PID 1.
const BY_HAND: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub(crate) enum BootError {
    #[error(
        "no usable settings within {} s; why stands in the lines above. Nothing was changed.\n\
         HINT: mend the metadata document, or give this command the environment that the machine was started with",
        BY_HAND.as_secs()
    )]
    NoSettings,
    #[error(transparent)]
    Settings(#[from] Problems),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Census(#[from] CensusError),
    #[error("reading the image's manifest {path}\nHINT: the image is broken; build it again")]
    ManifestUnreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("boot step {number} failed: {step}")]
    Step {
        number: usize,
        step: String,
        source: ApplyError,
    },
    #[error("putting a file right failed: {step}")]
    Restore { step: String, source: ApplyError },
    #[error(
        "boot step {number} failed, because the volume is full: {step}\n\
         HINT: give the machine a larger volume, or attach this one elsewhere and delete what is not needed; never anything in pg_wal"
    )]
    NoRoom {
        number: usize,
        step: String,
        source: ApplyError,
    },
    #[error("asking for the cluster that belongs on this volume")]
    Sink(#[from] GapError),
    #[error(
        "the WAL sink did not answer within {} s, and it may hold the cluster that belongs on this volume. Nothing was changed.\n\
         HINT: start the sink", BY_HAND.as_secs()
    )]
    SinkSilent,
    #[error(
        "{} is held by another machine or process. Nothing was changed.\n\
         HINT: stop the other one first; two postmasters on one volume destroy it", path.display()
    )]
    VolumeHeld { path: PathBuf },
}

impl BootError {
    fn of_step(number: usize, step: &DiskStep, source: ApplyError) -> BootError {
        let step = step.to_string();
        if source.is_out_of_space() {
            BootError::NoRoom {
                number,
                step,
                source,
            }
        } else {
            BootError::Step {
                number,
                step,
                source,
            }
        }
    }
}

/// Everything a boot knows once it has looked.
pub(crate) struct Observed {
    pub(crate) settings: Settings,
    pub(crate) machine: Machine,
    pub(crate) manifest: Manifest,
    pub(crate) owners: Owners,
    pub(crate) facts: Facts,
    pub(crate) now: i64,
    /// Held for as long as this machine lives; `None` when another process of it holds the volume.
    pub(crate) lock: Option<VolumeLock>,
}

/// Text into settings; what is merely odd is logged.
fn understood(document: &Metadata) -> Result<Settings, Problems> {
    let (settings, warnings) = Settings::from_metadata(document)?;
    tracing::info!("settings from the {}", document.source);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}

/// Looks at everything, changes nothing but the lock file.
pub(crate) fn observe(layout: &Layout, settings: Settings) -> Result<Observed, BootError> {
    let path = layout.manifest();
    let text = fs::read_to_string(&path)
        .map_err(|source| BootError::ManifestUnreadable { path, source })?;
    let manifest = Manifest::parse(&text)?;
    let owners = Owners {
        root: Account::root(),
        postgres: crate::sys::user::postgres()?,
    };
    let lock = VolumeLock::take(&layout.volume_lock())?;
    let now = clock::unix_seconds();
    Ok(Observed {
        machine: Machine::read(layout.root())?,
        facts: facts::observe(layout, &manifest, owners, now)?,
        settings,
        manifest,
        owners,
        now,
        lock,
    })
}

impl Observed {
    pub(crate) fn plan(&self, layout: &Layout) -> Result<Plan, Refusal> {
        self.boot(layout).plan(&self.facts)
    }

    /// Where the restore ends that this boot has to do.
    pub(crate) fn restores(&self, layout: &Layout) -> Option<RestoreTarget> {
        self.boot(layout).restores(&self.facts).cloned()
    }

    fn boot<'a>(&'a self, layout: &'a Layout) -> Boot<'a> {
        Boot {
            settings: &self.settings,
            machine: &self.machine,
            manifest: &self.manifest,
            layout,
            holds_volume: self.lock.is_some(),
        }
    }

    /// Makes a file that is not as this boot left it as it should be again.
    pub(crate) async fn restore(&self, layout: &Layout, file: ConfFile) -> Result<(), BootError> {
        let mut facts = self.facts.clone();
        facts
            .files
            .insert(file, facts::look_at(layout, self.owners, file)?);
        let Some(step) = self.boot(layout).conf(file, &facts) else {
            return Ok(());
        };
        tracing::warn!(
            "{} was changed since the boot: {step}",
            file.path(layout).display()
        );
        let disk = self.disk(layout, &unheard);
        disk.apply(&step)
            .await
            .map_err(|source| BootError::Restore {
                step: step.to_string(),
                source,
            })
    }

    fn disk<'a>(&'a self, layout: &'a Layout, say: &'a dyn Fn(Option<String>)) -> Disk<'a> {
        Disk {
            layout,
            owners: self.owners,
            now: self.now,
            say,
            restore: self.settings.restore.as_ref(),
        }
    }

    /// Fills a volume without a cluster with a backup, if that is asked for, and looks again: all else is planned
    /// from what is there then.
    pub(crate) async fn fetch(
        &mut self,
        layout: &Layout,
        document: &Metadata,
        stop: StopAfter,
    ) -> Result<(), BootError> {
        if self.settings.restore_from.is_none() {
            return Ok(());
        }
        let plan = self.plan(layout)?;
        if !plan.disk.contains(&DiskStep::FetchBackup) {
            return Ok(());
        }
        let mut journal = self.journal(document, &plan, stop);
        self.apply(layout, &plan, &mut journal, &unheard).await?;
        self.facts = facts::observe(layout, &self.manifest, self.owners, self.now)?;
        Ok(())
    }

    /// A journal for this plan, with what is known before the first step.
    pub(crate) fn journal(&self, document: &Metadata, plan: &Plan, stop: StopAfter) -> Journal {
        let record = BootRecord {
            settings: document.source.to_string(),
            tier: self.settings.role.tier().to_string(),
            ram_mb: self.machine.ram_bytes >> 20,
            vcpus: self.machine.vcpus,
            ..BootRecord::default()
        };
        Journal::new(record, plan.len(), clock::now(), stop)
    }

    /// Does the disk steps, in order.
    pub(crate) async fn apply(
        &self,
        layout: &Layout,
        plan: &Plan,
        journal: &mut Journal,
        say: &dyn Fn(Option<String>),
    ) -> Result<(), BootError> {
        let disk = self.disk(layout, say);
        for (index, step) in plan.disk.iter().enumerate() {
            let number = index + 1;
            journal.begin(clock::now(), number, step);
            match disk.apply(step).await {
                Ok(()) => journal.record.changed.push(step.to_string()),
                Err(error) if step.is_advisory() => {
                    let words = format!("{step}: {}", chain(&error));
                    tracing::error!("the boot goes on without this: {words}");
                    journal.record.failed.push(words);
                }
                Err(source) => return Err(BootError::of_step(number, step, source)),
            }
            journal.end(clock::now(), number, step);
        }
        Ok(())
    }
}

/// `beyond-pg boot [--plan]`: the disk half of a boot, by hand, also beside a running supervisor.
pub(crate) async fn by_hand(layout: &Layout, plan_only: bool) -> Result<(), BootError> {
    let document = clock::within(BY_HAND, metadata::read())
        .await
        .ok_or(BootError::NoSettings)?;
    let settings = understood(&document)?;
    if plan_only {
        volume::expect_mounted(layout)?;
    } else {
        volume::mount(layout)?;
    }
    let mut observed = observe(layout, settings)?;
    observed.settle(layout, &unheard).await?;
    clock::within(BY_HAND, observed.ask_for_cluster(layout, |_words| {}))
        .await
        .ok_or(BootError::SinkSilent)??;
    let plan = observed.plan(layout)?;
    if plan_only {
        print(&plan.to_string());
        return Ok(());
    }
    let mut journal = observed.journal(&document, &plan, StopAfter::default());
    observed
        .apply(layout, &plan, &mut journal, &unheard)
        .await?;
    let done = if plan.disk.is_empty() {
        "nothing to change on disk"
    } else {
        "the disk is ready"
    };
    let running = if observed.lock.is_some() {
        ""
    } else {
        "; the running servers were not told: reload them"
    };
    print(&format!("{done}{running}\n"));
    Ok(())
}

/// Asks for settings until they are usable. A document of the metadata service that is refused is
/// said once for each of its versions, then asked for again: the platform can mend it at run time.
/// The environment cannot change any more, so its problems end the machine.
pub(crate) async fn settings_at_last() -> Result<(Settings, Metadata), Problems> {
    let mut said = String::new();
    loop {
        let document = metadata::read().await;
        let problems = match understood(&document) {
            Ok(settings) => return Ok((settings, document)),
            Err(problems) => problems,
        };
        match document.source {
            Source::Environment => return Err(problems),
            Source::Mmds => {}
        }
        let words = problems.to_string();
        if words != said {
            tracing::error!("{words}");
            said = words;
        }
        clock::pause(ASK_AGAIN).await;
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the answer of a command, not a log line"
)]
fn print(text: &str) {
    print!("{text}");
}
