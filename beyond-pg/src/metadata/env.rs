//! Settings from the environment: what `docker run -e` gives, and the only reader of it (G-002).
//!
//! Under the names that people know from other Postgres images, a few keys have a second name or
//! are read from a file. Whatever is contradictory is noted and reported with everything else.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the home of the environment"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::{Metadata, Source};
use crate::settings::Problem;
use crate::settings::keys::{self, Key};

/// The settings in the environment of this process.
pub(crate) fn from_env() -> Metadata {
    from_vars(std::env::vars_os(), |path| std::fs::read_to_string(path))
}

type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

pub(crate) fn from_vars(
    vars: impl Iterator<Item = (OsString, OsString)>,
    read_file: impl Fn(&Path) -> io::Result<String>,
) -> Metadata {
    let mut reading = Reading {
        vars: BTreeMap::new(),
        problems: Vec::new(),
    };
    vars.for_each(|(name, value)| reading.note(name, value));
    let mut values = reading.strangers();
    for key in keys::ALL {
        if let Some(value) = reading.value(key, &read_file) {
            values.insert(key.name.to_owned(), value);
        }
    }
    Metadata {
        source: Source::Environment,
        values,
        problems: reading.problems,
    }
}

struct Reading {
    vars: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

fn file_variable(key: &Key) -> Option<String> {
    key.env_file.then(|| format!("{}_FILE", key.name))
}

impl Reading {
    /// Keeps what may concern us. A name that is not UTF-8 is none of ours.
    fn note(&mut self, name: OsString, value: OsString) {
        let Ok(name) = name.into_string() else { return };
        let ours = name.starts_with(keys::PREFIX) || is_known(&name);
        match value.into_string() {
            Ok(value) if ours => {
                self.vars.insert(name, value);
            }
            Err(_) if ours => self
                .problems
                .push(Problem::hidden(&name, "is not UTF-8", "text")),
            Ok(_) | Err(_) => {}
        }
    }

    /// Names that are warned about later. Their values may be anything and are not kept.
    fn strangers(&self) -> BTreeMap<String, String> {
        let stranger = |name: &&String| !is_setting(name);
        self.vars
            .keys()
            .filter(stranger)
            .map(|name| (name.clone(), String::new()))
            .collect()
    }

    /// An empty variable is as good as none: compose files pass those on for unset ones.
    fn set(&self, name: &str) -> Option<String> {
        self.vars
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    }

    fn value(&mut self, key: &Key, read_file: ReadFile<'_>) -> Option<String> {
        let direct = self.vars.get(key.name).cloned();
        let plain = self.set(key.name);
        if let Some(alias) = key.env_alias
            && let Some(aliased) = self.set(alias)
        {
            if plain.as_ref().is_some_and(|plain| *plain != aliased) {
                let what = format!("is {aliased:?} and {} is something else", key.name);
                self.problems
                    .push(Problem::hidden(alias, what, "one of the two"));
            }
            return plain.or(Some(aliased));
        }
        let Some(variable) = file_variable(key) else {
            return direct;
        };
        let Some(path) = self.set(&variable) else {
            return direct;
        };
        if plain.is_some() {
            let what = format!("is set beside {}", key.name);
            self.problems
                .push(Problem::hidden(&variable, what, "one of the two"));
            return plain;
        }
        self.file(&variable, Path::new(&path), read_file)
    }

