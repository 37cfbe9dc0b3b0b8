//! After the postmaster is gone: what it has left behind must be gone, too, before another starts.
//!
//! A postmaster that is killed leaves its children to PID 1. Nearly all notice at once and end; one
//! that is deep in a computation does not, and the next postmaster refuses to start for as long as it
//! runs: "pre-existing shared memory block is still in use". So they are given a moment, then SIGQUIT,
//! then SIGKILL, which costs nothing more: recovery follows anyway. What is never signalled here is a
//! postmaster, ours or another one's (facts A 14).

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::fx::{clock, exec, fs};
use crate::layout::Layout;
use crate::sys::orphan::Orphan;
use crate::sys::user::Account;

/// How long after the postmaster's end its children may take to notice.
const NOTICE: Duration = Duration::from_millis(500);
/// How long after it those have that were sent SIGQUIT.
const QUIT: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A postmaster has ended, at that moment.
#[derive(Debug)]
pub(super) struct Aftermath {
    since: Instant,
    sent: Option<Signal>,
}

impl Aftermath {
    pub(super) fn begin(now: Instant) -> Aftermath {
        Aftermath {
            since: now,
            sent: None,
        }
    }

    /// Comes back when nothing is left. May be dropped and called again.
    pub(super) async fn is_over(&mut self, layout: &Layout, server: Account) {
        loop {
            let leftovers = leftovers(exec::orphans(), server);
            if leftovers.is_empty() {
                break;
            }
            let due = due(clock::now().duration_since(self.since));
            if let Some(signal) = due.filter(|_| due != self.sent) {
                self.sent = due;
                leftovers.iter().for_each(|orphan| send(orphan, signal));
            }
            clock::pause(LOOK).await;
        }
        forget(layout);
    }
}

/// The locks of a postmaster that is gone name a process; that number may be somebody else's by the
/// time the next one reads them, and then it does not start.
fn forget(layout: &Layout) {
    for lock in [layout.postmaster_pid(), layout.socket_lock()] {
        // Best effort: nearly always the next postmaster sees by itself that the lock is stale.
        if let Err(error) = fs::remove_if_present(&lock) {
            tracing::warn!("a stale lock of Postgres stays: {error}");
        }
    }
}

fn send(orphan: &Orphan, signal: Signal) {
    let Orphan { pid, title, .. } = orphan;
    let title = title.trim_end();
    tracing::warn!("the postmaster is gone and {title:?} ({pid}) is not: sending {signal}");
    if let Err(errno) = exec::signal(*pid, signal) {
        tracing::error!("sending {signal} to {pid} failed: {errno}");
    }
}

/// Which of these a postmaster of that account has left behind.
///
/// Once it has introduced itself, a child's title begins with `postgres: `; a postmaster's is its
/// command line, as is that of somebody else's server that was started by hand.
fn leftovers(orphans: Vec<Orphan>, server: Account) -> Vec<Orphan> {
    let is_left = |orphan: &Orphan| {
        orphan.uid == server.uid.as_raw()
            && orphan.name == "postgres"
            && orphan.title.starts_with("postgres: ")
    };
    orphans.into_iter().filter(is_left).collect()
}

/// What those must have been sent that are there so long after the postmaster's end.
fn due(after: Duration) -> Option<Signal> {
    match after {
        after if after < NOTICE => None,
        after if after < QUIT => Some(Signal::SIGQUIT),
        _ => Some(Signal::SIGKILL),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests lay files out")]
mod tests {
    use super::*;
    use nix::unistd::{Gid, Uid};

    const SERVER: u32 = 999;

    fn server() -> Account {
        Account {
            uid: Uid::from_raw(SERVER),
            gid: Gid::from_raw(SERVER),
        }
    }

    fn orphan(name: &str, uid: u32, title: &str) -> Orphan {
        Orphan {
            pid: 42,
            name: name.to_owned(),
            uid,
            title: title.to_owned(),
        }
    }

    fn is_left(name: &str, uid: u32, title: &str) -> bool {
        !leftovers(vec![orphan(name, uid, title)], server()).is_empty()
    }

    #[test]
    fn backends_and_auxiliary_processes_are_what_a_postmaster_leaves_behind() {
        assert!(is_left(
            "postgres",
            SERVER,
            "postgres: postgres db [local] DO"
        ));
        assert!(is_left("postgres", SERVER, "postgres: checkpointer "));
    }

    #[test]
    fn a_postmaster_is_never_among_them() {
        let argv = "/usr/lib/postgresql/18/bin/postgres -D /var/lib/postgresql/18/main ";
        assert!(!is_left("postgres", SERVER, argv));
        assert!(!is_left("postgres", SERVER, "postgres -D /elsewhere "));
    }

    #[test]
    fn neither_is_another_program_another_user_or_a_process_that_has_died() {
        assert!(!is_left("sh", SERVER, "postgres: a shell that pretends"));
        assert!(!is_left("postgres", 0, "postgres: checkpointer "));
        assert!(!is_left("postgres", SERVER, ""));
    }

    #[test]
    fn they_are_given_a_moment_then_asked_then_made_to_end() {
        let sent: Vec<_> = [0, 499, 500, 2_999, 3_000, 60_000]
            .map(|ms| due(Duration::from_millis(ms)))
            .to_vec();
        let (quit, kill) = (Some(Signal::SIGQUIT), Some(Signal::SIGKILL));
        assert_eq!(sent, [None, None, quit, quit, kill, kill]);
    }

    #[tokio::test]
    async fn when_nothing_is_left_the_next_postmaster_finds_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let locks = [layout.postmaster_pid(), layout.socket_lock()];
        for lock in &locks {
            std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
            std::fs::write(lock, "1\n").unwrap();
        }
        let mut aftermath = Aftermath::begin(clock::now());
        aftermath.is_over(&layout, server()).await;
        assert!(!locks.iter().any(|lock| lock.exists()));
        // Again after it was dropped at the end: nothing to do.
        aftermath.is_over(&layout, server()).await;
    }
}
