//! The command line (contract 13): arguments in, calls into the library, lines out.

mod archive;
mod block_store;
mod doctor;
mod down;
mod error;
mod fault;
mod fork;
mod image;
mod lifecycle;
mod logs;
mod loss;
mod page;
mod psql;
mod remove;
mod replica;
mod report;
mod resize;
mod restore;
mod rpc;
mod serve;
mod sink;
mod status;
mod storage;
mod terminal;
mod undo;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::docker::{self, Docker};
use crate::machine::Machine;
use crate::names::{MachineName, SubstrateName};
use crate::progress::Lines;
use crate::substrate::Substrate;

pub(crate) use error::CliError;

/// The whole platform on a laptop: metadata, volumes, machines.
#[derive(Debug, Parser)]
#[command(name = "fake-substrate", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Which substrate; several run side by side without meeting
    #[arg(long, global = true, value_name = "NAME", default_value = "local")]
    substrate: SubstrateName,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the image if it is missing, start the substrate and one database machine
    Up(up::Up),
    /// Start another machine
    Add(up::Add),
    /// Machines, volumes, ports, readiness
    Status(status::Status),
    /// psql in a machine; nothing is needed on the host
    Psql(psql::Psql),
    /// A new machine on a copy of another's volume; both go their own ways from there
    Fork(fork::Fork),
    /// A new machine from another's archive: a backup, and its WAL up to a moment
    Restore(restore::Restore),
    /// Shut a machine down cleanly
    Stop(lifecycle::Named),
    /// Boot a machine and wait until it is ready
    Start(lifecycle::Named),
    /// Shut a machine down cleanly and boot it again
    Restart(lifecycle::Named),
    /// Shut a machine down and take it away; its volume stays unless told otherwise
    Remove(remove::Remove),
    /// Other memory and processors, a larger disk, without a stop
    Resize(resize::Resize),
    /// SIGKILL of a machine: no clean shutdown, what reached the volume stays
    Crash(lifecycle::Named),
    /// Cut a machine's power: what its disk had not flushed is lost, or part of it
    PowerCut(loss::PowerCut),
    /// Make now the flush point of a machine's volume: what the loss of its host falls back to
    Flush(loss::Flush),
    /// Lose a host: its machines are gone, their volumes fall back to their flush points
    LoseHost(loss::LoseHost),
    /// Boot a lost machine on another host, from object storage
    Rehome(loss::Rehome),
    /// What a machine has written, as the host received it
    Logs(logs::Logs),
    /// One control request to a machine, its answer as JSON
    Rpc(rpc::Rpc),
    /// Serve the page of a substrate, which `up` does by itself
    Page(page::PageArgs),
    /// What is broken on purpose
    #[command(subcommand)]
    Fault(fault::Fault),
    /// What stands on this Docker and why, and what keeps something from working
    Doctor(doctor::Doctor),
    /// The images that machines boot
    #[command(subcommand)]
    Image(image::Image),
    /// Take the substrate and its machines away; volumes stay unless told otherwise
    Down(down::Down),
    /// The process in the substrate's container
    #[command(hide = true)]
    Serve(serve::Serve),
    /// The process in the one privileged container: block volumes
    #[command(hide = true)]
    BlockStore(block_store::BlockStore),
}

/// What every command that reaches Docker works on.
struct Site {
    docker: Docker,
    substrate: SubstrateName,
    progress: Lines,
}

impl Site {
    async fn open(substrate: SubstrateName) -> Result<Self, CliError> {
        let docker = docker::connect().await?;
        Ok(Self {
            docker,
            substrate,
            progress: Lines::to_stderr(),
        })
    }

    /// The substrate, which must be there and answer. Machines whose time has come go first.
    async fn connect(&self) -> Result<Substrate, CliError> {
        let substrate = Substrate::connect(&self.docker, &self.substrate).await?;
        substrate.expire(&self.progress).await?;
        Ok(substrate)
    }

    /// A machine of it, which must be there.
    async fn machine(&self, name: MachineName) -> Result<Machine, CliError> {
        let machine = self.connect().await?.handle(name);
        machine.view().await?;
        Ok(machine)
    }
}

