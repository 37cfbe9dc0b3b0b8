use std::fmt::Write as _;

use super::*;
use crate::conf::reference_tests::must_be_fresh;

const INFINITE: u64 = u64::MAX;

fn open_files() -> Limit {
    LIMITS[0]
}

#[test]
fn a_higher_hard_limit_is_left_alone() {
    let [first, _] = open_files().tries(1 << 20);
    assert_eq!(first, (65_536, 1 << 20));
    let [first, _] = open_files().tries(INFINITE);
    assert_eq!(first, (65_536, INFINITE));
}

#[test]
fn a_lower_hard_limit_is_raised_or_else_used_up() {
    assert_eq!(open_files().tries(4096), [(65_536, 65_536), (4096, 4096)]);
}

#[test]
fn the_kernel_takes_a_backend_before_the_pooler_and_never_the_postmaster() {
    let scores =
        [Process::OfPostmaster, Process::Pooler, Process::Postmaster].map(Process::oom_score_adj);
    assert!(
        scores.is_sorted_by(|sooner, later| sooner > later),
        "{scores:?}"
    );
    assert_eq!(scores[2], -1000);
}

fn limits_table() -> String {
    let mut table = String::from("| every process starts with | value | why |\n|---|---|---|\n");
    for Limit {
        resource,
        soft,
        why,
    } in LIMITS
    {
        let name = match resource {
            Resource::OpenFiles => "open files, soft limit",
            Resource::CoreFile => "core file, soft limit",
            Resource::Stack => "stack, soft limit in bytes",
        };
        writeln!(table, "| {name} | {soft} | {why} |").unwrap();
    }
    writeln!(
        table,
        "| umask | {UMASK:04o} | what a hook or a server creates is its owner's alone |"
    )
    .unwrap();
    table
}

fn oom_table() -> String {
    let mut table = String::from("| process | `oom_score_adj` |\n|---|---|\n");
    for (name, process) in [
        ("the postmaster", Process::Postmaster),
        ("its children", Process::OfPostmaster),
        ("PgBouncer", Process::Pooler),
    ] {
        writeln!(table, "| {name} | {} |", process.oom_score_adj()).unwrap();
    }
    table.push_str("| PID 1, hooks and other programs | as whoever runs the machine gave it |\n");
    table
}

#[test]
fn the_operator_is_told_what_every_process_is_given() {
    must_be_fresh(
        "operations.md",
        &[("limits", limits_table()), ("oom", oom_table())],
    );
}
