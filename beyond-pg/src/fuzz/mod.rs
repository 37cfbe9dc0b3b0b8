//! The ways in for the fuzz targets of `fuzz/`, one function each: it gives an input to a reader and
//! asserts what must hold of whatever comes out. Every reader of bytes from outside has one; a new
//! one belongs in [`TARGETS`], in `fuzz/Cargo.toml` and in `fuzz/fuzz_targets/`.
//!
//! Not in an image: the module exists in tests, where the seeds are replayed, and under the feature
//! `fuzzing`.

mod backup;
mod link;
mod seeds;
mod settings;
mod texts;
mod wal;

pub use backup::backup_stream;
pub use link::{control_rpc, link_message, link_stream, log_lines};
pub use seeds::{Seed, seeds};
pub use settings::{mmds_answer, mmds_document, settings};
pub use texts::{extension_manifest, hook_names, kernel_command_line, text_files};
pub use wal::wal_pages;

/// What a target does with an input: nothing, or panic.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 13] = [
    ("link_stream", link_stream),
    ("link_message", link_message),
    ("control_rpc", control_rpc),
    ("log_lines", log_lines),
    ("mmds_document", mmds_document),
    ("mmds_answer", mmds_answer),
    ("settings", settings),
    ("kernel_command_line", kernel_command_line),
    ("text_files", text_files),
    ("hook_names", hook_names),
    ("extension_manifest", extension_manifest),
    ("wal_pages", wal_pages),
    ("backup_stream", backup_stream),
];

/// A number that the input chooses, and the rest of it.
fn chosen(input: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = input.split_first()?;
    Some((usize::from(*number), rest))
}

/// Nothing here waits for a clock or a device.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime without drivers").block_on(future)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_seed_passes_its_target() {
        for seed in seeds() {
            let target = TARGETS.iter().find(|(name, _)| *name == seed.target);
            let (_, target) = target.unwrap_or_else(|| panic!("no target {}", seed.target));
            // Printed when it panics, so that the seed is known.
            println!("{}/{}", seed.target, seed.name);
            target(&seed.input);
        }
    }

    #[test]
    fn every_target_has_seeds_an_entry_and_a_program() {
        let seeded: BTreeSet<_> = seeds().into_iter().map(|seed| seed.target).collect();
        let manifest = std::fs::read_to_string(seeds::root().join("fuzz/Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(seeded.contains(name), "{name} has no seed");
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let program = format!("fuzz/fuzz_targets/{name}.rs");
            let text = std::fs::read_to_string(seeds::root().join(&program)).unwrap();
            assert!(text.contains(&format!("fuzz::{name}(input)")), "{program}");
        }
    }
}
