//! How an error is told to a person: what failed, because of what, and what to do. Never a
//! backtrace: `main` returning an error would print one wherever RUST_BACKTRACE is set.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use super::CliError;

/// As a shell tells a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Tells it, and says how the process shall exit.
pub(crate) fn failed(error: &CliError) -> ExitCode {
    // With standard error gone there is nobody to tell; the exit code remains.
    drop(std::io::stderr().lock().write_all(report(error).as_bytes()));
    match error {
        CliError::Interrupted(_) => ExitCode::from(INTERRUPTED),
        _ => ExitCode::FAILURE,
    }
}

/// Messages carry their hint behind this, wherever in the chain of causes they stand.
const HINT: &str = "\nHINT: ";

fn report(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut outermost = None;
    let mut told = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        let message = error.to_string();
        let (message, hint) = message.split_once(HINT).unwrap_or((&message, ""));
        if text.is_empty() {
            text.push_str(&format!("error: {message}\n"));
        } else if !told.contains(message) {
            // Many errors repeat their cause in their own words; once is enough.
            text.push_str(&format!("  because: {message}\n"));
        }
        told.push_str(message);
        if !hint.is_empty() {
            outermost.get_or_insert_with(|| hint.to_owned());
        }
    }
    // The outermost hint knows what was wanted; those of causes would only argue with it.
    if let Some(hint) = outermost {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::report;

    #[derive(Debug, thiserror::Error)]
    #[error("no bread\nHINT: bake some")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("{0}\nHINT: mill some")]
    struct Inner(&'static str);

    #[test]
    fn what_why_and_what_to_do_each_stand_once() {
        assert_eq!(
            report(&Outer(Inner("no flour"))),
            "error: no bread\n  because: no flour\nhint: bake some\n"
        );
        assert_eq!(
            report(&Outer(Inner("no bread"))),
            "error: no bread\nhint: bake some\n"
        );
        assert_eq!(
            report(&Inner("no flour")),
            "error: no flour\nhint: mill some\n"
        );
    }
}
