//! Running one hook: what it writes goes into the log with its name, and it ends in time.

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Hook, HookError, Hooks};
use crate::fx::clock;
use crate::fx::exec::{ExecError, Output, Program, Running};
use crate::logs::lines::Lines;

/// How many of its lines the log takes: a hook that talks for ever must not push out everything else.
const LOGGED_LINES: usize = 1000;
/// How much of a failed hook's last words an error carries.
const TAIL_LINES: usize = 20;
/// How long to read on once a hook has ended: what it started may hold its pipes open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Ends a hook's processes with the future that waits for them, however that ends.
struct Group(Running);

impl Drop for Group {
    fn drop(&mut self) {
        self.0.end_group();
    }
}

impl Hooks {
    /// Runs it to its end or to its deadline. Dropped, it takes the hook's processes with it.
    pub(crate) async fn run(&self, hook: &Hook) -> Result<(), HookError> {
        tracing::info!("hook {hook} begins");
        let mut program = Program::new(self.layout.hooks(hook.stage).join(&hook.name))
            .env("BEYOND_HOOK", hook.stage.to_string())
            .in_own_group();
        for (key, value) in &self.env {
            program = program.env(key, value);
        }
        let failed = |source| HookError::Start {
            hook: hook.clone(),
            source,
        };
        let mut running = program.start(Output::Piped).map_err(failed)?;
        let pipes = running.take_pipes();
        let mut group = Group(running);
        let mut words = Words::of(hook);
        let ended = {
            let waiting = async {
                match pipes {
                    Some((stdout, stderr)) => group.0.heard(stdout, stderr, &mut words).await,
                    None => group.0.wait().await,
                }
            };
            clock::within(self.deadline, waiting).await
        };
        if ended.is_none() {
            group.0.end_group();
            // Its end is near, and PID 1 is told of it here rather than by its reaper.
            drop(clock::within(LAST_WORDS, group.0.wait()).await);
        }
        drop(group);
        let tail = words.finish();
        match ended {
            Some(Ok(status)) if status.success() => Ok(()),
            Some(Ok(status)) => Err(HookError::Failed {
                hook: hook.clone(),
                status: status.to_string(),
                tail,
            }),
            Some(Err(error)) => Err(failed(error)),
            None => Err(HookError::TimedOut {
                hook: hook.clone(),
                deadline: self.deadline,
                tail,
            }),
        }
    }
}

impl Running {
    /// Waits for its end and takes what it writes.
    async fn heard(
        &mut self,
        mut stdout: impl AsyncRead + Unpin,
        mut stderr: impl AsyncRead + Unpin,
        words: &mut Words<'_>,
    ) -> Result<ExitStatus, ExecError> {
        let (mut out, mut err) = ([0; 4096], [0; 4096]);
        let (mut out_open, mut err_open) = (true, true);
        let mut ended = None;
        while out_open || err_open || ended.is_none() {
            tokio::select! {
                status = self.wait(), if ended.is_none() => {
                    ended = Some(status?);
                    // Now its pipes have an end, unless somebody left the group.
                    self.end_group();
                }
                read = stdout.read(&mut out), if out_open => out_open = words.take(Pipe::Out, &out, read),
                read = stderr.read(&mut err), if err_open => err_open = words.take(Pipe::Err, &err, read),
                () = clock::pause(LAST_WORDS), if ended.is_some() => break,
            }
        }
        match ended {
            Some(status) => Ok(status),
            None => self.wait().await,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Pipe {
    Out,
    Err,
}

/// What a hook has said: each line into the log, the last ones kept.
struct Words<'h> {
    hook: &'h Hook,
    out: Lines,
    err: Lines,
    said: usize,
    tail: VecDeque<String>,
}

impl<'h> Words<'h> {
    fn of(hook: &'h Hook) -> Words<'h> {
        Words {
            hook,
            out: Lines::default(),
            err: Lines::default(),
            said: 0,
            tail: VecDeque::new(),
        }
    }

    /// Whether there may be more.
    fn take(&mut self, pipe: Pipe, buffer: &[u8], read: std::io::Result<usize>) -> bool {
        let bytes = match read {
            Ok(0) => return false,
            Ok(read) => &buffer[..read],
            Err(error) => {
                tracing::warn!(
                    "reading what hook {} writes: {error}; the rest is lost",
                    self.hook
                );
                return false;
            }
        };
        let mut lines = Vec::new();
        match pipe {
            Pipe::Out => self.out.push(bytes, |line| lines.push(line.text)),
            Pipe::Err => self.err.push(bytes, |line| lines.push(line.text)),
        }
        lines.into_iter().for_each(|line| self.say(line));
        true
    }

    fn say(&mut self, line: String) {
        self.said += 1;
        if self.said <= LOGGED_LINES {
            tracing::info!("hook {}: {line}", self.hook);
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// Its last words.
    fn finish(mut self) -> String {
        for rest in [self.out.finish(), self.err.finish()].into_iter().flatten() {
            self.say(rest.text);
        }
        if self.said > LOGGED_LINES {
            let more = self.said - LOGGED_LINES;
            tracing::warn!(
                "hook {} wrote {more} more lines, which are not logged",
                self.hook
            );
        }
        Vec::from(self.tail).join("\n")
    }
}
