//! `fake-substrate`: the whole platform on a laptop, from the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    fake_substrate::cli::main()
}
