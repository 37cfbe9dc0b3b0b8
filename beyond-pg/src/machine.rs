//! How big this machine is: RAM and vCPUs, as its cgroup or its kernel says (F-003).
//!
//! Inside a container `/proc/meminfo` and the online CPUs are the host's; the limit that counts
//! is the cgroup's. Pure parsers of each file's text, and one reader that finds the files.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

/// What tuning is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) ram_bytes: u64,
    pub(crate) vcpus: u32,
}

/// What could not be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineError {
    /// `/proc/meminfo` is the last resort for RAM, `/proc/self/cgroup` leads to the limits.
    #[error("reading {path}: {source}. HINT: is /proc mounted?")]
    Unreadable { path: PathBuf, source: io::Error },
    /// A kernel without `MemTotal` is none that we know.
    #[error("{path} has no MemTotal line in kB. HINT: is /proc mounted?")]
    NoMemTotal { path: PathBuf },
}

impl Machine {
    /// Looks below `root`, which is `/` in a machine.
    pub(crate) fn read(root: &Path) -> Result<Self, MachineError> {
        let meminfo = root.join("proc/meminfo");
        let total =
            mem_total(&required(&meminfo)?).ok_or(MachineError::NoMemTotal { path: meminfo })?;
        let cgroups = Cgroups::of(root, &required(&root.join("proc/self/cgroup"))?);
        let ram_bytes = cgroups
            .memory_limit()
            .map_or(total, |limit| limit.min(total));

        let usable = usable_cpus(root)?;
        let vcpus = cgroups
            .cpu_quota()
            .map_or(usable, |quota| quota.min(usable))
            .max(1);
        Ok(Self { ram_bytes, vcpus })
    }
}

