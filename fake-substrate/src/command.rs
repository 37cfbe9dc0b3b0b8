//! Programs of the host that the crate runs: cargo, mmdebstrap, strip, git. Nothing else spawns.
//!
//! What a program says on standard error is passed on while it runs and its end is kept for the
//! error, since an exit status alone never told anybody what to do. Standard output is the
//! program's answer and returned. Dropping the future kills the program.
#![expect(
    clippy::disallowed_methods,
    reason = "the one module of this crate that spawns, and CARGO is how cargo names itself to what it runs"
)]

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use crate::progress::Progress;

/// How much of what a program said before it failed goes into the error.
const TAIL_LINES: usize = 20;

/// What cargo sets for the programs it runs. Handed on to another cargo they would differ from
/// what a shell gives it, and build scripts that watch them (ring's does) would run again each time.
const SET_BY_CARGO: [&str; 19] = [
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

/// A program of the host did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such program.
    #[error("cannot run {program}: it is not installed, or not in PATH")]
    NotInstalled {
        /// Its name.
        program: String,
    },
    /// It ran and failed.
    #[error("{command}: {status}\n{tail}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The last lines of its standard error.
        tail: String,
    },
    /// It could not be started or listened to.
    #[error("cannot run {command}")]
    Io {
        /// The command line.
        command: String,
        /// Why.
        source: std::io::Error,
    },
}

/// A program with its arguments, not yet started.
#[derive(Debug)]
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
    folder: Option<PathBuf>,
    removed: &'static [&'static str],
}

impl Program {
    /// A program, looked for in `PATH`.
    pub fn named(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            arguments: Vec::new(),
            folder: None,
            removed: &[],
        }
    }

    /// The cargo that runs us, else the one in `PATH`.
    pub fn cargo() -> Self {
        let name = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Self {
            removed: &SET_BY_CARGO,
            ..Self::named(name)
        }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        self
    }

    /// Run in this folder instead of ours.
    #[must_use]
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Runs it to its end and returns what it wrote to standard output.
    pub async fn run(self, progress: &dyn Progress) -> Result<String, CommandError> {
        let mut command = tokio::process::Command::new(&self.name);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        for name in self.removed {
            command.env_remove(name);
        }
        let mut child = command.spawn().map_err(|source| self.not_started(source))?;
        let (answer, tail) = tokio::join!(
            whole(child.stdout.take()),
            watched(child.stderr.take(), progress)
        );
        let status = child
            .wait()
            .await
            .map_err(|source| self.failed_io(source))?;
        let tail = tail.map_err(|source| self.failed_io(source))?;
        if !status.success() {
            return Err(CommandError::Failed {
                command: self.line(),
                status,
                tail,
            });
        }
        answer.map_err(|source| self.failed_io(source))
    }

    /// Starts it and leaves it alone: it goes on when this process has ended. Everything that it says
    /// goes to `log`.
    pub fn leave_running(self, log: std::fs::File) -> Result<tokio::process::Child, CommandError> {
        let both = log.try_clone().map_err(|source| self.failed_io(source))?;
        let mut command = tokio::process::Command::new(&self.name);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both);
        command.spawn().map_err(|source| self.not_started(source))
    }

    fn not_started(&self, source: std::io::Error) -> CommandError {
        match source.kind() {
            std::io::ErrorKind::NotFound => CommandError::NotInstalled {
                program: self.name.to_string_lossy().into_owned(),
            },
            _ => self.failed_io(source),
        }
    }

    fn failed_io(&self, source: std::io::Error) -> CommandError {
        CommandError::Io {
            command: self.line(),
            source,
        }
    }

    fn line(&self) -> String {
        let words = std::iter::once(&self.name).chain(&self.arguments);
        words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

async fn whole(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn watched(
    stream: Option<impl AsyncRead + Unpin>,
    progress: &dyn Progress,
) -> std::io::Result<String> {
    let Some(stream) = stream else {
        return Ok(String::new());
    };
    let mut tail = VecDeque::new();
    let mut lines = BufReader::new(stream).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        let line = String::from_utf8_lossy(&line).into_owned();
        progress.detail(&line);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    Ok(Vec::from(tail).join("\n"))
}

#[cfg(test)]
mod tests {
    use super::{CommandError, Program};
    use crate::progress::Quiet;

    #[tokio::test]
    async fn the_answer_is_standard_output() {
        let answer = Program::named("sh")
            .args(["-c", "echo said >&2; echo answer"])
            .run(&Quiet);
        assert_eq!(answer.await.unwrap(), "answer\n");
    }

    #[tokio::test]
    async fn a_failure_names_the_command_and_carries_the_end_of_what_it_said() {
        let script = "for i in $(seq 1 100); do echo line $i >&2; done; exit 3";
        let error = Program::named("sh")
            .args(["-c", script])
            .run(&Quiet)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("sh -c for i in"), "{text}");
        assert!(text.contains("exit status: 3\nline 81\n"), "{text}");
        assert!(text.ends_with("line 100"), "{text}");
    }

    #[tokio::test]
    async fn a_missing_program_is_told_from_a_failing_one() {
        let error = Program::named("no-such-program")
            .run(&Quiet)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, CommandError::NotInstalled { program } if program == "no-such-program")
        );
    }

    #[tokio::test]
    async fn a_chatty_program_does_not_stall_on_either_pipe() {
        let script =
            "head -c 300000 /dev/zero | tr '\\0' a; head -c 300000 /dev/zero | tr '\\0' b >&2";
        let answer = Program::named("sh")
            .args(["-c", script])
            .run(&Quiet)
            .await
            .unwrap();
        assert_eq!(answer.len(), 300_000);
    }
}
