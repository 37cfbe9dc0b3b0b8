//! extensions.toml as the build sees it: which versions are pinned, and how a pin is moved.
//! Pure. What beyond-pg reads from the same file (schemas, databases, order) is not looked at.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml_edit::{DocumentMut, Item};

use super::digest::sha256;

/// extensions.toml cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not TOML, or lacks something.
    #[error("extensions.toml: {0}")]
    Unreadable(#[from] toml::de::Error),
    /// It could be read and not rewritten.
    #[error("extensions.toml: {0}")]
    Unwritable(#[from] toml_edit::TomlError),
    /// A version without a package or the other way round pins nothing.
    #[error(
        "extensions.toml: extension {name} has only one of package and version\nHINT: give both, or neither for what comes with postgresql-18"
    )]
    HalfAPin {
        /// The extension.
        name: String,
    },
    /// Two pins for one package: one of them would be a lie.
    #[error("extensions.toml: {package} is pinned twice\nHINT: keep one of the two")]
    PinnedTwice {
        /// The package.
        package: String,
    },
}

#[derive(Debug, Deserialize)]
struct Document {
    base: BaseTable,
    packages: BTreeMap<String, String>,
    #[serde(default)]
    extension: Vec<ExtensionTable>,
}

#[derive(Debug, Deserialize)]
struct BaseTable {
    suite: String,
}

#[derive(Debug, Deserialize)]
struct ExtensionTable {
    name: String,
    package: Option<String>,
    version: Option<String>,
}

/// The pins of one extensions.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// The Debian suite that carries them.
    pub suite: String,
    /// Package to version.
    pub versions: BTreeMap<String, String>,
    /// Of the whole file; the image's label `dev.beyond.pins`.
    pub digest: String,
}

impl Pins {
    /// Reads them.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let document: Document = toml::from_str(text)?;
        let mut versions = document.packages;
        for extension in document.extension {
            match (extension.package, extension.version) {
                (Some(package), Some(version)) => {
                    if versions.insert(package.clone(), version).is_some() {
                        return Err(ManifestError::PinnedTwice { package });
                    }
                }
                (None, None) => {}
                _ => {
                    return Err(ManifestError::HalfAPin {
                        name: extension.name,
                    });
                }
            }
        }
        Ok(Self {
            suite: document.base.suite,
            versions,
            digest: sha256(text.as_bytes()),
        })
    }

    /// The pins that differ from what the suite carries.
    pub fn against(&self, carried: &BTreeMap<String, String>) -> Vec<PinChange> {
        let changes = self.versions.iter().filter_map(|(package, pinned)| {
            let carried = carried.get(package).cloned();
            let differs = carried.as_ref() != Some(pinned);
            differs.then(|| PinChange {
                package: package.clone(),
                pinned: pinned.clone(),
                carried,
            })
        });
        changes.collect()
    }
}

/// A pin that is not what the suite carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinChange {
    /// The package.
    pub package: String,
    /// The version in extensions.toml.
    pub pinned: String,
    /// The version that the suite would install; `None` where it knows no such package.
    pub carried: Option<String>,
}

impl std::fmt::Display for PinChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            package,
            pinned,
            carried,
        } = self;
        match carried {
            Some(carried) => write!(f, "{package} {pinned} -> {carried}"),
            None => write!(f, "{package} {pinned}: the suite knows no such package"),
        }
    }
}

/// The text with the pins moved; comments, order and spacing stay. A change without a carried
/// version leaves its pin alone: only a person can say what replaces a package.
pub(super) fn rewritten(text: &str, changes: &[PinChange]) -> Result<String, ManifestError> {
    let mut document: DocumentMut = text.parse()?;
    for change in changes {
        let Some(carried) = &change.carried else {
            continue;
        };
        if let Some(pin) = pin_of(&mut document, &change.package) {
            set_string(pin, carried);
        }
    }
    Ok(document.to_string())
}

fn pin_of<'d>(document: &'d mut DocumentMut, package: &str) -> Option<&'d mut Item> {
    let is_listed = document
        .get("packages")
        .is_some_and(|table| table.get(package).is_some());
    if is_listed {
        return document.get_mut("packages")?.get_mut(package);
    }
    let extensions = document.get_mut("extension")?.as_array_of_tables_mut()?;
    let table = extensions
        .iter_mut()
        .find(|table| table.get("package").and_then(Item::as_str) == Some(package))?;
    table.get_mut("version")
}

