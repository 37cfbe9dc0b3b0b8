//! Which C library an executable asks for. One built on a newer Linux than the image's starts
//! there with `version GLIBC_2.44 not found`, as PID 1, which is a machine that does not boot.

use std::io::BufRead as _;

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Of a Debian package version or of a symbol version: digits, a dot, digits, anything.
pub(super) fn version(text: &str) -> Option<Version> {
    let (major, rest) = text.split_once('.')?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    Some(Version(major.parse().ok()?, rest.get(..end)?.parse().ok()?))
}

/// The newest symbol version that an executable names. They stand as text in its string table;
/// reading it as ELF would say the same. From one `G` to the next, because that search is the
/// standard library's compiled one: byte by byte, a debug build takes seconds over 20 MB.
pub(super) fn needed(executable: &[u8]) -> Option<Version> {
    let mut rest = executable;
    let mut newest = None;
    while rest.skip_until(b'G').is_ok_and(|skipped| skipped > 0) {
        newest = newest.max(symbol_version(rest));
    }
    newest
}

/// Of text that goes on after the `G` of `GLIBC_2.34`.
fn symbol_version(after_g: &[u8]) -> Option<Version> {
    let name = after_g.strip_prefix(b"LIBC_")?;
    let name = name.get(..name.iter().position(|byte| *byte == 0)?)?;
    version(std::str::from_utf8(name).ok()?)
}

#[cfg(test)]
mod tests {
    use super::{needed, version};

    #[test]
    fn debian_versions_and_symbol_versions_are_read_alike() {
        assert_eq!(version("2.43-7"), version("2.43"));
        assert!(version("2.9") < version("2.43-7+b1"));
        assert_eq!(version("none"), None);
    }

    #[test]
    fn the_newest_symbol_counts() {
        let executable = b"\x7fELF\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_2.39\0GLIBC_PRIVATE\0";
        assert_eq!(needed(executable), version("2.39"));
        assert_eq!(needed(b"static"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_very_executable_needs_no_more_than_it_runs_on() {
        let ourselves = std::fs::read("/proc/self/exe").unwrap();
        assert!(needed(&ourselves).is_some_and(|needed| needed > version("2.0").unwrap()));
    }
}
