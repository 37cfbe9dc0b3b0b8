//! `01-tuning.conf`: what follows from this boot's RAM and vCPUs (F-003, contract 5).

use super::guc::{Fragment, Size};
use super::pgbouncer::POOL_SIZE;
use crate::machine::Machine;

/// The derived values. Where a floor and a ceiling cross, the floor wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuning {
    shared_buffers: Size,
    effective_cache_size: Size,
    maintenance_work_mem: Size,
    work_mem: Size,
    wal_buffers: Size,
    max_connections: u64,
    max_worker_processes: u32,
    max_parallel_workers: u32,
    /// Of one query, and of one maintenance command.
    parallel_workers: u32,
}

fn tuning(machine: Machine) -> Tuning {
    let Machine {
        ram_bytes: ram,
        vcpus,
    } = machine;
    let shared_buffers = Size::whole_mb(ram / 4).max(Size::mb(128));
    Tuning {
        shared_buffers,
        effective_cache_size: Size::whole_mb(ram / 4 * 3),
        maintenance_work_mem: Size::whole_mb(ram / 20).min(Size::gb(2)),
        // Half of RAM, if every pooled connection ran five sorts or hashes at once.
        work_mem: Size::whole_mb(ram / 2 / (POOL_SIZE * 5)).max(Size::mb(32)),
        wal_buffers: Size::whole_mb(shared_buffers.bytes() / 32).clamp(Size::mb(1), Size::mb(16)),
        // 25 for each vCPU, for as long as RAM has 50 MB for each of them.
        max_connections: (u64::from(vcpus) * 25).min((ram >> 20) / 50).max(100),
        max_worker_processes: vcpus.saturating_add(4).max(8),
        max_parallel_workers: vcpus.max(1),
        parallel_workers: (vcpus / 2).clamp(1, 4),
    }
}

pub(super) fn render(machine: Machine) -> String {
    let tuning = tuning(machine);
    let Machine { ram_bytes, vcpus } = machine;
    let mut conf = Fragment::new("Derived from the size of this machine (F-003).");
    conf.section(&format!("{} of RAM", Size::whole_mb(ram_bytes)))
        .set("shared_buffers", tuning.shared_buffers)
        .set("effective_cache_size", tuning.effective_cache_size)
        .set("maintenance_work_mem", tuning.maintenance_work_mem)
        .set("work_mem", tuning.work_mem)
        .set("wal_buffers", tuning.wal_buffers)
        .section(&format!("{vcpus} vCPU"))
        .set("max_connections", tuning.max_connections)
        .set("max_worker_processes", tuning.max_worker_processes)
        .set("max_parallel_workers", tuning.max_parallel_workers)
        .set("max_parallel_workers_per_gather", tuning.parallel_workers)
        .set("max_parallel_maintenance_workers", tuning.parallel_workers);
    conf.into_text()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(ram: Size, vcpus: u32) -> Tuning {
        tuning(Machine {
            ram_bytes: ram.bytes(),
            vcpus,
        })
    }

    #[test]
    fn shared_buffers_are_a_quarter_of_ram_and_at_least_128_mb() {
        for (ram, expected) in [
            (Size::mb(256), Size::mb(128)),
            (Size::mb(512), Size::mb(128)),
            (Size::mb(516), Size::mb(129)),
            (Size::gb(256), Size::gb(64)),
        ] {
            assert_eq!(of(ram, 1).shared_buffers, expected, "{ram}");
        }
    }

    #[test]
    fn work_mem_starts_to_grow_beyond_6400_mb_of_ram() {
        for (ram, expected) in [
            (Size::mb(512), Size::mb(32)),
            (Size::mb(6400), Size::mb(32)),
            (Size::mb(6600), Size::mb(33)),
            (Size::gb(64), Size::mb(327)),
        ] {
            assert_eq!(of(ram, 1).work_mem, expected, "{ram}");
        }
    }

    #[test]
    fn maintenance_work_mem_stops_at_2_gb() {
        assert_eq!(of(Size::gb(39), 1).maintenance_work_mem, Size::mb(1996));
        assert_eq!(of(Size::gb(40), 1).maintenance_work_mem, Size::gb(2));
        assert_eq!(of(Size::gb(256), 1).maintenance_work_mem, Size::gb(2));
    }

    #[test]
    fn connections_follow_vcpus_until_ram_runs_out_and_never_fall_below_100() {
        for (ram, vcpus, expected) in [
            (Size::mb(512), 1, 100),
            (Size::mb(512), 64, 100), // the floor wins over RAM's ceiling of 10
            (Size::gb(4), 64, 100),   // 81 by RAM
            (Size::gb(8), 64, 163),
            (Size::gb(64), 4, 100),
            (Size::gb(64), 5, 125),
            (Size::gb(256), 64, 1600),
        ] {
            assert_eq!(
                of(ram, vcpus).max_connections,
                expected,
                "{ram}, {vcpus} vCPU"
            );
        }
    }

    #[test]
    fn parallelism_is_half_the_vcpus_between_one_and_four() {
        for (vcpus, per_query) in [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (64, 4)] {
            assert_eq!(
                of(Size::gb(8), vcpus).parallel_workers,
                per_query,
                "{vcpus} vCPU"
            );
        }
        assert_eq!(of(Size::gb(8), 1).max_worker_processes, 8);
        assert_eq!(of(Size::gb(8), 5).max_worker_processes, 9);
    }

    proptest! {
        /// The ranges are PostgreSQL's own, in which it starts; see `pg_settings`.
        #[test]
        fn any_machine_gets_values_that_postgres_accepts(
            ram_mb in 0_u64..16 << 20,
            vcpus in 1_u32..4096,
        ) {
            let tuning = of(Size::mb(ram_mb), vcpus);
            prop_assert!(tuning.max_connections <= 262_143);
            prop_assert!(tuning.max_worker_processes <= 262_143);
            prop_assert!(tuning.max_parallel_workers <= 4096);
            prop_assert!((Size::mb(32)..=Size::gb(2047)).contains(&tuning.work_mem));
            prop_assert!((Size::mb(1)..=Size::mb(16)).contains(&tuning.wal_buffers));
            prop_assert!(tuning.shared_buffers >= Size::mb(128));
        }

        #[test]
        fn a_larger_machine_never_gets_less(ram_mb in 128_u64..1 << 19, vcpus in 1_u32..128) {
            let (small, large) = (of(Size::mb(ram_mb), vcpus), of(Size::mb(ram_mb * 2), vcpus * 2));
            prop_assert!(large.shared_buffers >= small.shared_buffers);
            prop_assert!(large.work_mem >= small.work_mem);
            prop_assert!(large.max_connections >= small.max_connections);
            prop_assert!(large.parallel_workers >= small.parallel_workers);
        }
    }
}
