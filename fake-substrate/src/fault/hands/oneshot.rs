//! A container that does one thing and is gone: root with no more than the thing takes, in the
//! substrate's own image.

use crate::docker::{ContainerSpec, DockerError, Observed, container, logs};
use crate::labels;
use crate::machine::state::State;
use crate::substrate::labelled_as;

use super::Hands;

/// How it ended.
pub(super) enum Ended {
    Done,
    Failed(String),
}

impl Hands {
    /// Whose image is used, and whose namespace the service's is.
    pub(super) async fn service(&self) -> Result<Option<Observed>, DockerError> {
        let labels = labelled_as(&self.substrate, labels::Role::Substrate);
        let found = container::labelled(&self.docker, &labels).await?;
        Ok(found.into_iter().next())
    }

    /// Runs it to its end. One substrate has one of a name: whoever calls this holds its lock.
    pub(super) async fn run_once(
        &self,
        what: &str,
        spec: ContainerSpec,
    ) -> Result<Ended, DockerError> {
        let spec = ContainerSpec {
            name: format!("{}.saboteur.{what}", self.substrate.container()),
            labels: labels::of_saboteur(&self.substrate, self.owner.as_ref()),
            user: Some("0:0".to_owned()),
            read_only_root: true,
            ..spec
        };
        // A killed run's, which would hold the name.
        container::remove(&self.docker, &spec.name).await?;
        container::create(&self.docker, &spec).await?;
        let ran = self.run_to_its_end(&spec.name).await;
        container::remove(&self.docker, &spec.name).await?;
        ran
    }

    async fn run_to_its_end(&self, name: &str) -> Result<Ended, DockerError> {
        container::start(&self.docker, name).await?;
        container::ended(&self.docker, name).await?;
        let ended = container::inspect(&self.docker, name).await?;
        if ended.is_some_and(|ended| ended.state == State::Stopped) {
            return Ok(Ended::Done);
        }
        let said = logs::last_lines(&self.docker, name, 20).await?;
        Ok(Ended::Failed(said.join("; ")))
    }
}
