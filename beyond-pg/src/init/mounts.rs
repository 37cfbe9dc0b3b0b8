//! What is mounted where, as the kernel tells it in `/proc/self/mountinfo`.

use std::path::{Path, PathBuf};

/// A device, as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceNumber {
    pub(crate) major: u64,
    pub(crate) minor: u64,
}

/// The device whose file system is seen at `path`, if anything is mounted exactly there. Of several
/// mounts on top of each other the last one is seen.
pub(crate) fn seen_at(path: &Path, mountinfo: &str) -> Option<DeviceNumber> {
    mountinfo
        .lines()
        .filter_map(Mount::parse)
        .rfind(|mount| mount.point == path)
        .map(|mount| mount.device)
}

struct Mount {
    device: DeviceNumber,
    point: PathBuf,
}

impl Mount {
    /// `36 35 98:0 /root /mount/point rw,noatime master:1 - ext4 /dev/vdb rw`
    fn parse(line: &str) -> Option<Mount> {
        let mut fields = line.split(' ').skip(2);
        let (major, minor) = fields.next()?.split_once(':')?;
        let _root = fields.next()?;
        Some(Mount {
            device: DeviceNumber {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            },
            point: unescaped(fields.next()?),
        })
    }
}

/// Blanks, tabs, newlines and backslashes stand as three octal digits.
fn unescaped(field: &str) -> PathBuf {
    let replaced = field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\");
    PathBuf::from(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: &str = "/var/lib/postgresql";
    const CONTAINER: &str = "\
        1284 1177 0:213 / / rw,relatime master:349 - overlay overlay rw\n\
        1290 1284 254:0 /docker/volumes/a/_data /var/lib/postgresql rw,relatime - ext4 /dev/vda rw\n\
        1291 1284 0:52 / /run rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755\n";

    fn number(major: u64, minor: u64) -> DeviceNumber {
        DeviceNumber { major, minor }
    }

    #[test]
    fn the_mount_at_a_path_is_found_and_nothing_below_or_above_it() {
        let seen = |path: &str| seen_at(Path::new(path), CONTAINER);
        assert_eq!(seen(VOLUME), Some(number(254, 0)));
        assert_eq!(seen("/"), Some(number(0, 213)));
        assert_eq!(seen("/var/lib"), None);
        assert_eq!(seen("/var/lib/postgresql/18"), None);
    }

    #[test]
    fn of_two_mounts_at_one_path_the_later_is_seen() {
        let twice = format!(
            "{CONTAINER}1300 1290 7:3 / /var/lib/postgresql rw,noatime - ext4 /dev/vdb rw\n"
        );
        assert_eq!(seen_at(Path::new(VOLUME), &twice), Some(number(7, 3)));
    }

    #[test]
    fn a_path_with_a_blank_is_found_and_a_torn_line_is_nobody() {
        let text = "1 2 7:1 / /a\\040b rw - ext4 /dev/x rw\n1 2 7:x / /c rw\n1 2\n\n";
        assert_eq!(seen_at(Path::new("/a b"), text), Some(number(7, 1)));
        assert_eq!(seen_at(Path::new("/c"), text), None);
    }
}
