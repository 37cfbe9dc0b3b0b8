//! What a machine needs before it can look for a database: its kernel's options, its volume.

pub(crate) mod cmdline;
mod ext4;
mod mounts;
pub(crate) mod volume;

use std::path::Path;

use crate::init::cmdline::CommandLine;
use crate::metadata;
use crate::settings::Warning;

/// Whether the kernel chose the arguments of this process. It hands `/sbin/init` every word that it
/// does not know itself, and nobody may take those for commands. Until `/proc` is mounted nobody can
/// tell; a container always has one.
pub(crate) fn started_by_kernel(root: &Path) -> bool {
    metadata::has_own_kernel() || (std::process::id() == 1 && !root.join("proc/self").exists())
}

/// What the command line of this machine's kernel says to PID 1. A container must not ask: what it
/// would read is its host's.
pub(crate) fn command_line(root: &Path) -> CommandLine {
    let path = root.join("proc/cmdline");
    match std::fs::read(&path) {
        Ok(bytes) => CommandLine::parse(&String::from_utf8_lossy(&bytes)),
        Err(error) => CommandLine {
            stop_budget: None,
            warnings: vec![Warning(format!(
                "reading {}: {error}; the options on the kernel's command line are not in force. \
                 HINT: is /proc mounted?",
                path.display()
            ))],
        },
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a stand-in for procfs")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_options_stand_in_proc_and_without_it_none_are_in_force() {
        let root = tempfile::tempdir().unwrap();
        let line = command_line(root.path());
        assert_eq!(line.stop_budget, None);
        let warning = line.warnings[0].to_string();
        assert!(warning.contains("proc/cmdline: ") && warning.contains("HINT: is /proc mounted?"));

        std::fs::create_dir(root.path().join("proc")).unwrap();
        let text = b"console=ttyS0 \xff beyond.stop_budget=5\n";
        std::fs::write(root.path().join("proc/cmdline"), text).unwrap();
        let line = command_line(root.path());
        assert_eq!(line.stop_budget, Some(Duration::from_secs(5)));
        assert_eq!(line.warnings, []);
    }
}