    /// Line breaks at the end are the editor's, not the secret's.
    fn file(&mut self, variable: &str, path: &Path, read_file: ReadFile<'_>) -> Option<String> {
        match read_file(path) {
            Ok(text) => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(error) => {
                let what = format!("names {}, which cannot be read: {error}", path.display());
                self.problems
                    .push(Problem::hidden(variable, what, "a readable UTF-8 file"));
                None
            }
        }
    }
}

fn is_setting(name: &str) -> bool {
    keys::ALL.into_iter().any(|key| {
        key.name == name
            || key.env_alias == Some(name)
            || file_variable(key).as_deref() == Some(name)
    })
}

fn is_known(name: &str) -> bool {
    is_setting(name) || keys::FOREIGN.iter().any(|(foreign, _)| *foreign == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn from(vars: &[(&str, &str)]) -> Metadata {
        let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
        from_vars(vars, |path| match path.to_str() {
            Some("/run/secrets/password") => Ok("from a file\n".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn refusal(metadata: &Metadata) -> String {
        Settings::from_metadata(metadata).unwrap_err().to_string()
    }

    #[test]
    fn only_our_variables_are_taken() {
        let metadata = from(&[("PATH", "/bin"), ("POSTGRES_PASSWORD", "x"), ("HOME", "/")]);
        assert_eq!(
            metadata.values.keys().collect::<Vec<_>>(),
            ["POSTGRES_PASSWORD"]
        );
    }

    #[test]
    fn a_password_may_come_from_a_file_whose_last_line_ends() {
        let metadata = from(&[("POSTGRES_PASSWORD_FILE", "/run/secrets/password")]);
        assert_eq!(metadata.values["POSTGRES_PASSWORD"], "from a file");
        assert_eq!(metadata.problems, []);
    }

    #[test]
    fn a_password_file_that_cannot_be_read_is_named_once() {
        let metadata = from(&[("POSTGRES_PASSWORD_FILE", "/nowhere")]);
        assert_eq!(
            refusal(&metadata),
            "1 setting from the environment cannot be used:\n  \
             - POSTGRES_PASSWORD_FILE names /nowhere, which cannot be read: entity not found; \
             accepted: a readable UTF-8 file\n\
             HINT: correct it; the volume was not touched."
        );
    }

    #[test]
    fn two_sources_of_one_setting_are_a_problem_unless_they_agree() {
        let both = from(&[
            ("POSTGRES_PASSWORD", "hunter2"),
            ("POSTGRES_PASSWORD_FILE", "/run/secrets/password"),
            ("POSTGRES_DATABASE", "one"),
            ("POSTGRES_DB", "two"),
        ]);
        let refusal = refusal(&both);
        assert!(
            refusal.contains("POSTGRES_PASSWORD_FILE is set beside POSTGRES_PASSWORD"),
            "{refusal}"
        );
        assert!(
            refusal.contains("POSTGRES_DB is \"two\" and POSTGRES_DATABASE is"),
            "{refusal}"
        );
        assert!(!refusal.contains("hunter2"), "{refusal}");

        let agreeing = from(&[("POSTGRES_DATABASE", "one"), ("POSTGRES_DB", "one")]);
        assert_eq!(agreeing.problems, []);
    }

    #[test]
    fn the_known_second_name_of_the_database_is_understood() {
        let metadata = from(&[("POSTGRES_DB", "app"), ("POSTGRES_DATABASE", "")]);
        assert_eq!(metadata.values["POSTGRES_DATABASE"], "app");
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_a_problem_of_its_own_key() {
        use std::os::unix::ffi::OsStringExt;
        let broken = OsString::from_vec(vec![0xff]);
        let vars = [
            ("BEYOND_INSTANCE_ID".into(), broken.clone()),
            ("OTHER".into(), broken),
        ];
        let metadata = from_vars(vars.into_iter(), |_| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(metadata.problems.len(), 1);
        assert!(
            metadata.problems[0]
                .to_string()
                .starts_with("BEYOND_INSTANCE_ID is not UTF-8")
        );
    }

    #[test]
    fn what_looks_like_ours_is_passed_on_to_be_warned_about() {
        let metadata = from(&[
            ("POSTGRES_PASSWORD", "x"),
            ("BEYOND_PG_TEIR", "replica"),
            ("POSTGRES_USER", "app"),
        ]);
        let (_, warnings) = Settings::from_metadata(&metadata).unwrap();
        let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "BEYOND_PG_TEIR is not a setting and is ignored. HINT: the nearest is BEYOND_PG_TIER",
                "POSTGRES_USER is not read by this image: the superuser is always `postgres`",
            ]
        );
    }
}
