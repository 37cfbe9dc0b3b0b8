//! The hands that act: what the buttons do, by the same calls as the command line.

use crate::docker::Docker;
use crate::docker::volume::Medium;
use crate::machine::metadata::Wishes;
use crate::machine::spec::Overrides;
use crate::machine::state::State;
use crate::machine::{Machine, MachineError};
use crate::names::{MachineName, SubstrateName};
use crate::ports::PortChoice;
use crate::progress::Progress;
use crate::substrate::{Order, Substrate, SubstrateError};
use crate::until::Budget;

/// What is done to a machine, with all that it takes.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Start,
    Stop,
    Restart,
    Crash,
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
            Self::Crash => format!("crash {machine}"),
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
        medium: Medium::Disk,
        wishes: Wishes::default(),
        overrides: Overrides::default(),
    };
    let forked = substrate.fork(parent.name(), order, progress).await?;
    forked.machine.start().await?;
    let ready = ready(&forked.machine, progress).await?;
    let frozen = forked.frozen.as_secs_f64();
    Ok(format!("{ready} The parent stood still for {frozen:.2} s."))
}
