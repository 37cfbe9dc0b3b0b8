//! The two servers' processes: started, signalled, awaited. When and why is the machine's business.

use std::future::pending;

use wire::log::Stream;

use crate::fx::exec::{self, ExecError, Output, Program, Running};
use crate::logs::{self, Dialect, Logs, Source};
use crate::supervise::machine::{Server, Signal};

/// What runs, and how often each was started.
#[derive(Debug, Default)]
pub(super) struct Servers {
    postgres: Process,
    pooler: Process,
}

#[derive(Debug, Default)]
struct Process {
    running: Option<Running>,
    /// Runs so far, so that the host can tell the lines of one from those of the next.
    starts: u64,
}

impl Servers {
    /// Starts a server; what it writes goes to the host when there is one, and else to our stderr.
    pub(super) fn start(
        &mut self,
        server: Server,
        program: &Program,
        logs: Option<&Logs>,
    ) -> Result<(), ExecError> {
        let process = self.of(server);
        process.starts += 1;
        let (name, dialect) = match server {
            Server::Postgres => ("postgres", Dialect::Postgres),
            Server::Pooler => ("pgbouncer", Dialect::PgBouncer),
        };
        let Some(logs) = logs else {
            process.running = Some(program.start(Output::Inherited)?);
            return Ok(());
        };
        let mut running = program.start(Output::Piped)?;
        if let Some((stdout, stderr)) = running.take_pipes() {
            let source = |stream| Source {
                stream,
                execution_id: format!("{name}-{}", process.starts),
            };
            logs::forward(logs, dialect, source(Stream::Stdout), stdout);
            logs::forward(logs, dialect, source(Stream::Stderr), stderr);
        }
        process.running = Some(running);
        Ok(())
    }

    /// Sends it, when that server runs.
    pub(super) fn signal(&self, server: Server, signal: Signal) {
        let process = match server {
            Server::Postgres => &self.postgres,
            Server::Pooler => &self.pooler,
        };
        let Some(pid) = process.running.as_ref().and_then(Running::pid) else {
            return;
        };
        let number = match signal {
            Signal::Interrupt => nix::sys::signal::Signal::SIGINT,
            Signal::Quit => nix::sys::signal::Signal::SIGQUIT,
            Signal::Reload => nix::sys::signal::Signal::SIGHUP,
        };
        tracing::info!("sending {number} to {server}");
        if let Err(errno) = exec::signal(pid, number) {
            tracing::error!("sending {number} to {server} ({pid}) failed: {errno}");
        }
    }

    /// Waits until a server that runs has ended, and says which and how; for ever when none runs.
    pub(super) async fn exited(&mut self) -> (Server, String) {
        tokio::select! {
            end = self.postgres.exited() => (Server::Postgres, end),
            end = self.pooler.exited() => (Server::Pooler, end),
        }
    }

    fn of(&mut self, server: Server) -> &mut Process {
        match server {
            Server::Postgres => &mut self.postgres,
            Server::Pooler => &mut self.pooler,
        }
    }
}

impl Process {
    async fn exited(&mut self) -> String {
        let Some(child) = &mut self.running else {
            return pending().await;
        };
        let end = match child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => format!("taken as ended, because its end cannot be awaited: {error}"),
        };
        self.running = None;
        end
    }
}
