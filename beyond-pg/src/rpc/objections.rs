//! Lines of the configuration that Postgres does not follow, in words for whoever wrote them.

use std::path::Path;

use tokio_postgres::Row;

use crate::postgres::session::Session;

/// More than anybody mends at once; an answer has to stay below the limit of a body.
const MOST: usize = 100;

/// What kind of file a line stands in, and so what one bad line of it keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `postgresql.conf` and what it includes. `true`: none of the changed lines was taken.
    Settings { all_or_nothing: bool },
    /// `pg_hba.conf` and what it includes.
    Hba,
    /// `pg_ident.conf` and what it includes.
    Ident,
}

/// A line that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Objection {
    kind: Kind,
    file: Option<String>,
    line: Option<i32>,
    /// The setting; other files have none.
    name: Option<String>,
    /// It is only taken when the server starts.
    at_start_only: bool,
    error: String,
}

/// What Postgres objects to.
#[derive(Debug, Default)]
pub(super) struct Objections {
    pub(super) words: Vec<String>,
    /// One of them keeps every change of a setting out.
    pub(super) blocks_settings: bool,
}

/// Asks Postgres to read its files, as a reload would, and tells what it would not take.
pub(super) async fn ask(session: &Session) -> Result<Objections, tokio_postgres::Error> {
    let query = "SELECT coalesce(bool_or(applied), true) FROM pg_file_settings";
    let blocks_settings = !session.query_one(query, &[]).await?.get::<_, bool>(0);
    let settings = "SELECT f.sourcefile, f.sourceline, f.name, f.error, s.context = 'postmaster' \
                    FROM pg_file_settings f LEFT JOIN pg_settings s ON s.name = f.name \
                    WHERE f.error IS NOT NULL ORDER BY f.seqno";
    let hba = "SELECT file_name, line_number, NULL::text, error, false \
               FROM pg_hba_file_rules WHERE error IS NOT NULL ORDER BY file_name, line_number";
    let ident = "SELECT file_name, line_number, NULL::text, error, false \
                 FROM pg_ident_file_mappings WHERE error IS NOT NULL ORDER BY file_name, line_number";
    let all_or_nothing = blocks_settings;
    let mut words = Vec::new();
    for (kind, query) in [
        (Kind::Settings { all_or_nothing }, settings),
        (Kind::Hba, hba),
        (Kind::Ident, ident),
    ] {
        let rows = session.query(query, &[]).await?;
        words.extend(rows.iter().map(|row| objection(kind, row).words()));
    }
    Ok(Objections {
        words: at_most(MOST, words),
        blocks_settings,
    })
}

fn objection(kind: Kind, row: &Row) -> Objection {
    Objection {
        kind,
        file: row.get(0),
        line: row.get(1),
        name: row.get(2),
        error: row.get(3),
        at_start_only: row.get::<_, Option<bool>>(4).unwrap_or(false),
    }
}

/// The first of them, and how many more there are.
pub(super) fn at_most(most: usize, mut words: Vec<String>) -> Vec<String> {
    let more = words.len().saturating_sub(most);
    if more > 0 {
        words.truncate(most);
        words.push(format!("and {more} more"));
    }
    words
}

impl Objection {
    fn words(&self) -> String {
        let place = place(self.file.as_deref(), self.line);
        let (error, reach) = (self.error(), self.reach());
        format!("{place} was not applied: {error}{reach}")
    }

    fn error(&self) -> String {
        let error = &self.error;
        match &self.name {
            Some(name) if error.contains(name.as_str()) => error.clone(),
            Some(name) if error.starts_with("unrecognized configuration parameter") => {
                format!("{error} \"{name}\"")
            }
            // Postgres says as much of a value that it would take at a start.
            Some(name) if self.at_start_only => {
                format!("{name}: {error}; it changes only when the machine is restarted")
            }
            Some(name) => format!("{name}: {error}"),
            None => error.clone(),
        }
    }

    /// What else is not in force because of it.
    fn reach(&self) -> &'static str {
        match self.kind {
            Kind::Settings {
                all_or_nothing: true,
            } => "; until it is mended no change of any setting is applied",
            Kind::Settings {
                all_or_nothing: false,
            } => "",
            Kind::Hba => "; until it is mended no change of who may log in is applied",
            Kind::Ident => "; until it is mended no change of who may log in as whom is applied",
        }
    }
}

/// `your 99-user.conf line 12`: by its file alone, whose folder everybody knows.
pub(super) fn place(file: Option<&str>, line: Option<i32>) -> String {
    let Some(file) = file else {
        return "a configuration file".to_owned();
    };
    let name = Path::new(file).file_name().map_or_else(
        || file.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    let whose = if name.starts_with("99-user") || name == "postgresql.auto.conf" {
        "your "
    } else {
        ""
    };
    let by = if name == "postgresql.auto.conf" {
        " (ALTER SYSTEM)"
    } else {
        ""
    };
    match line {
        Some(line) => format!("{whose}{name}{by} line {line}"),
        None => format!("{whose}{name}{by}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_settings(name: &str, error: &str, at_start_only: bool, all: bool) -> String {
        Objection {
            kind: Kind::Settings {
                all_or_nothing: all,
            },
            file: Some("/var/lib/postgresql/18/main/conf.d/99-user.conf".into()),
            line: Some(12),
            name: Some(name.into()),
            at_start_only,
            error: error.into(),
        }
        .words()
    }

    #[test]
    fn a_bad_setting_is_told_with_its_line_its_name_and_what_it_holds_up() {
        assert_eq!(
            of_settings(
                "work_men",
                "unrecognized configuration parameter",
                false,
                true
            ),
            "your 99-user.conf line 12 was not applied: unrecognized configuration parameter \
             \"work_men\"; until it is mended no change of any setting is applied"
        );
        assert_eq!(
            of_settings("work_mem", "setting could not be applied", false, false),
            "your 99-user.conf line 12 was not applied: work_mem: setting could not be applied"
        );
        assert_eq!(
            of_settings(
                "max_connections",
                "setting could not be applied",
                true,
                false
            ),
            "your 99-user.conf line 12 was not applied: max_connections: setting could not be \
             applied; it changes only when the machine is restarted"
        );
    }

    #[test]
    fn a_bad_line_about_logins_is_told_with_what_it_holds_up() {
        let line = Objection {
            kind: Kind::Hba,
            file: Some("/var/lib/postgresql/18/main/99-user-hba.conf".into()),
            line: Some(3),
            name: None,
            at_start_only: false,
            error: "invalid authentication method \"scarm\"".into(),
        };
        assert_eq!(
            line.words(),
            "your 99-user-hba.conf line 3 was not applied: invalid authentication method \
             \"scarm\"; until it is mended no change of who may log in is applied"
        );
    }

    #[test]
    fn a_place_says_whose_file_it_is() {
        assert_eq!(
            place(Some("/d/conf.d/00-beyond.conf"), Some(3)),
            "00-beyond.conf line 3"
        );
        assert_eq!(
            place(Some("/d/postgresql.auto.conf"), Some(1)),
            "your postgresql.auto.conf (ALTER SYSTEM) line 1"
        );
        assert_eq!(place(Some("/d/99-user.conf"), None), "your 99-user.conf");
        assert_eq!(place(None, None), "a configuration file");
    }

    #[test]
    fn many_are_counted_rather_than_told() {
        let words = |count: usize| vec!["x".to_owned(); count];
        assert_eq!(at_most(2, words(2)), words(2));
        assert_eq!(at_most(2, words(5)), ["x", "x", "and 3 more"]);
    }
}
