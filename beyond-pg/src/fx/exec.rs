//! Starting programs: the one place that spawns, so that PID 1 knows every child it must not reap.
//!
//! A child's environment is empty but for what is given here: the machine's own environment may hold
//! the password (contract 4).
#![expect(clippy::disallowed_methods, reason = "this is the home of spawning")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::LazyLock;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::sys::orphan::Orphan;
use crate::sys::reap::OwnedChildren;
use crate::sys::user::Account;

/// Process-wide because the kernel's list of children is.
static CHILDREN: LazyLock<OwnedChildren> = LazyLock::new(OwnedChildren::default);

/// How much of a failed program's last words an error carries.
const TAIL_LINES: usize = 20;

/// A program with its arguments, environment and user.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    user: Option<Account>,
    own_group: bool,
}

#[derive(Debug, Error)]
pub(crate) enum ExecError {
    #[error("starting {program}")]
    Spawn { program: PathBuf, source: io::Error },
    #[error("waiting for {program}")]
    Wait { program: PathBuf, source: io::Error },
    #[error("{program} ended with {status}; its last lines:\n{tail}")]
    Failed {
        program: PathBuf,
        status: ExitStatus,
        tail: String,
    },
}

impl Program {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Program {
        Program {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            user: None,
            own_group: false,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Program {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Program {
        self.args.extend(args.into_iter().map(OsString::from));
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Program {
        self.env.push((key.into(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn user(mut self, user: Account) -> Program {
        self.user = Some(user);
        self
    }

    /// Leads a process group of its own, which can be ended as a whole ([`Running::end_group`]).
    pub(crate) fn in_own_group(mut self) -> Program {
        self.own_group = true;
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            // std drops the supplementary groups as well when it changes the user as root.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        if self.own_group {
            command.process_group(0);
        }
        command
    }

    fn spawn_command(&self, command: &mut Command) -> Result<Child, ExecError> {
        CHILDREN
            .adopt(|| {
                let child = command.spawn()?;
                let pid = child.id();
                Ok((child, pid))
            })
            .map_err(|source| ExecError::Spawn {
                program: self.path.clone(),
                source,
            })
    }

    /// Runs to the end and returns what it wrote to stdout.
    pub(crate) async fn run(&self) -> Result<String, ExecError> {
        let mut command = self.command();
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = self.spawn_command(&mut command)?;
        let pid = child.id();
        let output = child.wait_with_output().await;
        if let Some(pid) = pid {
            CHILDREN.release(pid);
        }
        let output = output.map_err(|source| ExecError::Wait {
            program: self.path.clone(),
            source,
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = [output.stdout, output.stderr].concat();
        Err(ExecError::Failed {
            program: self.path.clone(),
            status: output.status,
            tail: tail(&String::from_utf8_lossy(&words)),
        })
    }

    /// Starts a long-running program.
    pub(crate) fn start(&self, output: Output) -> Result<Running, ExecError> {
        let mut command = self.command();
        match output {
            Output::Inherited => {}
            Output::Piped => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let mut child = self.spawn_command(&mut command)?;
        let pid = child.id();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Ok(Running {
            program: self.path.clone(),
            child,
            pid,
            pipes: stdout.zip(stderr),
        })
    }
}

/// Where a long-running program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Where this process does (`docker logs` shows it).
    Inherited,
    /// Into pipes, which somebody has to read.
    Piped,
}

/// A started program. Dropping it does not kill it.
#[derive(Debug)]
pub(crate) struct Running {
    program: PathBuf,
    child: Child,
    pid: Option<u32>,
    pipes: Option<(ChildStdout, ChildStderr)>,
}

impl Running {
    /// Stdout and stderr of a program that was started with [`Output::Piped`], once.
    pub(crate) fn take_pipes(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        self.pipes.take()
    }

    /// The PID, for signals.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// SIGKILL for the program and all that it started, but for what left its group. Only for a
    /// program that was started [in its own group](Program::in_own_group).
    pub(crate) fn end_group(&self) {
        let Some(pid) = self.pid.and_then(|pid| i32::try_from(pid).ok()) else {
            return;
        };
        match killpg(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(nix::Error::ESRCH) => {}
            Err(errno) => tracing::warn!("ending the processes of group {pid} failed: {errno}"),
        }
    }

    /// Waits for the end. Safe to drop and call again.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus, ExecError> {
        let status = self.child.wait().await.map_err(|source| ExecError::Wait {
            program: self.program.clone(),
            source,
        })?;
        self.release();
        Ok(status)
    }

    /// From here on its PID may be anybody's.
    fn release(&mut self) {
        if let Some(pid) = self.pid.take() {
            CHILDREN.release(pid);
        }
    }
}

impl Drop for Running {
    /// Nobody waits for it any more: its end is the reaper's.
    fn drop(&mut self) {
        self.release();
    }
}

/// Sends a signal. A process that is already gone is fine: its exit is on the way.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<(), nix::Error> {
    let Ok(pid) = i32::try_from(pid) else {
        return Ok(());
    };
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The children that nobody awaits, dead ones among them.
pub(crate) fn orphans() -> Vec<Orphan> {
    CHILDREN.orphans()
}

/// Takes the dead children that nobody awaits.
pub(crate) fn reap_orphans() -> usize {
    CHILDREN.reap_orphans()
}

fn tail(words: &str) -> String {
    let lines: Vec<&str> = words.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_carries_the_status_and_the_last_words() {
        let error = Program::new("/bin/sh")
            .arg("-c")
            .arg("echo to stdout; echo to stderr >&2; exit 3")
            .run()
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "/bin/sh ended with exit status: 3; its last lines:\nto stdout\nto stderr"
        );
    }

    #[tokio::test]
    async fn a_child_sees_only_the_environment_it_was_given() {
        let seen = Program::new("/usr/bin/env")
            .env("LANG", "C.UTF-8")
            .run()
            .await
            .unwrap();
        assert_eq!(seen, "LANG=C.UTF-8\n");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let words: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        assert_eq!(tail(&words.join("\n")).lines().next(), Some("10"));
    }
}
