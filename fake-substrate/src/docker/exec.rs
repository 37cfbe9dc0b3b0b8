//! Programs run inside a container.

use std::pin::Pin;

use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::logs::{Output, Source};
use super::{Docker, DockerError};

/// A program to run.
#[derive(Clone, Default)]
pub struct Program {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Environment on top of the container's. Passwords for a client belong here, never in `argv`.
    pub env: Vec<(String, String)>,
    /// In place of the container's user.
    pub user: Option<String>,
    /// Whether it gets a terminal.
    pub terminal: bool,
}

/// The environment may hold a password.
impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.env.iter().map(|(key, _value)| key).collect();
        f.debug_struct("Program")
            .field("argv", &self.argv)
            .field("env", &keys)
            .finish_non_exhaustive()
    }
}

/// A program that runs, and its two ends. They are separate because both must be served at once:
/// a program that cannot write stops reading.
pub struct Session {
    /// The program.
    pub running: Running,
    /// What it writes.
    pub output: Pin<Box<dyn Stream<Item = Result<Output, DockerError>> + Send>>,
    /// What it reads; shutting this down is its end of file.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    docker: Docker,
    id: String,
    attempted: String,
}

/// What a program that has ended left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code.
    pub exit_code: i64,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

/// Starts a program with its input and output attached.
pub async fn start(
    docker: &Docker,
    container: &str,
    program: Program,
) -> Result<Session, DockerError> {
    let attempted = format!(
        "run {} in container {container}",
        program.argv.first().map_or("nothing", String::as_str)
    );
    let terminal = program.terminal;
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(terminal),
        env: Some(
            program
                .env
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ),
        cmd: Some(program.argv),
        user: program.user,
        ..Default::default()
    };
    let made = docker.create_exec(container, options).await;
    let id = made
        .map_err(DockerError::from_request(attempted.clone()))?
        .id;
    let options = StartExecOptions {
        tty: terminal,
        ..Default::default()
    };
    let started = docker.start_exec(&id, Some(options)).await;
    match started.map_err(DockerError::from_request(attempted.clone()))? {
        StartExecResults::Attached { output, input } => {
            let reading = attempted.clone();
            let output = output.map(move |piece| {
                piece
                    .map(Output::from_log)
                    .map_err(DockerError::from_request(reading.clone()))
            });
            let running = Running {
                docker: docker.clone(),
                id,
                attempted,
            };
            Ok(Session {
                running,
                output: Box::pin(output),
                input,
            })
        }
        StartExecResults::Detached => Err(DockerError::NotOurs {
            container: container.to_owned(),
            missing: "an attached program",
        }),
    }
}

impl Running {
    /// Tells the program's terminal its size.
    pub async fn resize(&self, width: u16, height: u16) -> Result<(), DockerError> {
        let resized = self
            .docker
            .resize_exec(&self.id, ResizeExecOptions { height, width })
            .await;
        resized.map_err(DockerError::from_request(self.attempted.clone()))
    }

    /// How it ended; ask when the output has ended.
    pub async fn exit_code(&self) -> Result<i64, DockerError> {
        let ended = self.docker.inspect_exec(&self.id).await;
        let ended = ended.map_err(DockerError::from_request(self.attempted.clone()))?;
        Ok(ended.exit_code.unwrap_or_default())
    }
}

/// Runs a program to its end without input.
pub async fn run(
    docker: &Docker,
    container: &str,
    program: Program,
) -> Result<Finished, DockerError> {
    run_reading(docker, container, program, &[]).await
}

/// Runs a program to its end with something to read, at most what fits a pipe.
pub async fn run_reading(
    docker: &Docker,
    container: &str,
    program: Program,
    input: &[u8],
) -> Result<Finished, DockerError> {
    let mut session = start(docker, container, program).await?;
    // Without an end of file a program that reads would wait for ever. One that has ended
    // already has closed its side, and then there is nothing to tell it; how it ended says why.
    drop(session.input.write_all(input).await);
    drop(session.input.shutdown().await);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(piece) = session.output.try_next().await? {
        match piece.source {
            Source::Stdout => stdout.extend_from_slice(&piece.bytes),
            Source::Stderr => stderr.extend_from_slice(&piece.bytes),
        }
    }
    Ok(Finished {
        exit_code: session.running.exit_code().await?,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}
