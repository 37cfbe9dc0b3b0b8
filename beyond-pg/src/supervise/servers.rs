//! The two servers' processes: started, signalled, awaited. When and why is the machine's business.

use std::future::pending;

use wire::log::Stream;

use crate::fx::clock;
use crate::fx::exec::{self, ExecError, Output, Program, Running};
use crate::inheritance;
use crate::layout::Layout;
use crate::logs::{self, Dialect, Logs, Source};
use crate::supervise::aftermath::Aftermath;
use crate::supervise::machine::{Server, Signal};
use crate::sys::oom;
use crate::sys::user::Account;

/// What runs, and how often each was started.
#[derive(Debug)]
pub(super) struct Servers {
    layout: Layout,
    /// Whose processes they are.
    account: Account,
    postgres: Process,
    /// The postmaster has ended and may have left something behind.
    aftermath: Option<Aftermath>,
    pooler: Process,
    /// That the kernel is not told whom to spare was said.
    unspared: bool,
}

/// How a server's end proceeds.
#[derive(Debug)]
pub(super) enum Exit {
    /// Its process has ended, and how.
    Died(Server, String),
    /// Nothing of it is left: it can be started again.
    Gone(Server),
}

#[derive(Debug, Default)]
struct Process {
    running: Option<Running>,
    /// Runs so far, so that the host can tell the lines of one from those of the next.
    starts: u64,
}

impl Servers {
    pub(super) fn new(layout: Layout, account: Account) -> Servers {
        Servers {
            layout,
            account,
            postgres: Process::default(),
            aftermath: None,
            pooler: Process::default(),
            unspared: false,
        }
    }

    /// Starts a server; what it writes goes to the host when there is one, and else to our stderr.
    pub(super) fn start(
        &mut self,
        server: Server,
        program: &Program,
        logs: Option<&Logs>,
    ) -> Result<(), ExecError> {
        let process = self.of(server);
        process.starts += 1;
        let running = match logs {
            None => program.start(Output::Inherited)?,
            Some(logs) => {
                let mut running = program.start(Output::Piped)?;
                forward(server, process.starts, &mut running, logs);
                running
            }
        };
        let pid = running.pid();
        process.running = Some(running);
        if let Some(pid) = pid {
            self.spare(server, pid);
        }
        Ok(())
    }

    /// Tells the kernel how little it gains by killing this server; it has no child yet. Best effort: a
    /// plain container has no CAP_SYS_RESOURCE, and whoever runs it has chosen the score.
    fn spare(&mut self, server: Server, pid: u32) {
        let process = match server {
            Server::Postgres => inheritance::Process::Postmaster,
            Server::Pooler => inheritance::Process::Pooler,
        };
        if let Err(error) = oom::set_score_adj(pid, process.oom_score_adj())
            && !std::mem::replace(&mut self.unspared, true)
        {
            tracing::info!(
                "the kernel is not told to spare {server} when memory runs out: {error}; that needs \
                 CAP_SYS_RESOURCE"
            );
        }
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

    /// Waits until a server dies, and then until nothing of it is left; for ever when none runs. May be
    /// dropped and called again.
    pub(super) async fn exit(&mut self) -> Exit {
        let (layout, account) = (&self.layout, self.account);
        let exit = tokio::select! {
            how = self.postgres.exited() => Exit::Died(Server::Postgres, how),
            how = self.pooler.exited() => Exit::Died(Server::Pooler, how),
            () = is_over(&mut self.aftermath, layout, account) => Exit::Gone(Server::Postgres),
        };
        match exit {
            Exit::Died(Server::Postgres, _) => {
                self.aftermath = Some(Aftermath::begin(clock::now()));
            }
            Exit::Gone(Server::Postgres) => self.aftermath = None,
            // It is one process.
            Exit::Died(Server::Pooler, _) | Exit::Gone(Server::Pooler) => {}
        }
        exit
    }

    fn of(&mut self, server: Server) -> &mut Process {
        match server {
            Server::Postgres => &mut self.postgres,
            Server::Pooler => &mut self.pooler,
        }
    }
}

/// Sends what a server writes to the host, line by line.
fn forward(server: Server, run: u64, running: &mut Running, logs: &Logs) {
    let (name, dialect) = match server {
        Server::Postgres => ("postgres", Dialect::Postgres),
        Server::Pooler => ("pgbouncer", Dialect::PgBouncer),
    };
    let Some((stdout, stderr)) = running.take_pipes() else {
        return;
    };
    let source = |stream| Source {
        stream,
        execution_id: format!("{name}-{run}"),
    };
    logs::forward(logs, dialect, source(Stream::Stdout), stdout);
    logs::forward(logs, dialect, source(Stream::Stderr), stderr);
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

async fn is_over(aftermath: &mut Option<Aftermath>, layout: &Layout, account: Account) {
    match aftermath {
        Some(aftermath) => aftermath.is_over(layout, account).await,
        None => pending().await,
    }
}
