//! Containers: made, started, stopped, killed, looked at, removed.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::ContainerUpdateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::TryStreamExt as _;

use super::error::Absent as _;
use super::spec::signed;
use super::{ContainerSpec, Docker, DockerError, Observed};
use crate::machine::size::{Cpus, Memory};

/// Makes a container without starting it; answers its id.
pub async fn create(docker: &Docker, spec: &ContainerSpec) -> Result<String, DockerError> {
    let options = CreateContainerOptionsBuilder::new()
        .name(&spec.name)
        .build();
    let made = docker.create_container(Some(options), spec.body()).await;
    let made = made.map_err(DockerError::from_request(format!(
        "create container {} from image {}",
        spec.name, spec.image
    )))?;
    Ok(made.id)
}

/// Gives it other limits, from now on, whether it runs or not. What is absent stays.
pub async fn resize(
    docker: &Docker,
    name: &str,
    memory: Option<Memory>,
    cpus: Option<Cpus>,
) -> Result<(), DockerError> {
    let memory = memory.map(|memory| signed(memory.bytes()));
    let change = ContainerUpdateBody {
        memory,
        // No swap, as it was made.
        memory_swap: memory,
        nano_cpus: cpus.map(|cpus| signed(cpus.nanos())),
        ..Default::default()
    };
    let resized = docker.update_container(name, change).await;
    resized.map_err(DockerError::from_request(format!(
        "resize container {name}"
    )))
}

/// Starts it; one that runs is left running.
pub async fn start(docker: &Docker, name: &str) -> Result<(), DockerError> {
    let started = docker
        .start_container(name, None::<StartContainerOptions>)
        .await;
    started.map_err(DockerError::from_request(format!("start container {name}")))
}

/// SIGTERM, and SIGKILL after `patience`, or after what the container was made with.
pub async fn stop(
    docker: &Docker,
    name: &str,
    patience: Option<Duration>,
) -> Result<(), DockerError> {
    let patience = patience.map(|patience| i32::try_from(patience.as_secs()).unwrap_or(i32::MAX));
    let options = patience.map(|seconds| StopContainerOptionsBuilder::new().t(seconds).build());
    let stopped = docker.stop_container(name, options).await;
    stopped.map_err(DockerError::from_request(format!("stop container {name}")))
}

/// Sends `signal` to PID 1.
pub async fn signal(docker: &Docker, name: &str, signal: &str) -> Result<(), DockerError> {
    let options = KillContainerOptionsBuilder::new().signal(signal).build();
    let sent = docker.kill_container(name, Some(options)).await;
    sent.map_err(DockerError::from_request(format!(
        "send {signal} to container {name}"
    )))
}

/// SIGKILL of one that runs, and waits for its end. One that has ended by itself by then, as a machine does
/// whose disk is gone, is fine.
pub async fn kill(docker: &Docker, name: &str) -> Result<(), DockerError> {
    if let Err(error) = signal(docker, name, "SIGKILL").await {
        let seen = inspect(docker, name).await?;
        if !seen.is_some_and(|seen| seen.state.has_ended()) {
            return Err(error);
        }
    }
    ended(docker, name).await
}

/// Stops every process in it where it stands, all at once.
pub async fn pause(docker: &Docker, name: &str) -> Result<(), DockerError> {
    let paused = docker.pause_container(name).await;
    paused.map_err(DockerError::from_request(format!("pause container {name}")))
}

/// Lets them go on.
pub async fn unpause(docker: &Docker, name: &str) -> Result<(), DockerError> {
    let unpaused = docker.unpause_container(name).await;
    unpaused.map_err(DockerError::from_request(format!(
        "unpause container {name}"
    )))
}

/// Waits until it has ended.
pub async fn ended(docker: &Docker, name: &str) -> Result<(), DockerError> {
    wait_until(docker, name, "not-running").await
}

async fn wait_until(docker: &Docker, name: &str, condition: &str) -> Result<(), DockerError> {
    let options = WaitContainerOptionsBuilder::new()
        .condition(condition)
        .build();
    let waited = docker
        .wait_container(name, Some(options))
        .try_collect::<Vec<_>>()
        .await;
    match waited {
        // bollard reports every exit code but 0 as an error of the request.
        Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. }) => Ok(()),
        Err(error) => Err(DockerError::from_request(format!(
            "wait for container {name}"
        ))(error)),
    }
}

/// Kills and removes it, its anonymous volumes too; one that does not exist is fine, and one that
/// somebody else is removing (two runs sweep the same leftovers) is waited for.
pub async fn remove(docker: &Docker, name: &str) -> Result<(), DockerError> {
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    let removed = docker.remove_container(name, Some(options)).await;
    let removed = removed.map_err(DockerError::from_request(format!(
        "remove container {name}"
    )));
    match removed {
        Err(error) if error.is_already_being_removed() => wait_until(docker, name, "removed")
            .await
            .absent_is_none()
            .map(drop),
        removed => removed.absent_is_none().map(drop),
    }
}

/// Looks at it; `None` when there is none.
pub async fn inspect(docker: &Docker, name: &str) -> Result<Option<Observed>, DockerError> {
    let answer = docker
        .inspect_container(name, None::<InspectContainerOptions>)
        .await;
    let answer = answer.map_err(DockerError::from_request(format!(
        "inspect container {name}"
    )));
    Ok(answer.absent_is_none()?.map(Observed::from_answer))
}

/// Every container that carries all of `labels` (`key` or `key=value`), running or not.
pub async fn labelled(docker: &Docker, labels: &[String]) -> Result<Vec<Observed>, DockerError> {
    let filters = HashMap::from([("label".to_owned(), labels.to_vec())]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let listed = docker.list_containers(Some(options)).await;
    let listed = listed.map_err(DockerError::from_request("list containers"))?;
    let mut found = Vec::new();
    for id in listed.into_iter().filter_map(|summary| summary.id) {
        // Gone between the two questions is as good as not listed.
        found.extend(inspect(docker, &id).await?);
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The running container that has published this host port, if one has.
pub async fn publisher_of(docker: &Docker, host_port: u16) -> Result<Option<String>, DockerError> {
    let running = docker.list_containers(None).await;
    let running = running.map_err(DockerError::from_request("list containers"))?;
    let publishes = |port: &bollard::models::PortSummary| port.public_port == Some(host_port);
    let holder = running
        .into_iter()
        .find(|container| container.ports.iter().flatten().any(publishes))
        .and_then(|container| container.names?.into_iter().next());
    Ok(holder.map(|name| name.trim_start_matches('/').to_owned()))
}
