//! The disk of a machine as text that can be compared: which files are there, whose they are, and
//! what stands in the ones that the boot writes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

/// Mount point of the volume.
pub const VOLUME: &str = "/var/lib/postgresql";
/// PGDATA.
pub const PGDATA: &str = "/var/lib/postgresql/18/main";
/// The layered configuration.
pub const CONF_D: &str = "/var/lib/postgresql/18/main/conf.d";

/// Between the listing and each file whose content follows. No path of ours holds one.
const SEPARATOR: char = '\u{1}';

/// Everything that a boot decides: folders, links and files with mode and owner, and the content of
/// what it renders. What Postgres alone keeps below its own folders is not listed, and of the
/// certificate only that it is there, since each has its own.
///
/// Left out because they come and go by the clock and belong to no boot: the buffer list that
/// `pg_prewarm` dumps, the record of WAL that went by unarchived, and the postmaster's pid file.
pub(crate) const BOOTED: &str = r#"
cd /
find var/lib/postgresql etc/postgresql etc/pgbouncer \
    \( -path '*/main/*/*' -o -path '*/18/wal/*' \) \
        -not -path '*/main/conf.d/*' -not -path '*/main/beyond/*' -prune -o \
    -not -name 'autoprewarm.blocks*' -not -name unarchived.json -not -name postmaster.pid \
    -printf '/%p\t%y %m %U:%G %l\n'
for file in var/lib/postgresql/18/main/conf.d/* etc/postgresql/18/main/*.conf etc/pgbouncer/*.ini; do
    if [ -f "$file" ]; then printf '\001/%s\t' "$file"; cat "$file"; fi
done
"#;

/// Every byte of the volume: for a boot that must not touch it.
pub(crate) const UNTOUCHED: &str = r#"
cd /var/lib/postgresql
find . -printf '%p\t%y %m %U:%G %T@ %l\n'
find . -type f -exec sha256sum {} + | sed 's/^\([0-9a-f]*\)  \(.*\)/sum of \2\t\1/'
"#;

/// A disk at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Reads what one of the scripts above has printed.
    pub(crate) fn read(printed: &str) -> Self {
        let mut parts = printed.split(SEPARATOR);
        let listing = parts.next().unwrap_or_default();
        let pair = |text: &str| {
            let (path, rest) = text.split_once('\t')?;
            Some((path.to_owned(), rest.to_owned()))
        };
        let mut tree: BTreeMap<_, _> = listing.lines().filter_map(pair).collect();
        for (path, content) in parts.filter_map(pair) {
            tree.entry(path)
                .or_default()
                .push_str(&format!("\n{content}"));
        }
        Self(tree)
    }

    /// The content of a file that the boot renders; `None` when there is no such file.
    pub fn text(&self, path: &str) -> Option<&str> {
        let (_attributes, text) = self.0.get(path)?.split_once('\n')?;
        Some(text)
    }

    /// Names within a folder.
    pub fn names_in(&self, folder: &str) -> BTreeSet<&str> {
        let below = |path: &'_ String| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        let paths = self.0.keys().filter(|path| below(path));
        paths
            .filter_map(|path| path[folder.len() + 1..].split('/').next())
            .collect()
    }

    /// Whether anything is at that path.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Two disks that must be the same; tells every difference.
    pub fn must_equal(&self, expected: &Self, when: &str) -> Result<()> {
        ensure!(
            self.0.len() > 10,
            "a tree of {} entries is no volume: {self:?}",
            self.0.len()
        );
        let paths: BTreeSet<_> = self.0.keys().chain(expected.0.keys()).collect();
        let differences: Vec<String> = paths
            .into_iter()
            .filter(|path| self.0.get(*path) != expected.0.get(*path))
            .map(|path| {
                let of = |tree: &Self| {
                    tree.0
                        .get(path)
                        .map_or("nothing", String::as_str)
                        .to_owned()
                };
                format!("{path}\n    was {}\n    is  {}", of(expected), of(self))
            })
            .collect();
        ensure!(
            differences.is_empty(),
            "{when}: the disk differs in {} places:\n{}",
            differences.len(),
            differences.join("\n")
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;

    const PRINTED: &str = "/a/conf.d\td 700 999:999 \n/a/conf.d/00.conf\tf 600 999:999 \n\u{1}/a/conf.d/00.conf\tport = 1\nssl = on\n";

    #[test]
    fn a_listing_and_the_contents_after_it_become_one_tree() {
        let tree = Tree::read(PRINTED);
        assert_eq!(tree.text("/a/conf.d/00.conf"), Some("port = 1\nssl = on\n"));
        assert_eq!(
            tree.names_in("/a/conf.d").into_iter().collect::<Vec<_>>(),
            ["00.conf"]
        );
        assert!(tree.has("/a/conf.d") && !tree.has("/a"));
    }

    #[test]
    fn an_empty_tree_equals_nothing() {
        let nothing = Tree::read("");
        assert!(nothing.must_equal(&nothing, "never").is_err());
    }

    #[test]
    fn a_changed_mode_or_line_is_a_difference() {
        let many: String = (0..20).map(|n| format!("/b/{n}\tf 600 0:0 \n")).collect();
        let tree = |text: &str| Tree::read(&format!("{many}{text}"));
        let told = |changed: &str| {
            tree(changed)
                .must_equal(&tree(PRINTED), "after")
                .unwrap_err()
                .to_string()
        };
        assert!(tree(PRINTED).must_equal(&tree(PRINTED), "after").is_ok());
        assert!(told(&PRINTED.replace("600", "644")).contains("/a/conf.d/00.conf"));
        assert!(told(&PRINTED.replace("port = 1", "port = 2")).contains("port = 1"));
    }
}
