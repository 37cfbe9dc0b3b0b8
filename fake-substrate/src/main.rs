//! `fake-substrate`: the whole platform on a laptop, from the command line.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return cli::failed(&cli::CliError::Runtime(error)),
    };
    let outcome = runtime.block_on(cli::run(cli));
    // A thread that still reads standard input would keep a plain drop waiting for the next key.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => cli::failed(&error),
    }
}
