//! A container that runs one command to its end and is gone afterwards, whatever happened.

use std::collections::VecDeque;

use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt as _;

use super::error::ImageError;
use crate::docker::{Docker, DockerError};
use crate::progress::Progress;

const TAIL_LINES: usize = 20;

/// What to run.
#[derive(Debug, Default)]
pub(super) struct Task {
    /// The image to run it in.
    pub(super) image: String,
    /// The command, its first word being the program.
    pub(super) command: Vec<String>,
    /// `KEY=VALUE`.
    pub(super) environment: Vec<String>,
    /// `HOST:CONTAINER` folders.
    pub(super) binds: Vec<String>,
    /// Where it runs.
    pub(super) folder: Option<String>,
    /// `UID:GID`; root where not given.
    pub(super) user: Option<String>,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Its exit code.
    pub(super) code: i64,
    /// All of its standard output.
    pub(super) answer: String,
    /// The last lines of its standard error.
    pub(super) tail: String,
}

/// Runs it. An exit code other than 0 is an outcome, not an error.
pub(super) async fn run(
    docker: &Docker,
    task: Task,
    progress: &dyn Progress,
) -> Result<Outcome, ImageError> {
    let image = task.image.clone();
    let failed = |verb: &str| DockerError::from_request(format!("{verb} a container of {image}"));
    let created = docker
        .create_container(None::<CreateContainerOptions>, task.body())
        .await;
    let id = created.map_err(failed("make"))?.id;
    let outcome = run_created(docker, &id, progress)
        .await
        .map_err(failed("run"));
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    let removed = docker
        .remove_container(&id, Some(options))
        .await
        .map_err(failed("remove"));
    let outcome = outcome?;
    removed?;
    Ok(outcome)
}

impl Task {
    fn body(self) -> ContainerCreateBody {
        let mut command = self.command.into_iter();
        ContainerCreateBody {
            image: Some(self.image),
            entrypoint: command.next().map(|program| vec![program]),
            cmd: Some(command.collect()),
            env: Some(self.environment),
            working_dir: self.folder,
            user: self.user,
            host_config: Some(HostConfig {
                binds: Some(self.binds),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }
}

async fn run_created(
    docker: &Docker,
    id: &str,
    progress: &dyn Progress,
) -> Result<Outcome, bollard::errors::Error> {
    docker
        .start_container(id, None::<StartContainerOptions>)
        .await?;
    let options = LogsOptionsBuilder::new()
        .follow(true)
        .stdout(true)
        .stderr(true)
        .build();
    let mut output = docker.logs(id, Some(options));
    let (mut answer, mut tail) = (String::new(), VecDeque::new());
    while let Some(piece) = output.next().await {
        match piece? {
            LogOutput::StdOut { message } => answer.push_str(&String::from_utf8_lossy(&message)),
            other => {
                for line in String::from_utf8_lossy(&other.into_bytes()).lines() {
                    progress.detail(line);
                    tail.push_back(line.to_owned());
                }
                tail.drain(..tail.len().saturating_sub(TAIL_LINES));
            }
        }
    }
    let code = exit_code(docker, id).await?;
    Ok(Outcome {
        code,
        answer,
        tail: Vec::from(tail).join("\n"),
    })
}

/// The client reports an exit code other than 0 as an error of waiting.
async fn exit_code(docker: &Docker, id: &str) -> Result<i64, bollard::errors::Error> {
    match docker
        .wait_container(id, None::<WaitContainerOptions>)
        .next()
        .await
    {
        Some(Ok(ended)) => Ok(ended.status_code),
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(error),
        None => Ok(0),
    }
}