/// The process: carries out what its command line says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return report::failed(&CliError::Runtime(error)),
    };
    let outcome = runtime.block_on(run(cli));
    // A thread that still reads standard input would keep a plain drop waiting for the next key.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => report::failed(&error),
    }
}

/// Carries out what a person would type behind `fake-substrate`; where that fails, answers what they would be told.
pub async fn carry_out(words: &[&str]) -> Result<(), String> {
    let line = [&["fake-substrate"], words].concat();
    let cli = Cli::try_parse_from(line).map_err(|refused| refused.to_string())?;
    match run(cli).await {
        Ok(code) if code == ExitCode::SUCCESS => Ok(()),
        Ok(code) => Err(format!("it ended with {code:?}")),
        Err(error) => Err(report::report(&error)),
    }
}

async fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let done = |()| ExitCode::SUCCESS;
    // The commands that run where there is no Docker.
    let command = match cli.command {
        Command::Serve(serve) => return serve.run().await.map(done),
        Command::BlockStore(store) => return store.run().await.map(done),
        command => command,
    };
    let site = Site::open(cli.substrate).await?;
    match command {
        Command::Up(up) => up.run(&site).await.map(done),
        Command::Add(add) => add.run(&site).await.map(done),
        Command::Status(status) => status.run(&site).await.map(done),
        Command::Psql(psql) => psql.run(&site).await,
        Command::Fork(fork) => fork.run(&site).await.map(done),
        Command::Restore(restore) => restore.run(&site).await.map(done),
        Command::Stop(named) => named.stop(&site).await.map(done),
        Command::Start(named) => named.start(&site).await.map(done),
        Command::Restart(named) => named.restart(&site).await.map(done),
        Command::Remove(remove) => remove.run(&site).await.map(done),
        Command::Resize(resize) => resize.run(&site).await.map(done),
        Command::Crash(named) => named.crash(&site).await.map(done),
        Command::PowerCut(cut) => cut.run(&site).await.map(done),
        Command::Flush(flush) => flush.run(&site).await.map(done),
        Command::LoseHost(lose) => lose.run(&site).await.map(done),
        Command::Rehome(rehome) => rehome.run(&site).await.map(done),
        Command::Logs(logs) => logs.run(&site).await.map(done),
        Command::Rpc(rpc) => rpc.run(&site).await,
        Command::Page(page) => page.run(&site).await.map(done),
        Command::Fault(fault) => fault.run(&site).await.map(done),
        Command::Doctor(doctor) => doctor.run(&site).await,
        Command::Image(image) => image.run(&site).await.map(done),
        Command::Down(down) => down.run(&site).await.map(done),
        Command::Serve(serve) => serve.run().await.map(done),
        Command::BlockStore(store) => store.run().await.map(done),
    }
}

