//! The hands that act: what the buttons do, by the same calls as the command line.

use crate::admin::CutPower;
use crate::backend::Storage;
use crate::docker::Docker;
use crate::docker::volume::Medium;
use crate::machine::metadata::Wishes;
use crate::machine::spec::Overrides;
use crate::machine::state::State;
use crate::machine::{Machine, MachineError};
use crate::names::{MachineName, SubstrateName};
use crate::ports::PortChoice;
use crate::progress::Progress;
use crate::substrate::{Order, Paused, Substrate, SubstrateError};
use crate::until::Budget;

/// What is done to a machine, with all that it takes.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Start,
    Stop,
    Restart,
    Flush,
    Rehome,
    Crash,
    PowerCut,
    LoseHost,
    Fork { name: MachineName },
}

/// It was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undone {
    #[error(
        "machine {name} did not shut down in time and was killed: it is {state}\nHINT: see what it was waiting for in its log"
    )]
    NotCleanly { name: MachineName, state: State },
    #[error(transparent)]
    Substrate(#[from] SubstrateError),
    #[error(transparent)]
    Machine(#[from] MachineError),
}

impl Deed {
    /// In words.
    pub(super) fn what(&self, machine: &MachineName) -> String {
        match self {
            Self::Start => format!("start {machine}"),
            Self::Stop => format!("stop {machine}"),
            Self::Restart => format!("restart {machine}"),
            Self::Flush => format!("flush {machine}"),
            Self::Rehome => format!("rehome {machine}"),
            Self::Crash => format!("crash {machine}"),
            Self::PowerCut => format!("cut the power of {machine}"),
            Self::LoseHost => format!("lose the host of {machine}"),
            Self::Fork { name } => format!("fork {machine} to {name}"),
        }
    }

    /// Whom it is done to.
    pub(super) fn machines(&self, machine: &MachineName) -> Vec<String> {
        let mut machines = vec![machine.to_string()];
        if let Self::Fork { name } = self {
            machines.push(name.to_string());
        }
        machines
    }

    /// Does it; answers what there is to say about it.
    pub(super) async fn to(
        self,
        machine: MachineName,
        docker: &Docker,
        substrate: &SubstrateName,
        progress: &dyn Progress,
    ) -> Result<Option<String>, Undone> {
        let substrate = Substrate::connect(docker, substrate).await?;
        let handle = substrate.handle(machine.clone());
        match self {
            Self::Start => {
                progress.step("Booting");
                handle.start().await?;
                ready(&handle, progress).await.map(Some)
            }
            Self::Restart => {
                progress.step("Shutting down and booting");
                handle.restart().await?;
                ready(&handle, progress).await.map(Some)
            }
            Self::Stop => {
                progress.step("Shutting down");
                match handle.stop(None).await? {
                    State::Stopped => Ok(None),
                    state => Err(Undone::NotCleanly {
                        name: machine,
                        state,
                    }),
                }
            }
            Self::Crash => {
                progress.step("Killing");
                handle.crash().await?;
                Ok(None)
            }
            Self::Flush => {
                progress.step("Writing to object storage");
                let point = handle.flush().await?;
                let (generation, sequence) = (point.generation, point.sequence);
                Ok(Some(format!("Flush point {generation}.{sequence}.")))
            }
            Self::PowerCut => {
                progress.step("Cutting the power");
                let cut = handle.power_cut(CutPower::default()).await?;
                Ok(Some(format!(
                    "Of {} blocks that were not flushed {} survived, {} of them torn.",
                    cut.unsynced, cut.survived, cut.torn
                )))
            }
            Self::LoseHost => {
                let host = substrate.host_of(&machine).await?;
                progress.step(&format!("Losing host {host}"));
                let lost = substrate.lose_host(&host, progress).await?;
                let names: Vec<_> = lost.machines.iter().map(ToString::to_string).collect();
                Ok(Some(format!(
                    "Host {host} is gone, with {}.",
                    names.join(", ")
                )))
            }
            Self::Rehome => {
                progress.step("Bringing its volume back from object storage");
                let rehomed = substrate.rehome(&machine, None, progress).await?;
                handle.start().await?;
                let ready = ready(&handle, progress).await?;
                Ok(Some(format!("On host {}. {ready}", rehomed.host)))
            }
            Self::Fork { name } => fork(&substrate, &handle, name, progress).await.map(Some),
        }
    }
}

async fn ready(machine: &Machine, progress: &dyn Progress) -> Result<String, Undone> {
    progress.step(&format!(
        "Waiting until a client gets in to {}",
        machine.name()
    ));
    let took = machine.ready(Budget::MACHINE_READY, progress).await?;
    Ok(format!("Ready after {:.1} s.", took.as_secs_f64()))
}

async fn fork(
    substrate: &Substrate,
    parent: &Machine,
    name: MachineName,
    progress: &dyn Progress,
) -> Result<String, Undone> {
    let view = parent.view().await?;
    let order = Order {
        name,
        image: view.image_id,
        memory: view.memory,
        cpus: view.cpus,
        ports: PortChoice::Any,
        // That of its parent, whatever stands here.
        storage: Storage::Copy(Medium::Disk),
        ttl: None,
        wishes: Wishes::default(),
        overrides: Overrides::default(),
    };
    let forked = substrate.fork(parent.name(), order, progress).await?;
    forked.machine.start().await?;
    let ready = ready(&forked.machine, progress).await?;
    Ok(match forked.paused {
        Paused::StoodStill(time) => {
            let seconds = time.as_secs_f64();
            format!("{ready} The parent stood still for {seconds:.2} s.")
        }
        Paused::AtMost(time) => {
            let ms = time.as_secs_f64() * 1000.0;
            format!("{ready} The parent's writes waited for at most {ms:.1} ms.")
        }
    })
}
