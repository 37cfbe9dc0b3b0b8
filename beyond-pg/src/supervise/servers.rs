//! The two servers' processes: started, signalled, awaited. When and why is the machine's business.

use std::future::pending;

use wire::log::Stream;

use crate::fx::clock;
use crate::fx::exec::{self, ExecError, Output, Program, Running};
use crate::inheritance;
use crate::layout::Layout;
use crate::logs::{self, Dialect, LastWords, Logs, Source};
use crate::supervise::aftermath::Aftermath;
use crate::supervise::errands::chain;
use crate::supervise::machine::{Server, Signal};
use crate::supervise::trouble::Trouble;
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
    /// Of the present or the last run.
    last_words: LastWords,
    trouble: Trouble,
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
        process.last_words = LastWords::default();
        let output = match logs {
            None => Output::Inherited,
            Some(_) => Output::Piped,
        };
        let mut running = program.start(output).inspect_err(|error| {
            process.last_words = LastWords::of(&chain(error));
            process.trouble.ended();
        })?;
        if let Some(logs) = logs {
            process.forward(server, &mut running, logs);
        }
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

    /// Of that server, when it runs.
    pub(super) fn pid(&self, server: Server) -> Option<u32> {
        let process = match server {
            Server::Postgres => &self.postgres,
            Server::Pooler => &self.pooler,
        };
        process.running.as_ref().and_then(Running::pid)
    }

    /// Sends it, when that server runs.
    pub(super) fn signal(&self, server: Server, signal: Signal) {
        let Some(pid) = self.pid(server) else {
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

    /// What there is to say about a server that does not stay up. To be asked just before its next
    /// start: by then its last words have been read.
    pub(super) fn trouble(&self, server: Server) -> Option<String> {
        let process = match server {
            Server::Postgres => &self.postgres,
            Server::Pooler => &self.pooler,
        };
        process.trouble.words(server, process.last_words.said())
    }

    /// A client got in, through both.
    pub(super) fn are_well(&mut self) {
        self.postgres.trouble.is_over();
        self.pooler.trouble.is_over();
    }

    fn of(&mut self, server: Server) -> &mut Process {
        match server {
            Server::Postgres => &mut self.postgres,
            Server::Pooler => &mut self.pooler,
        }
    }
}

impl Process {
    /// Sends what it writes to the host, line by line.
    fn forward(&mut self, server: Server, running: &mut Running, logs: &Logs) {
        let (name, dialect) = match server {
            Server::Postgres => ("postgres", Dialect::Postgres),
            Server::Pooler => ("pgbouncer", Dialect::PgBouncer),
        };
        let Some((stdout, stderr)) = running.take_pipes() else {
            return;
        };
        let source = |stream| Source {
            stream,
            execution_id: format!("{name}-{}", self.starts),
        };
        logs::forward(logs, dialect, source(Stream::Stdout), stdout);
        // Both servers complain here.
        self.last_words = logs::forward(logs, dialect, source(Stream::Stderr), stderr);
    }

    async fn exited(&mut self) -> String {
        let Some(child) = &mut self.running else {
            return pending().await;
        };
        let end = match child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => format!("taken as ended, because its end cannot be awaited: {error}"),
        };
        self.running = None;
        self.trouble.ended();
        end
    }
}

async fn is_over(aftermath: &mut Option<Aftermath>, layout: &Layout, account: Account) {
    match aftermath {
        Some(aftermath) => aftermath.is_over(layout, account).await,
        None => pending().await,
    }
}
