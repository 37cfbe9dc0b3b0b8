//! Which process made something, told in a label that outlives it.
//!
//! A test run that is killed cannot clean up. The next one may remove what the dead left behind,
//! but nothing of a run that is still under way beside it, and nothing that `up` made to stay:
//! that carries no owner.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A process on a host. The start time tells it from a later process with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    host: String,
    pid: i32,
    /// Clock ticks since boot, or 0 where the host does not say (no /proc).
    started: u64,
}

impl Owner {
    /// The process that is asking.
    pub fn current() -> Self {
        let pid = nix::unistd::getpid().as_raw();
        Self {
            host: host_name(),
            pid,
            started: start_ticks(pid).unwrap_or(0),
        }
    }

    /// Whether this owner surely no longer runs. One on another host may: its processes cannot be
    /// seen from here, so what it made is left alone.
    pub fn is_gone(&self) -> bool {
        self.host == host_name()
            && !self.is_running(process_exists(self.pid), start_ticks(self.pid))
    }

    /// `started_now` is the start time of whatever has this pid now, where the host tells it.
    fn is_running(&self, exists: bool, started_now: Option<u64>) -> bool {
        let same = started_now.is_none_or(|now| self.started == 0 || now == self.started);
        exists && same
    }
}

fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(
        |_unnamed| "localhost".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn process_exists(pid: i32) -> bool {
    // EPERM means that it exists and belongs to somebody else.
    matches!(kill(Pid::from_raw(pid), None), Ok(()) | Err(Errno::EPERM))
}

fn start_ticks(pid: i32) -> Option<u64> {
    let stat =
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    start_ticks_of(&stat)
}

/// Field 22 of proc(5) stat; the command in field 2 may itself hold blanks and brackets.
fn start_ticks_of(stat: &str) -> Option<u64> {
    let (_, after_command) = stat.rsplit_once(')')?;
    after_command.split_whitespace().nth(19)?.parse().ok()
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.host, self.pid, self.started)
    }
}

/// A label that is not an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not host/pid/start")]
pub struct NotAnOwner(String);

impl FromStr for Owner {
    type Err = NotAnOwner;

    fn from_str(label: &str) -> Result<Self, NotAnOwner> {
        let parse = || {
            let mut parts = label.rsplitn(3, '/');
            let started = parts.next()?.parse().ok()?;
            let pid = parts.next()?.parse().ok()?;
            Some(Self {
                host: parts.next()?.to_owned(),
                pid,
                started,
            })
        };
        parse().ok_or_else(|| NotAnOwner(label.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Owner, start_ticks_of};

    fn owner() -> Owner {
        Owner {
            host: "laptop".to_owned(),
            pid: 7,
            started: 123,
        }
    }

    #[test]
    fn an_owner_survives_its_label() {
        assert_eq!(owner().to_string().parse(), Ok(owner()));
        assert!("laptop/7".parse::<Owner>().is_err());
        assert!("laptop/seven/1".parse::<Owner>().is_err());
    }

    #[test]
    fn this_process_is_not_gone() {
        let me = Owner::current();
        assert!(!me.is_gone());
        assert!(
            me.to_string()
                .parse::<Owner>()
                .is_ok_and(|read| !read.is_gone())
        );
    }

    #[test]
    fn a_reused_process_number_is_not_the_owner() {
        assert!(owner().is_running(true, Some(123)));
        assert!(!owner().is_running(true, Some(456)));
        assert!(!owner().is_running(false, None));
        assert!(
            owner().is_running(true, None),
            "no /proc: existence has to do"
        );
    }

    #[test]
    fn an_owner_elsewhere_is_never_declared_gone() {
        assert!(!owner().is_gone());
    }

    #[test]
    fn the_start_time_is_found_behind_an_odd_command_name() {
        let stat = "42 (a) b) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987 20";
        assert_eq!(start_ticks_of(stat), Some(987));
        assert_eq!(start_ticks_of(""), None);
    }
}
