//! How a long step says that it is still alive: one line when it begins, and the lines of whatever
//! it runs. Library code is handed a `&dyn Progress` and never prints; the command line decides
//! what a person sees ([`Lines`]), and tests that want silence pass [`Quiet`].

use std::io::{IsTerminal as _, Write as _};

/// Where a long operation reports what it is doing.
pub trait Progress: Sync {
    /// A step begins: a sentence for a person, without a trailing full stop.
    fn step(&self, text: &str);
    /// One line of output of the step that is under way; may be shortened or dropped.
    fn detail(&self, line: &str);
}

/// Says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Progress for Quiet {
    fn step(&self, _text: &str) {}
    fn detail(&self, _line: &str) {}
}

/// Lines on standard error, so that standard output stays for what a program or a paste reads.
/// Details are shown on a terminal only, dimmed and cut to its width: a CI log wants the steps.
#[derive(Debug, Clone, Copy)]
pub struct Lines {
    terminal: bool,
}

/// Details longer than this would wrap on most terminals.
const DETAIL_WIDTH: usize = 110;

impl Lines {
    /// Looks once whether standard error is a terminal.
    pub fn to_stderr() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }
}

impl Progress for Lines {
    fn step(&self, text: &str) {
        write_line(&format!("==> {text}\n"));
    }

    fn detail(&self, line: &str) {
        if self.terminal {
            write_line(&format!("\x1b[2m    {}\x1b[0m\n", shortened(line)));
        }
    }
}

fn shortened(line: &str) -> String {
    let visible = line.chars().filter(|c| !c.is_control());
    visible.take(DETAIL_WIDTH).collect()
}

/// Progress is a courtesy: a closed standard error must not stop the work, as `eprintln!` would.
fn write_line(line: &str) {
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_detail_keeps_its_line_and_loses_control_characters() {
        let line = format!("\x1b[31mfetching\r{}", "é".repeat(200));
        let shown = shortened(&line);
        assert!(shown.starts_with("[31mfetching"));
        assert_eq!(shown.chars().count(), 110);
    }
}
