//! How an error is told to a person: what failed, because of what, and what to do. Never a
//! backtrace: `main` returning an error would print one wherever RUST_BACKTRACE is set.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use crate::telling::Told;

use super::CliError;

/// As a shell tells a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Tells it, and says how the process shall exit.
pub(super) fn failed(error: &CliError) -> ExitCode {
    // With standard error gone there is nobody to tell; the exit code remains.
    drop(std::io::stderr().lock().write_all(report(error).as_bytes()));
    match error {
        CliError::Interrupted(_) => ExitCode::from(INTERRUPTED),
        _ => ExitCode::FAILURE,
    }
}

pub(super) fn report(error: &dyn Error) -> String {
    let Told {
        what,
        because,
        hint,
    } = Told::of(error);
    let mut text = format!("error: {what}\n");
    for cause in because {
        text.push_str(&format!("  because: {cause}\n"));
    }
    if let Some(hint) = hint {
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
