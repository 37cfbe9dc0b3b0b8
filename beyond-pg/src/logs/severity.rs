//! Which lines belong to one message, and whether it is one that must not be lost. Pure.
//!
//! ```text
//!  2026-11-22 09:49:08.412 UTC [33] [app] db=d,user=u,client=h ERROR:  no such table     begins
//!  2026-11-22 09:49:08.412 UTC [33] [app] db=d,user=u,client=h STATEMENT:  SELECT *      continues
//!  <TAB>FROM nowhere                                                                     continues
//! ```

/// What the host's limits tell apart (contract 9). Postgres sorts LOG between ERROR and FATAL for
/// its own files; by weight it is below WARNING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    BelowWarning,
    WarningOrAbove,
}

/// Whose lines they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    PgBouncer,
}

/// How a line relates to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first line of a message.
    Begins(Severity),
    /// A further line: it shares severity and fate with the first.
    Continues,
    /// Nothing tells: what a library or an archive command wrote, or a `log_line_prefix` and a
    /// language that the user chose. It shares the severity of what it follows, but not the fate:
    /// were it taken for a continuation, one dropped line would take all the rest with it.
    Unmarked,
}

/// Names are at most 63 bytes each and a host at most 255: no severity stands further on, and what
/// looks like one there is text.
const PREFIX_LIMIT: usize = 512;

/// What the parts of a message after its first are called (`elog.c`).
const PARTS: [&str; 7] = [
    "DETAIL",
    "HINT",
    "QUERY",
    "CONTEXT",
    "LOCATION",
    "BACKTRACE",
    "STATEMENT",
];

/// Where a line belongs.
pub(crate) fn place(dialect: Dialect, line: &str) -> Place {
    // Both servers put a tab before each further line of a text.
    if line.starts_with('\t') {
        return Place::Continues;
    }
    let word = match dialect {
        Dialect::Postgres => postgres_tag(line),
        Dialect::PgBouncer => pgbouncer_level(line),
    };
    match word {
        Some(part) if PARTS.contains(&part) => Place::Continues,
        Some(word) => severity(word).map_or(Place::Unmarked, Place::Begins),
        None => Place::Unmarked,
    }
}

fn severity(word: &str) -> Option<Severity> {
    Some(match word {
        "WARNING" | "ERROR" | "FATAL" | "PANIC" => Severity::WarningOrAbove,
        "LOG" | "INFO" | "NOTICE" | "DEBUG" | "NOISE" => Severity::BelowWarning,
        _ => return None,
    })
}

/// The word before the first `:` and two blanks that is a severity or a part. The prefix in front
/// is not parsed, because the user may choose another one.
fn postgres_tag(line: &str) -> Option<&str> {
    let head = &line[..line.floor_char_boundary(PREFIX_LIMIT)];
    head.match_indices(":  ").find_map(|(colon, _)| {
        let word = head[..colon].rsplit(' ').next()?;
        (severity(word).is_some() || PARTS.contains(&word)).then_some(word)
    })
}

/// The word after `[pid] `.
fn pgbouncer_level(line: &str) -> Option<&str> {
    let (_, after) = line.split_once(" [")?;
    let (pid, rest) = after.split_once("] ")?;
    let is_pid = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    is_pid.then(|| rest.split(' ').next())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LESSER: Place = Place::Begins(Severity::BelowWarning);
    const GRAVE: Place = Place::Begins(Severity::WarningOrAbove);

    #[test]
    fn lines_of_postgres_are_placed_by_their_tag() {
        let at = "2026-11-22 09:49:09.977 UTC [41] ";
        let client = "2026-11-22 09:49:09.977 UTC [41] [psql] db=postgres,user=u,client=[local] ";
        for (line, expected) in [
            (format!("{at}LOG:  database system is ready"), LESSER),
            (
                format!("{at}FATAL:  the database system is starting up"),
                GRAVE,
            ),
            (format!("{at}PANIC:  could not write"), GRAVE),
            (
                format!("{client}ERROR:  relation \"x\" does not exist"),
                GRAVE,
            ),
            (format!("{client}WARNING:  there is no transaction"), GRAVE),
            (
                format!("{client}LOG:  statement: SELECT 'FATAL:  no'"),
                LESSER,
            ),
            (
                format!("{client}DETAIL:  Key (a)=(1) already exists."),
                Place::Continues,
            ),
            (
                format!("{client}HINT:  FATAL:  try again"),
                Place::Continues,
            ),
            (format!("{client}STATEMENT:  SELECT *"), Place::Continues),
            ("\tFROM nowhere".to_owned(), Place::Continues),
            ("\tWARNING:  in a text".to_owned(), Place::Continues),
            (
                "%x WARNING:  under a prefix of the user's".to_owned(),
                GRAVE,
            ),
            ("sh: 1: archive: not found".to_owned(), Place::Unmarked),
            (String::new(), Place::Unmarked),
        ] {
            assert_eq!(place(Dialect::Postgres, &line), expected, "{line}");
        }
    }

    #[test]
    fn lines_of_pgbouncer_are_placed_by_their_level() {
        let at = "2026-11-22 09:49:09.113 UTC [33] ";
        for (line, expected) in [
            (format!("{at}LOG listening on 0.0.0.0:5432"), LESSER),
            (
                format!("{at}WARNING C-0x5615: pooler error: no more"),
                GRAVE,
            ),
            (format!("{at}ERROR something"), GRAVE),
            (format!("{at}FATAL could not listen"), GRAVE),
            (format!("{at}NOISE resync"), LESSER),
            ("libevent: [warn] ERROR x".to_owned(), Place::Unmarked),
        ] {
            assert_eq!(place(Dialect::PgBouncer, &line), expected, "{line}");
        }
    }

    #[test]
    fn a_severity_deep_in_a_text_is_text() {
        let line = format!("no prefix {} FATAL:  x", "y".repeat(PREFIX_LIMIT));
        assert_eq!(place(Dialect::Postgres, &line), Place::Unmarked);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC*", tail in any::<String>()) {
            for dialect in [Dialect::Postgres, Dialect::PgBouncer] {
                place(dialect, &line);
                place(dialect, &tail);
                place(dialect, &format!("{} [1] {line}:  {tail}", "ü".repeat(300)));
            }
        }
    }
}