/// CPUs that are online and in this process' cpuset. The set is taken from our own affinity,
/// which reads alike under both cgroup versions; it may name CPUs that are not plugged in.
fn usable_cpus(root: &Path) -> Result<u32, MachineError> {
    let status = required(&root.join("proc/self/status"))?;
    let allowed = field(&status, "Cpus_allowed_list:").and_then(cpu_list);
    let online = optional(&root.join("sys/devices/system/cpu/online"));
    let online = online.as_deref().and_then(cpu_list);
    let count = match (allowed, online) {
        (Some(allowed), Some(online)) => allowed.intersection(&online).count(),
        (Some(cpus), None) | (None, Some(cpus)) => cpus.len(),
        (None, None) => 1,
    };
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
pub(crate) fn mem_total(meminfo: &str) -> Option<u64> {
    let kilobytes = field(meminfo, "MemTotal:")?.strip_suffix("kB")?;
    kilobytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// `memory.max` (v2) or `memory.limit_in_bytes` (v1). Without a limit the first says `max`, the
/// second the largest multiple of the page size, which loses against any real memory.
pub(crate) fn memory_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `cpu.max`: quota and period in microseconds, or `max` for no quota.
pub(crate) fn cpu_max(text: &str) -> Option<u32> {
    let (quota, period) = text.trim().split_once(' ')?;
    whole_cpus(quota, period)
}

/// A quota in whole CPUs, rounded up: half a CPU is still a CPU that a second worker can be
/// running on, and a machine of less than one must be tuned as one.
fn whole_cpus(quota: &str, period: &str) -> Option<u32> {
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok().filter(|period| *period > 0)?;
    Some(
        u32::try_from(quota.div_ceil(period))
            .unwrap_or(u32::MAX)
            .max(1),
    )
}

/// Above any `NR_CPUS` that Linux can be built with.
const CPU_CEILING: u32 = 1 << 16;

/// A CPU list such as `0-3,5`.
pub(crate) fn cpu_list(text: &str) -> Option<BTreeSet<u32>> {
    let mut cpus = BTreeSet::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= CPU_CEILING {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// The folders in which limits of this process may stand, the deepest first.
///
/// `/proc/self/cgroup` names the group as the host sees it, while a container sees its own group
/// at the mount point: walking from the named folder up to the mount point finds the limit either
/// way, and takes in the limits of the groups above, which bind as well.
struct Cgroups {
    unified: Vec<PathBuf>,
    memory: Vec<PathBuf>,
    cpu: Vec<PathBuf>,
}

impl Cgroups {
    fn of(root: &Path, membership: &str) -> Self {
        let mount = root.join("sys/fs/cgroup");
        let mut found = Self {
            unified: Vec::new(),
            memory: Vec::new(),
            cpu: Vec::new(),
        };
        for line in membership.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
                continue;
            };
            if controllers.is_empty() {
                found.unified = folders(&mount, group);
                found.unified.extend(folders(&mount.join("unified"), group));
            }
            let named: Vec<_> = controllers.split(',').collect();
            for (controller, list) in [("memory", &mut found.memory), ("cpu", &mut found.cpu)] {
                if named.contains(&controller) {
                    list.extend(folders(&mount.join(controllers), group));
                    list.extend(folders(&mount.join(controller), group));
                }
            }
        }
        found
    }

    fn memory_limit(&self) -> Option<u64> {
        let unified = self.unified.iter().map(|folder| folder.join("memory.max"));
        let legacy = self
            .memory
            .iter()
            .map(|folder| folder.join("memory.limit_in_bytes"));
        let limits = unified
            .chain(legacy)
            .filter_map(|file| memory_limit(&optional(&file)?));
        limits.min()
    }

    fn cpu_quota(&self) -> Option<u32> {
        let unified = self
            .unified
            .iter()
            .filter_map(|folder| cpu_max(&optional(&folder.join("cpu.max"))?));
        let legacy = self.cpu.iter().filter_map(|folder| {
            let quota = optional(&folder.join("cpu.cfs_quota_us"))?;
            whole_cpus(&quota, &optional(&folder.join("cpu.cfs_period_us"))?)
        });
        unified.chain(legacy).min()
    }
}

/// `mount/a/b`, `mount/a`, `mount` for the group `/a/b`.
fn folders(mount: &Path, group: &str) -> Vec<PathBuf> {
    let parts: Vec<_> = Path::new(group)
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    (0..=parts.len())
        .rev()
        .map(|depth| {
            parts[..depth]
                .iter()
                .fold(mount.to_owned(), |path, part| path.join(part))
        })
        .collect()
}

fn required(path: &Path) -> Result<String, MachineError> {
    std::fs::read_to_string(path).map_err(|source| MachineError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The text of a file that not every kernel has.
fn optional(path: &Path) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            None
        }
        Err(error) => {
            tracing::warn!(
                "{}: {error}; a limit written there is not known",
                path.display()
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// A machine's `/proc` and `/sys`, with 8 GB and 8 CPUs unless a file says less.
    #[expect(
        clippy::disallowed_methods,
        reason = "a tree in a temporary folder need not be atomic"
    )]
    fn machine(files: &[(&str, &str)]) -> Machine {
        let root = tempfile::tempdir().unwrap();
        let always = [
            (
                "proc/meminfo",
                "MemTotal:        8388608 kB\nMemFree: 1 kB\n",
            ),
            ("proc/self/cgroup", "0::/\n"),
            (
                "proc/self/status",
                "Name:\tbeyond-pg\nCpus_allowed_list:\t0-127\n",
            ),
            ("sys/devices/system/cpu/online", "0-7\n"),
        ];
        for (path, text) in always.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Machine::read(root.path()).unwrap()
    }

    const GB: u64 = 1 << 30;

    #[test]
    fn a_machine_of_its_own_is_as_big_as_its_kernel_says() {
        assert_eq!(
            machine(&[]),
            Machine {
                ram_bytes: 8 * GB,
                vcpus: 8
            }
        );
    }

    #[test]
    fn a_cgroup_v2_limit_wins_when_it_is_lower() {
        let limited = machine(&[
            ("sys/fs/cgroup/memory.max", "2147483648\n"),
            ("sys/fs/cgroup/cpu.max", "250000 100000\n"),
        ]);
        assert_eq!(
            limited,
            Machine {
                ram_bytes: 2 * GB,
                vcpus: 3
            }
        );

        let generous = machine(&[
            ("sys/fs/cgroup/memory.max", "99999999999999\n"),
            ("sys/fs/cgroup/cpu.max", "6400000 100000\n"),
        ]);
        assert_eq!(
            generous,
            Machine {
                ram_bytes: 8 * GB,
                vcpus: 8
            }
        );

        let unlimited = machine(&[
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(
            unlimited,
            Machine {
                ram_bytes: 8 * GB,
                vcpus: 8
            }
        );
    }

    #[test]
    fn a_cgroup_v1_limit_is_found_at_the_containers_own_mount_point() {
        let membership = (
            "proc/self/cgroup",
            "5:memory:/docker/4f\n3:cpu,cpuacct:/docker/4f\n0::/system.slice\n",
        );
        let limited = machine(&[
            membership,
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(
            limited,
            Machine {
                ram_bytes: GB,
                vcpus: 1
            }
        );

        let unlimited = machine(&[
            membership,
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(
            unlimited,
            Machine {
                ram_bytes: 8 * GB,
                vcpus: 8
            }
        );
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let nested = machine(&[
            ("proc/self/cgroup", "0::/outer/own\n"),
            ("sys/fs/cgroup/outer/own/memory.max", "max\n"),
            ("sys/fs/cgroup/outer/memory.max", "3221225472\n"),
            ("sys/fs/cgroup/outer/own/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/outer/cpu.max", "200000 100000\n"),
        ]);
        assert_eq!(
            nested,
            Machine {
                ram_bytes: 3 * GB,
                vcpus: 2
            }
        );
    }

    #[test]
    fn a_cpuset_counts_only_the_cpus_that_are_online() {
        let pinned = machine(&[("proc/self/status", "Cpus_allowed_list:\t0-1,5,12-14\n")]);
        assert_eq!(pinned.vcpus, 3);
    }

    #[test]
    fn a_missing_proc_is_named_rather_than_guessed_around() {
        let empty = tempfile::tempdir().unwrap();
        let error = Machine::read(empty.path()).unwrap_err().to_string();
        assert!(
            error.contains("proc/meminfo") && error.contains("HINT: is /proc mounted?"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            mem_total(&text);
            memory_limit(&text);
            cpu_max(&text);
            cpu_list(&text);
        }

        #[test]
        fn a_quota_is_never_rounded_below_itself_or_up_by_a_whole_cpu(quota in 1_u64..1 << 40, period in 1_u64..1_000_000) {
            let cpus = u64::from(whole_cpus(&quota.to_string(), &period.to_string()).unwrap());
            prop_assume!(cpus < u64::from(u32::MAX));
            prop_assert!(cpus * period >= quota && (cpus - 1) * period < quota);
        }

        #[test]
        fn a_cpu_list_holds_exactly_the_cpus_it_names(cpus in prop::collection::btree_set(0_u32..512, 1..64)) {
            let written = cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            prop_assert_eq!(cpu_list(&written), Some(cpus));
        }
    }
}
