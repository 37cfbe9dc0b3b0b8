//! The processes of a machine, as proc(5) tells them.

use std::collections::BTreeMap;

use anyhow::Result;

/// Prints `pid ppid state uid command line` for each. By /proc rather than ps, which cannot tell a
/// zombie's command line from a kernel thread's.
pub(crate) const LISTING: &str = r#"
for folder in /proc/[0-9]*; do
    argv=$(tr '\0' ' ' < "$folder/cmdline" 2>/dev/null) || continue
    awk -v pid="${folder#/proc/}" -v argv="$argv" '
        /^State:/ { state = $2 } /^PPid:/ { ppid = $2 } /^Uid:/ { uid = $2 }
        END { if (state) print pid, ppid, state, uid, argv }' "$folder/status" 2>/dev/null || :
done
"#;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's number.
    pub parent: u32,
    /// `Z` for one that ended and that nobody has waited for.
    pub state: char,
    /// Whose it is.
    pub uid: u32,
    /// Its command line, or what it has put in its place.
    pub argv: String,
}

/// Prints, for the process in `$1`, what it was given beside its command line; the environment only to
/// its own account and to nobody else.
pub(crate) const GIVEN: &str = r#"
echo "oom_score_adj $(cat "/proc/$1/oom_score_adj")"
sed -n 's/^Umask:\t/umask /p' "/proc/$1/status"
sed -nE 's/^Max (core file size|stack size|open files) +([^ ]+) +([^ ]+).*/\1:\2:\3/p' "/proc/$1/limits"
tr '\0' '\n' < "/proc/$1/environ" 2>/dev/null | sed -n 's/^PATH=/path /p'
"#;

/// What a process was given beside its command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    /// How much the kernel spares it when memory runs out; -1000 is altogether.
    pub oom_score_adj: i32,
    /// As in `0077`.
    pub umask: String,
    /// Where it looks for programs; `None` for a process whose environment is not shown.
    pub path: Option<String>,
    /// Soft and hard limits, `unlimited` as such.
    pub limits: BTreeMap<String, (String, String)>,
}

impl Given {
    pub(crate) fn read(printed: &str) -> Result<Self> {
        let mut given = Self::default();
        for line in printed.lines() {
            let mut limit = line.splitn(3, ':');
            if let Some(("oom_score_adj", score)) = line.split_once(' ') {
                given.oom_score_adj = score.parse()?;
            } else if let Some(umask) = line.strip_prefix("umask ") {
                given.umask = umask.to_owned();
            } else if let Some(path) = line.strip_prefix("path ") {
                given.path = Some(path.to_owned());
            } else if let (Some(name), Some(soft), Some(hard)) =
                (limit.next(), limit.next(), limit.next())
            {
                let pair = (soft.to_owned(), hard.to_owned());
                given.limits.insert(name.to_owned(), pair);
            }
        }
        Ok(given)
    }

    /// The soft limit of that name in proc(5).
    pub fn soft(&self, limit: &str) -> &str {
        self.limits.get(limit).map_or("none", |(soft, _)| soft)
    }
}

pub(crate) fn read(listing: &str) -> Vec<Process> {
    let process = |line: &str| {
        let mut words = line.splitn(5, ' ');
        Some(Process {
            pid: words.next()?.parse().ok()?,
            parent: words.next()?.parse().ok()?,
            state: words.next()?.chars().next()?,
            uid: words.next()?.parse().ok()?,
            argv: words.next()?.trim_end().to_owned(),
        })
    };
    listing.lines().filter_map(process).collect()
}

#[cfg(test)]
mod tests {
    use super::{Given, Process, read};

    #[test]
    fn a_zombie_without_a_command_line_is_a_process_too() {
        let argv = "/usr/lib/postgresql/18/bin/postgres -D /data".to_owned();
        let listed = read("17 1 S 999 /usr/lib/postgresql/18/bin/postgres -D /data \n42 1 Z 0 \n");
        let zombie = Process {
            pid: 42,
            parent: 1,
            state: 'Z',
            uid: 0,
            argv: String::new(),
        };
        assert_eq!(
            listed,
            [
                Process {
                    pid: 17,
                    parent: 1,
                    state: 'S',
                    uid: 999,
                    argv
                },
                zombie
            ]
        );
    }

    #[test]
    fn what_a_process_was_given_is_read() {
        let printed = "oom_score_adj -1000\numask 0077\nopen files:1024:unlimited\npath /a:/b\n";
        let given = Given::read(printed).unwrap();
        assert_eq!((given.oom_score_adj, given.umask.as_str()), (-1000, "0077"));
        assert_eq!(given.soft("open files"), "1024");
        assert_eq!(given.path.as_deref(), Some("/a:/b"));
    }
}
