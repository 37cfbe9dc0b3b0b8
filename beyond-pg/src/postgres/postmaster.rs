//! What the postmaster writes about itself into `postmaster.pid`. Knocking on its socket instead
//! would log a FATAL for every knock during recovery. Pure.

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Postmaster {
    Starting,
    /// Sessions are let in. One that replays lets them in to read; with `hot_standby` off it calls
    /// itself a standby all the same, and lets in nobody.
    Accepting {
        writes: bool,
    },
    Stopping,
}

/// By line 8 of the file (`PM_STATUS_READY`, `PM_STATUS_STANDBY` and so on), padded with blanks. A
/// file that is not written to its end yet is one that starts.
pub(crate) fn state(postmaster_pid: &str) -> Postmaster {
    match postmaster_pid.lines().nth(7).map(str::trim) {
        Some("ready") => Postmaster::Accepting { writes: true },
        Some("standby") => Postmaster::Accepting { writes: false },
        Some("stopping") => Postmaster::Stopping,
        _ => Postmaster::Starting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postmaster_accepts_once_its_pid_file_says_so() {
        let file = |state: &str| {
            format!("17\n/data\n1763800000\n5433\n/var/run/postgresql\n127.0.0.1\n  1 2\n{state}\n")
        };
        assert_eq!(state(&file("starting")), Postmaster::Starting);
        for (status, writes) in [("ready   ", true), ("standby ", false)] {
            assert_eq!(state(&file(status)), Postmaster::Accepting { writes });
        }
        assert_eq!(state(&file("stopping")), Postmaster::Stopping);
        assert_eq!(state("17\n/data\n"), Postmaster::Starting);
    }
}
