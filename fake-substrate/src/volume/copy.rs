//! Forking a folder tree: frozen, copied, let go.

use std::time::Duration;

use crate::docker::{ContainerSpec, Docker, DockerError, Mount, container, logs};
use crate::labels::Labels;
use crate::machine::state::State;
use crate::until::timed;

/// What is copied, and with whose tools.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    /// The name of the container that copies.
    pub(crate) name: String,
    /// An image with `cp`: the machine's own.
    pub(crate) image: String,
    /// What the container carries, so that a killed run's is found.
    pub(crate) labels: Labels,
    /// The volume that is copied.
    pub(crate) from: String,
    /// An empty volume.
    pub(crate) to: String,
    /// The machine whose processes write to it.
    pub(crate) writer: String,
}

/// A volume could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Docker failed.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The copying failed.
    #[error(
        "copying volume {from} ended as {state}; its last lines:\n{tail}\nHINT: is Docker's disk full?"
    )]
    Failed {
        /// What was copied.
        from: String,
        /// How it ended.
        state: State,
        /// What it said.
        tail: String,
    },
}

/// Reflinks where the file system has them. `-a` keeps owners, modes and links; what is sparse stays so.
const SCRIPT: &str = "cp -a --reflink=auto --sparse=auto /from/. /to/";

/// Copies, and answers for how long the machine stood still.
///
/// All of its processes stand still together: a copy of a tree that is written to is no point in time
/// (facts C 46).
pub(crate) async fn copy(docker: &Docker, copy: Copy) -> Result<Duration, CopyError> {
    // A killed run's, which would hold the name.
    container::remove(docker, &copy.name).await?;
    container::create(docker, &copy.spec()).await?;
    let copied = copy.while_frozen(docker).await;
    let removed = container::remove(docker, &copy.name).await;
    let frozen = copied?;
    removed?;
    Ok(frozen)
}

impl Copy {
    fn spec(&self) -> ContainerSpec {
        let mount = |volume: &str, target: &str| Mount {
            volume: volume.to_owned(),
            target: target.to_owned(),
            blank: true,
        };
        ContainerSpec {
            name: self.name.clone(),
            image: self.image.clone(),
            entrypoint: Some(["/bin/sh", "-ec", SCRIPT].map(str::to_owned).to_vec()),
            labels: self.labels.clone(),
            user: Some("root".to_owned()),
            // To read what postgres alone may read, and to give it to postgres again.
            capabilities: ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
                .map(str::to_owned)
                .to_vec(),
            read_only_root: true,
            mounts: vec![mount(&self.from, "/from"), mount(&self.to, "/to")],
            ..ContainerSpec::default()
        }
    }

    async fn while_frozen(&self, docker: &Docker) -> Result<Duration, CopyError> {
        let writer = container::inspect(docker, &self.writer).await?;
        let runs = writer.is_some_and(|writer| writer.state == State::Running);
        let (copied, frozen) = timed(async {
            if runs {
                container::pause(docker, &self.writer).await?;
            }
            let copied = self.run(docker).await;
            if runs {
                // Also when the copy failed: the machine must not stay frozen for it.
                container::unpause(docker, &self.writer).await?;
            }
            copied
        })
        .await;
        copied.map(|()| if runs { frozen } else { Duration::ZERO })
    }

    async fn run(&self, docker: &Docker) -> Result<(), CopyError> {
        container::start(docker, &self.name).await?;
        container::ended(docker, &self.name).await?;
        let ended = container::inspect(docker, &self.name).await?;
        let state = ended.map_or(State::Removing, |ended| ended.state);
        if state == State::Stopped {
            return Ok(());
        }
        Err(CopyError::Failed {
            from: self.from.clone(),
            state,
            tail: logs::last_lines(docker, &self.name, 20).await?.join("\n"),
        })
    }
}
