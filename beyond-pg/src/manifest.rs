//! The image's own manifest, `/etc/beyond/extensions.toml`: what to preload and what to create.
//!
//! The build pins packages from the same file, so the part that only the build reads is parsed
//! here too: a misspelt key fails in the image's first boot test instead of being ignored.

use std::collections::BTreeMap;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// `shared_preload_libraries` in J-002's order, those without a library included.
    #[serde(default)]
    pub(crate) preload: Vec<String>,
    /// The base the image is built on; read by the build alone.
    #[serde(default)]
    base: BTreeMap<String, String>,
    /// Exact package versions; read by the build alone.
    #[serde(default)]
    packages: BTreeMap<String, String>,
    /// `CREATE EXTENSION` in this order.
    #[serde(default, rename = "extension")]
    pub(crate) extensions: Vec<Extension>,
}

/// One `[[extension]]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Extension {
    /// The name of `CREATE EXTENSION`; `<name>.control` exists where it can be created.
    pub(crate) name: String,
    /// The Debian package; absent for contrib, which comes with the server.
    package: Option<String>,
    /// The package's exact version.
    version: Option<String>,
    /// `CREATE EXTENSION … SCHEMA`.
    pub(crate) schema: Option<String>,
    /// The only database it may live in.
    pub(crate) database: Option<String>,
    /// Idempotent statements for its own transaction, after it exists.
    #[serde(default)]
    pub(crate) after: Vec<String>,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    /// Not TOML, or not of this shape.
    #[error("the extension manifest cannot be read: {0}HINT: the image is broken; build it again.")]
    Shape(#[from] toml::de::Error),
}

impl Manifest {
    /// Reads the text of the file.
    pub(crate) fn parse(text: &str) -> Result<Self, ManifestError> {
        Ok(toml::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_that_the_image_ships_is_understood() {
        let text = include_str!("../../extensions.toml");
        let manifest = Manifest::parse(text).unwrap();
        assert_eq!(
            manifest.preload.first().map(String::as_str),
            Some("pg_stat_statements")
        );
        let of = |name: &str| {
            manifest
                .extensions
                .iter()
                .find(|extension| extension.name == name)
        };
        assert_eq!(of("pg_partman").unwrap().schema.as_deref(), Some("partman"));
        assert_eq!(of("pg_cron").unwrap().database.as_deref(), Some("postgres"));
    }

    #[test]
    fn a_misspelt_key_is_refused_by_name() {
        for (text, key) in [
            ("preloaded = []", "preloaded"),
            ("[[extension]]\nname = \"vector\"\nshema = \"v\"", "shema"),
            ("[[extension]]\nschema = \"v\"", "name"),
        ] {
            let error = Manifest::parse(text).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("HINT: "), "{error}");
        }
    }

    #[test]
    fn an_empty_manifest_is_an_image_without_extensions() {
        let manifest = Manifest::parse("").unwrap();
        assert!(manifest.preload.is_empty() && manifest.extensions.is_empty());
    }
}
