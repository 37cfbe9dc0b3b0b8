//! PID 1's end: the process runs for as long as the machine does.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::boot::facts::Owners;
use crate::fx::exec::{self, ExecError, Output, Program, Running};
use crate::fx::{clock, fs};
use crate::layout::Layout;
use crate::machine::Machine;
use crate::supervise::backoff::Backoff;

/// Of this much memory one segment may be under way: raw, packed and sent it takes up to twice its 16 MiB.
const RAM_OF_ONE: u64 = 256 << 20;
/// More connections gain nothing.
const MOST: u64 = 8;
/// A process that was killed is gone at once, unless a disk does not answer.
const GOES: Duration = Duration::from_secs(2);

/// The process, kept running. Best effort: without it segments are archived one by one.
#[derive(Debug)]
pub(crate) struct Child {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Child {
    /// Starts it, and starts it again when it ends.
    pub(crate) fn keep(layout: &Layout, owners: Owners, machine: Machine) -> Child {
        let (stop, stopped) = oneshot::channel();
        let (layout, at_once) = (layout.clone(), at_once(machine));
        let task = tokio::spawn(async move { keep(&layout, owners, at_once, stopped).await });
        Child { stop, task }
    }

    /// Ends it: from here on it has no file of the volume open.
    pub(crate) async fn end(self) {
        let Child { stop, task } = self;
        if stop.send(()).is_ok()
            && let Err(error) = task.await
        {
            tracing::warn!("ending what works ahead of the archiver: {error}");
        }
    }
}

fn at_once(machine: Machine) -> u64 {
    (machine.ram_bytes / RAM_OF_ONE).clamp(1, MOST)
}

async fn keep(layout: &Layout, owners: Owners, at_once: u64, mut stop: oneshot::Receiver<()>) {
    let mut backoff = Backoff::default();
    loop {
        let since = clock::now();
        match start(layout, owners, at_once) {
            Ok(mut running) => {
                let ended = tokio::select! {
                    ended = running.wait() => ended,
                    _told_or_dropped = &mut stop => return kill(running).await,
                };
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::warn!("what works ahead of the archiver ended by itself: {how}");
            }
            Err(error) => tracing::warn!("segments are archived one by one: {error}"),
        }
        tokio::select! {
            () = again(&mut backoff, since) => {}
            _told_or_dropped = &mut stop => return,
        }
    }
}

/// It has nothing to finish, but what it has open of the volume is open until it is gone.
async fn kill(mut running: Running) {
    let Some(pid) = running.pid() else {
        return;
    };
    if let Err(errno) = exec::signal(pid, Signal::SIGKILL) {
        tracing::warn!("ending what works ahead of the archiver ({pid}) failed: {errno}");
        return;
    }
    match clock::within(GOES, running.wait()).await {
        Some(Ok(_killed)) => {}
        Some(Err(error)) => tracing::warn!("ending what works ahead of the archiver: {error}"),
        None => tracing::warn!("what works ahead of the archiver ({pid}) does not end"),
    }
}

async fn again(backoff: &mut Backoff, since: Instant) {
    let at = backoff.restart_at(since, clock::now());
    clock::until(Some(at)).await;
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Fs(#[from] fs::FsError),
    #[error(transparent)]
    Exec(#[from] ExecError),
}

fn start(layout: &Layout, owners: Owners, at_once: u64) -> Result<Running, StartError> {
    // Only `postgres` gets through it.
    fs::make_dir(&layout.ahead_dir(), 0o700, owners.postgres)?;
    Ok(Program::new(layout.beyond_pg())
        .args(["archive-ahead", "--at-once"])
        .arg(at_once.to_string())
        .user(owners.postgres)
        .start(Output::Inherited)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_has_fewer_segments_under_way() {
        for (mib, expected) in [(128, 1), (512, 2), (2048, 8), (1 << 20, 8)] {
            let machine = Machine {
                ram_bytes: mib << 20,
                vcpus: 2,
            };
            assert_eq!(at_once(machine), expected, "{mib} MiB");
        }
    }
}
