//! Which files of a hook folder run, and in which order. Pure: names in, names out.
//!
//! The rule is Debian's `run-parts`, which operators know: letters, digits, `_` and `-` alone. It
//! leaves out `10-grant~`, `10-grant.dpkg-old` and every hidden file, so that what an editor or a
//! package manager leaves behind does not run.

use std::ffi::OsString;

/// The names of one folder, told apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Those that run, in that order: by bytes, as under `LC_ALL=C`, wherever the machine is.
    pub(crate) run: Vec<String>,
    /// Those that do not, in the same order; whoever reads the folder says so.
    pub(crate) skipped: Vec<OsString>,
}

impl Names {
    /// Sorts out what a folder holds.
    pub(crate) fn of(folder: impl IntoIterator<Item = OsString>) -> Names {
        let mut names = Names::default();
        for name in folder {
            match name.into_string() {
                Ok(name) if is_hook(&name) => names.run.push(name),
                Ok(name) => names.skipped.push(name.into()),
                Err(name) => names.skipped.push(name),
            }
        }
        names.run.sort_unstable();
        names.skipped.sort_unstable();
        names
    }
}

/// Whether a file of this name runs.
pub(crate) fn is_hook(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_an_editor_or_a_package_manager_leaves_behind_does_not_run() {
        for name in ["10-grant", "grant", "GRANT_2", "-", "_"] {
            assert!(is_hook(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "10-grant~",
            "#10-grant#",
            "10-grant.sh",
            "10-grant.dpkg-old",
            "10 grant",
            "10-grant\n",
            "../grant",
            "a/b",
            "zehn-für",
        ] {
            assert!(!is_hook(name), "{name}");
        }
    }

    #[test]
    fn hooks_run_in_the_order_of_their_bytes() {
        let no_text = OsString::from_vec(vec![b'a', 0xff]);
        let folder = ["b", "a", "B", "10-x", "9-x", "_", "README.md", ".keep"];
        let folder = folder.map(OsString::from).into_iter();
        let names = Names::of(folder.chain([no_text.clone()]));
        assert_eq!(names.run, ["10-x", "9-x", "B", "_", "a", "b"]);
        assert_eq!(names.skipped, [".keep".into(), "README.md".into(), no_text]);
    }

    proptest! {
        #[test]
        fn every_name_either_runs_or_is_reported(
            folder in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..12),
        ) {
            let folder: Vec<_> = folder.into_iter().map(OsString::from_vec).collect();
            let names = Names::of(folder.clone());
            prop_assert!(names.run.is_sorted());
            prop_assert!(names.run.iter().all(|name| !name.contains(['/', '.', '\0'])));
            let mut all: Vec<OsString> = names.run.into_iter().map(OsString::from).collect();
            all.extend(names.skipped);
            all.sort_unstable();
            let mut folder = folder;
            folder.sort_unstable();
            prop_assert_eq!(all, folder);
        }
    }
}
