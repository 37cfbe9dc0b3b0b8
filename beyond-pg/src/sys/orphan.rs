//! What proc(5) tells about a process that is PID 1's child only because its parent died.

use std::fs;

/// An orphan, alive or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub(crate) pid: u32,
    /// The file it was started from, at most 15 bytes of its name. `/proc/PID/exe` would be exact, but
    /// in a container PID 1 lacks CAP_SYS_PTRACE and may not read it.
    pub(crate) name: String,
    pub(crate) uid: u32,
    /// Its command line, or what it has put in its place; empty once it has died.
    pub(crate) title: String,
}

impl Orphan {
    /// Looks at one process; `None` when there is none of that number.
    pub(crate) fn look(pid: i32) -> Option<Orphan> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let title = String::from_utf8_lossy(&title).replace('\0', " ");
        let (name, uid) = parse(&status)?;
        Some(Orphan {
            pid: u32::try_from(pid).ok()?,
            name,
            uid,
            title,
        })
    }
}

fn parse(status: &str) -> Option<(String, u32)> {
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
    let name = value("Name:\t")?.to_owned();
    let uid = value("Uid:\t")?.split_whitespace().next()?.parse().ok()?;
    Some((name, uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_owner_are_read_from_its_status() {
        let status = "Name:\tpostgres\nUmask:\t0077\nState:\tR (running)\nPPid:\t1\nUid:\t999\t999\t999\t999\n";
        assert_eq!(parse(status), Some(("postgres".to_owned(), 999)));
        assert_eq!(parse("Name:\tpostgres\n"), None);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let own = i32::try_from(std::process::id()).unwrap();
        let seen = Orphan::look(own).unwrap();
        assert!(seen.title.contains(&seen.name), "{seen:?}");
    }
}
