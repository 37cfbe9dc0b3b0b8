//! Texts that the kernel, Postgres, the image and operators leave lying about.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use wire::lsn::Lsn;

use crate::boot::facts;
use crate::cli::STOP_BUDGET_SECONDS;
use crate::hooks::names::{self, Names};
use crate::init::cmdline::CommandLine;
use crate::machine;
use crate::manifest::Manifest;
use crate::postgres::controldata::ControlData;
use crate::postgres::postmaster::{self, Postmaster};
use crate::postgres::scram;

/// `/proc/cmdline`. No more is taken from it, and no more said about it, than is written there.
pub fn kernel_command_line(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let line = CommandLine::parse(&text);
    if let Some(budget) = line.stop_budget {
        assert!(STOP_BUDGET_SECONDS.contains(&budget.as_secs()));
        let name = |text: &str| text.replace('-', "_").contains("beyond.stop_budget=");
        assert!(name(&text), "a budget that nobody gave");
    }
    // Blanks are those of C's `isspace`, which has one more than Rust's ASCII whitespace.
    let words = text.split(|character| matches!(character, ' ' | '\t'..='\r'));
    assert!(line.warnings.len() <= words.count());
}

/// Every small file that is read with a few lines of code. Each reader gets the whole input.
pub fn text_files(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(control) = ControlData::parse(&text) {
        assert!(text.contains(&control.state) && text.contains(&control.system_id.to_string()));
    }
    if matches!(postmaster::state(&text), Postmaster::Accepting { .. }) {
        assert!(text.lines().count() >= 8);
    }
    if let Some(version) = facts::default_version(&text) {
        assert!(text.contains(&version) && !version.contains('\n'));
    }
    if let Ok(lsn) = text.parse::<Lsn>() {
        assert_eq!(lsn.to_string().parse(), Ok(lsn));
    }
    if let Some((iterations, salt)) = scram::parse(&text) {
        assert!(iterations.get() <= scram::ITERATIONS_LIMIT && salt.len() <= text.len());
    }
    let _ram = (machine::mem_total(&text), machine::memory_limit(&text));
    assert!(machine::cpu_max(&text).is_none_or(|cpus| cpus > 0));
    let _cpus = machine::cpu_list(&text);
}

/// The names in a hook folder, with a NUL between two. Each either runs or is reported.
pub fn hook_names(input: &[u8]) {
    let folder = input.split(|byte| *byte == 0);
    let mut folder: Vec<_> = folder
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect();
    let names = Names::of(folder.clone());
    assert!(names.run.is_sorted() && names.skipped.is_sorted());
    assert!(names.run.iter().all(|name| names::is_hook(name)));
    assert!(
        names
            .run
            .iter()
            .all(|name| !name.contains(['/', '.', '~', '\n']))
    );
    let mut all: Vec<_> = names.run.into_iter().map(OsString::from).collect();
    all.extend(names.skipped);
    all.sort_unstable();
    folder.sort_unstable();
    assert_eq!(all, folder);
}

/// The image's manifest. A refusal says what to do.
pub fn extension_manifest(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Err(error) = Manifest::parse(&text) {
        assert!(error.to_string().contains("HINT: "));
    }
}