/// Replacing the value whole would drop a comment on the same line.
fn set_string(item: &mut Item, text: &str) {
    if let Some(value) = item.as_value_mut() {
        let decor = value.decor().clone();
        *value = text.into();
        *value.decor_mut() = decor;
    }
}

/// What `apt-cache madison` says: the newest version of each package. Its lines read
/// `package | version | source`, the newest first.
pub(super) fn madison(text: &str) -> BTreeMap<String, String> {
    let mut newest = BTreeMap::new();
    for line in text.lines() {
        let mut columns = line.split('|').map(str::trim);
        if let (Some(package), Some(version), Some(_source)) =
            (columns.next(), columns.next(), columns.next())
        {
            newest
                .entry(package.to_owned())
                .or_insert_with(|| version.to_owned());
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{ManifestError, PinChange, Pins, madison, rewritten};

    const TEXT: &str = r#"# kept
preload = ["pg_cron"]

[base]
suite = "forky"

[packages]
"pgbouncer" = "1.26.1-1" # floor: 1.26.1

[[extension]]
name = "pg_trgm"

[[extension]]
name = "vector"
package = "postgresql-18-pgvector"
version = "0.8.7-1"
after = ["SELECT 1"]
"#;

    fn change(package: &str, pinned: &str, carried: Option<&str>) -> PinChange {
        PinChange {
            package: package.to_owned(),
            pinned: pinned.to_owned(),
            carried: carried.map(str::to_owned),
        }
    }

    #[test]
    fn packages_and_extensions_are_pinned_alike() {
        let pins = Pins::parse(TEXT).unwrap();
        assert_eq!(pins.suite, "forky");
        let expected = [
            ("pgbouncer", "1.26.1-1"),
            ("postgresql-18-pgvector", "0.8.7-1"),
        ];
        let expected = expected.map(|(package, version)| (package.to_owned(), version.to_owned()));
        assert_eq!(pins.versions, BTreeMap::from(expected));
    }

    #[test]
    fn a_pin_moves_without_touching_anything_around_it() {
        let changes = [
            change("pgbouncer", "1.26.1-1", Some("1.26.2-1")),
            change("postgresql-18-pgvector", "0.8.7-1", Some("0.9.0-1")),
        ];
        let expected = TEXT
            .replace(r#""1.26.1-1" #"#, r#""1.26.2-1" #"#)
            .replace("0.8.7-1", "0.9.0-1");
        assert_eq!(rewritten(TEXT, &changes).unwrap(), expected);
    }

    #[test]
    fn a_pin_whose_package_is_gone_is_reported_and_left() {
        let pins = Pins::parse(TEXT).unwrap();
        let carried = madison(" pgbouncer | 1.26.1-1 | http://deb.debian.org/debian forky/main");
        let changes = pins.against(&carried);
        assert_eq!(changes, [change("postgresql-18-pgvector", "0.8.7-1", None)]);
        assert_eq!(
            changes[0].to_string(),
            "postgresql-18-pgvector 0.8.7-1: the suite knows no such package"
        );
        assert_eq!(rewritten(TEXT, &changes).unwrap(), TEXT);
    }

    #[test]
    fn the_first_of_several_versions_is_the_newest() {
        let carried = madison("libc6 | 2.43-7 | a\nlibc6 | 2.42-1 | b\nnoise\n");
        assert_eq!(
            carried,
            BTreeMap::from([("libc6".to_owned(), "2.43-7".to_owned())])
        );
    }

    #[test]
    fn half_a_pin_and_a_second_pin_are_refused_by_name() {
        let half = TEXT.replace("version = \"0.8.7-1\"\n", "");
        assert!(
            matches!(Pins::parse(&half), Err(ManifestError::HalfAPin { name }) if name == "vector")
        );
        let twice = TEXT.replace("postgresql-18-pgvector", "pgbouncer");
        assert!(
            matches!(Pins::parse(&twice), Err(ManifestError::PinnedTwice { package }) if package == "pgbouncer")
        );
    }

    #[test]
    fn the_digest_follows_the_text() {
        let pins = Pins::parse(TEXT).unwrap();
        assert_eq!(pins.digest.len(), 64);
        assert_ne!(
            pins.digest,
            Pins::parse(&TEXT.replace("kept", "k")).unwrap().digest
        );
    }
}