/// Standard output for what is the answer. A reader that went away is no error: `| head` is fine.
fn answer(text: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(CliError::Output),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command};
    use clap::{CommandFactory as _, Parser as _};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_contract_that_exists_parses() {
        for line in [
            "fake-substrate up",
            "fake-substrate up --no-page",
            "fake-substrate page --port 8431",
            "fake-substrate up --name db --sink --ephemeral --memory 2g --cpus 2 --port 5432",
            "fake-substrate add two --tier single --ephemeral --set A=b --set C=d",
            "fake-substrate add two --sink keeper",
            "fake-substrate status --json",
            "fake-substrate psql db --direct -- -c select",
            "fake-substrate up --volumes block --disk 20g --host host-2",
            "fake-substrate up --volumes auto",
            "fake-substrate add two --volumes copy",
            "fake-substrate fork db copy --set A=b",
            "fake-substrate fork db copy --ttl 2h",
            "fake-substrate power-cut db",
            "fake-substrate power-cut db --seed 7 --tear sector",
            "fake-substrate flush db",
            "fake-substrate lose-host db",
            "fake-substrate lose-host --host host-1",
            "fake-substrate rehome db",
            "fake-substrate rehome db --host host-3",
            "fake-substrate stop db",
            "fake-substrate start db",
            "fake-substrate restart db",
            "fake-substrate remove db",
            "fake-substrate remove db --volume --keep-children",
            "fake-substrate resize db --memory 4g",
            "fake-substrate resize db --memory 4g --cpus 2 --disk 20g",
            "fake-substrate crash db",
            "fake-substrate logs -f db",
            "fake-substrate logs -n 10 --container db",
            "fake-substrate rpc db health",
            "fake-substrate rpc db set_sync_standbys names=[] --deadline 5",
            "fake-substrate fault add s3 refuse --status 503 --on put --key wal/* --times 3",
            "fake-substrate fault add s3 refuse",
            "fake-substrate fault add s3 delay --ms 500 --on Get",
            "fake-substrate fault add s3 reset --on upload-part",
            "fake-substrate fault add s3 lose-reply --on put --times 1",
            "fake-substrate fault add s3 slow --rate 65536",
            "fake-substrate fault add mmds silent --machine db --times 3",
            "fake-substrate fault add mmds slow --ms 1500 --machine db",
            "fake-substrate fault add mmds garbage --machine db",
            "fake-substrate fault add mmds garbage --text <html> --machine db",
            "fake-substrate fault add mmds garbage --file x --machine db",
            "fake-substrate fault add mmds forgetful --machine db",
            "fake-substrate fault add link stalled --machine db",
            "fake-substrate fault add link refused --machine db --times 2",
            "fake-substrate fault add partition db standby",
            "fake-substrate fault add partition db service --one-way",
            "fake-substrate fault add partition db everything",
            "fake-substrate fault add clock --offset +20m",
            "fake-substrate fault add clock --offset -90s",
            "fake-substrate fault add volume full --machine db --leave 1m",
            "fake-substrate fault ls --json",
            "fake-substrate fault clear 3",
            "fake-substrate fault clear",
            "fake-substrate doctor --json",
            "fake-substrate image build",
            "fake-substrate image ls",
            "fake-substrate image pins --update",
            "fake-substrate down --volumes --substrate other",
            "fake-substrate block-store --state-dir a --objects-dir b --mount-dir c --nbd-socket d --admin-token t",
            "fake-substrate block-store --state-dir a --s3-endpoint http://x:1 --s3-bucket b --s3-prefix p --s3-access-key k --s3-secret-key s --admin-token t",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_does_not_exist_yet_is_not_pretended() {
        assert!(parse("fake-substrate restore db").is_err());
    }

    #[test]
    fn a_size_or_name_that_cannot_be_used_is_refused_before_anything_is_made() {
        for line in [
            "fake-substrate up --memory 2",
            "fake-substrate up --cpus 0",
            "fake-substrate up --port 0",
            "fake-substrate up --port 65536",
            "fake-substrate up --name DB",
            "fake-substrate up --set lower=x",
            "fake-substrate --substrate a.b up",
            "fake-substrate up --volumes zfs",
            "fake-substrate up --disk 100m",
            "fake-substrate up --host A",
            "fake-substrate remove",
            "fake-substrate remove db --keep-children",
            "fake-substrate resize db",
            "fake-substrate resize db --disk 100m",
            "fake-substrate lose-host",
            "fake-substrate lose-host db --host host-1",
            "fake-substrate power-cut db --tear bit",
            "fake-substrate fork db copy --ttl 0s",
            "fake-substrate fork db copy --ttl soon",
            "fake-substrate fault add s3 refuse --status 200",
            "fake-substrate fault add s3 refuse --on write",
            "fake-substrate fault add s3 refuse --times 0",
            "fake-substrate fault add s3 slow --rate 0",
            "fake-substrate block-store --state-dir a --admin-token t",
            "fake-substrate block-store --state-dir a --objects-dir b --s3-endpoint http://x:1 --admin-token t",
            "fake-substrate block-store --state-dir a --s3-endpoint http://x:1 --admin-token t",
            "fake-substrate fault add mmds silent",
            "fake-substrate fault add mmds slow --ms 0 --machine db",
            "fake-substrate fault add link stalled --machine db --times 2",
            "fake-substrate fault add partition db",
            "fake-substrate fault add clock --offset tomorrow",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn arguments_for_psql_pass_through_untouched() {
        let cli = parse("fake-substrate psql db -- --csv -c select").unwrap();
        let Command::Psql(psql) = cli.command else {
            panic!("not psql")
        };
        assert_eq!(psql.arguments, ["--csv", "-c", "select"]);
    }
}
