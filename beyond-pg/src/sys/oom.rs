//! Whom the kernel takes when memory runs out.

use std::fs::OpenOptions;
use std::io::{self, Write as _};

/// Sets how much a process is spared. Lower than it was given needs CAP_SYS_RESOURCE: without, EACCES.
pub(crate) fn set_score_adj(pid: u32, value: i16) -> io::Result<()> {
    // Not fx::fs: the file is the kernel's, and there is no other to rename into its place.
    let mut file = OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/oom_score_adj"))?;
    file.write_all(value.to_string().as_bytes())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test is a parent")]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_childs_score_can_be_raised_without_any_privilege() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        set_score_adj(child.id(), 1000).unwrap();
        let path = format!("/proc/{}/oom_score_adj", child.id());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "1000\n");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
