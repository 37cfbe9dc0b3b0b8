//! The processes of a machine, as proc(5) tells them.

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
    use super::{Process, read};

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
}
