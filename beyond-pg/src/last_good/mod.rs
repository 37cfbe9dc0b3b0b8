//! The last configuration that worked: what a machine starts on when Postgres refuses what its user
//! wrote (contract 8). Pure; `files` reads and writes.
//!
//! ```text
//!  Written ── three failed starts ──► LastGood ── three more ──► LastGoodAndAuto
//! ```
//!
//! - **Written**: what stands in the user's files. It is remembered each time it has led to a login.
//! - **LastGood**: the user's files as remembered, from copies on tmpfs. The files stay as they are.
//! - **LastGoodAndAuto**: `postgresql.auto.conf` as well. Postgres reads that one from PGDATA whatever
//!   it is told, so the remembered one takes its place, and what stood there is kept beside it.
//!
//! A rung that would change nothing is left out: a Postgres that dies for another reason is not helped
//! by another configuration.

pub(crate) mod files;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What Postgres is started with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Configuration {
    #[default]
    Written,
    LastGood,
    LastGoodAndAuto,
}

/// Everything about Postgres' configuration that is not the image's to decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserFiles {
    /// Files of `conf.d` by name: `99-user.conf`, and whatever else somebody put there.
    pub(crate) conf: BTreeMap<String, String>,
    /// `99-user-hba.conf`.
    pub(crate) hba: String,
    /// `postgresql.auto.conf`, which `ALTER SYSTEM` writes. `None`: nothing is known of it.
    pub(crate) auto: Option<String>,
}

/// The configuration to try after `present` has failed; `None` when no other one would differ.
pub(crate) fn after(
    present: Configuration,
    written: &UserFiles,
    good: &UserFiles,
) -> Option<Configuration> {
    let files =
        (written.conf != good.conf || written.hba != good.hba).then_some(Configuration::LastGood);
    let auto = (good.auto.is_some() && written.auto != good.auto)
        .then_some(Configuration::LastGoodAndAuto);
    match present {
        Configuration::Written => files.or(auto),
        Configuration::LastGood => auto,
        Configuration::LastGoodAndAuto => None,
    }
}

/// What of the user's is not in force, as `99-user.conf line 12 (shared_buffers)`. Never a value: it
/// may be a secret.
pub(crate) fn not_applied(
    configuration: Configuration,
    written: &UserFiles,
    good: &UserFiles,
) -> Vec<String> {
    let mut lines = Vec::new();
    if configuration == Configuration::Written {
        return lines;
    }
    for (name, text) in &written.conf {
        let before = good.conf.get(name).map_or("", String::as_str);
        lines.extend(new_lines(name, text, before, setting));
    }
    lines.extend(new_lines(
        "99-user-hba.conf",
        &written.hba,
        &good.hba,
        |_| None,
    ));
    if configuration == Configuration::LastGoodAndAuto {
        let text = |files: &UserFiles| files.auto.clone().unwrap_or_default();
        lines.extend(new_lines(
            "postgresql.auto.conf",
            &text(written),
            &text(good),
            setting,
        ));
    }
    lines
}

/// The lines of `text` that say something and do not stand in `before`.
fn new_lines(name: &str, text: &str, before: &str, about: fn(&str) -> Option<&str>) -> Vec<String> {
    let known: BTreeSet<&str> = before.lines().map(str::trim).collect();
    let lines = text.lines().map(str::trim).enumerate();
    let new = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#') && !known.contains(line));
    new.map(|(index, line)| {
        let about = about(line).map_or(String::new(), |setting| format!(" ({setting})"));
        format!("{name} line {}{about}", index + 1)
    })
    .collect()
}

/// The name that a line of settings begins with.
fn setting(line: &str) -> Option<&str> {
    let end = line
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
        .unwrap_or(line.len());
    (end > 0).then(|| &line[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files(user: &str, hba: &str, auto: Option<&str>) -> UserFiles {
        UserFiles {
            conf: [("99-user.conf".to_owned(), user.to_owned())].into(),
            hba: hba.to_owned(),
            auto: auto.map(str::to_owned),
        }
    }

    #[test]
    fn the_users_files_are_tried_before_alter_system_is_undone() {
        use Configuration::{LastGood, LastGoodAndAuto, Written};
        let good = files("a = 1", "", Some(""));
        for (written, from_written, from_last_good) in [
            (files("a = 2", "", Some("")), Some(LastGood), None),
            (files("a = 1", "host", Some("")), Some(LastGood), None),
            (
                files("a = 1", "", Some("b = 3")),
                Some(LastGoodAndAuto),
                Some(LastGoodAndAuto),
            ),
            (
                files("a = 2", "", Some("b = 3")),
                Some(LastGood),
                Some(LastGoodAndAuto),
            ),
        ] {
            assert_eq!(after(Written, &written, &good), from_written, "{written:?}");
            assert_eq!(
                after(LastGood, &written, &good),
                from_last_good,
                "{written:?}"
            );
            assert_eq!(after(LastGoodAndAuto, &written, &good), None);
        }
    }

    #[test]
    fn a_configuration_that_worked_before_is_not_to_blame() {
        let good = files("a = 1", "", Some("b = 2"));
        assert_eq!(after(Configuration::Written, &good.clone(), &good), None);
    }

    #[test]
    fn a_volume_without_a_memory_keeps_what_alter_system_wrote() {
        let written = files("a = 1", "", Some("b = 2"));
        let good = UserFiles::default();
        assert_eq!(
            after(Configuration::Written, &written, &good),
            Some(Configuration::LastGood)
        );
        assert_eq!(after(Configuration::LastGood, &written, &good), None);
    }

    #[test]
    fn lines_that_are_new_are_named_without_their_values() {
        let good = files("# mine\nwork_mem = '8MB'\n", "", Some(""));
        let written = files(
            "# mine\nwork_mem = '8MB'\n\nshared_buffers = '900GB'\nprimary_conninfo='password=x'\n=\n",
            "hots all all all trust\n",
            Some("port = 'x'\n"),
        );
        assert_eq!(
            not_applied(Configuration::LastGood, &written, &good),
            [
                "99-user.conf line 4 (shared_buffers)",
                "99-user.conf line 5 (primary_conninfo)",
                "99-user.conf line 6",
                "99-user-hba.conf line 1",
            ]
        );
        let all = not_applied(Configuration::LastGoodAndAuto, &written, &good);
        assert_eq!(all.last().unwrap(), "postgresql.auto.conf line 1 (port)");
        assert!(not_applied(Configuration::Written, &written, &good).is_empty());
    }

    proptest! {
        #[test]
        fn the_ladder_ends(user in ".{0,8}", hba in ".{0,8}", auto in prop::option::of(".{0,8}")) {
            let (written, good) = (files(&user, &hba, auto.as_deref()), files("a", "b", Some("c")));
            let mut configuration = Configuration::Written;
            let mut rungs = 0;
            while let Some(next) = after(configuration, &written, &good) {
                configuration = next;
                rungs += 1;
            }
            prop_assert!(rungs <= 2);
        }
    }
}
