//! The executable: PID 1, and the commands that Postgres and operators call.

use std::process::ExitCode;

fn main() -> ExitCode {
    beyond_pg::run()
}
