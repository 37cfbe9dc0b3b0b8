//! The supervisor: turns what happens into events, asks the machine, and does what it says. This is
//! the only `select!` of the process, and the only place where a server is started or signalled.

pub(crate) mod backoff;
mod child;
mod errands;
mod machine;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use wire::log::Stream;

use crate::boot::journal::StopAfter;
use crate::boot::step::BringUpStep;
use crate::boot::{self, BootError};
use crate::fx::exec::{self, ExecError, Output, Program, Running};
use crate::fx::{clock, fs};
use crate::layout::Layout;
use crate::link::Link;
use crate::logs::{self, Dialect, Source};
use crate::metadata::Metadata;
use crate::postgres::cluster;
use crate::rpc::{Concern, Desk, Lifecycle};
use crate::settings::{LogShipping, Settings};
use crate::supervise::errands::Errands;
pub(crate) use crate::supervise::errands::chain;
use crate::supervise::machine::{Action, Errand, Event, Machine, Server, Signal, StopBudget};
use crate::tls::watch::Watch;

/// Total time for a stop (contract 8).
pub(crate) const STOP_BUDGET: Duration = Duration::from_secs(30);

/// How a supervisor is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) stop_budget: Duration,
    pub(crate) stop_after: StopAfter,
    pub(crate) tls_poll: Duration,
}

/// How the supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is left to replay.
    Clean,
    /// The next boot recovers.
    Unclean,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SupervisorError {
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error("listening for signals")]
    Signals(#[source] std::io::Error),
}

/// Who may ask the machine to stop: the host over its link, and signals, which the kernel delivers
/// to PID 1 only where there is a handler.
struct Signals<'a> {
    link: &'a Link,
    desk: &'a Desk,
    terminate: SignalStream,
    interrupt: SignalStream,
    child: SignalStream,
}

impl<'a> Signals<'a> {
    fn listen(link: &'a Link, desk: &'a Desk) -> Result<Signals<'a>, SupervisorError> {
        let listen = |kind| signal(kind).map_err(SupervisorError::Signals);
        Ok(Signals {
            link,
            desk,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            child: listen(SignalKind::child())?,
        })
    }

    /// Comes back when the machine is asked to stop; reaps meanwhile.
    async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = self.link.stop_requested() => return,
                () = self.desk.stop_requested() => return,
                _ = self.child.recv() => reap(),
            }
        }
    }
}

fn reap() {
    let reaped = exec::reap_orphans();
    if reaped > 0 {
        tracing::debug!("reaped {reaped} orphans");
    }
}

/// Boots and keeps the servers running until a stop is asked for.
pub(crate) async fn run(
    layout: &Layout,
    options: Options,
    link: &Link,
) -> Result<End, SupervisorError> {
    let desk = Desk::new(layout.clone());
    desk.open();
    let mut signals = Signals::listen(link, &desk)?;
    // A stop before anything runs needs no farewell: dropping the boot kills its initdb.
    let (settings, document) = tokio::select! {
        () = signals.stop() => return Ok(stopped_early()),
        settings = boot::settings_at_last() => settings.map_err(BootError::from)?,
    };
    match settings.log_shipping {
        LogShipping::Auto => {}
        LogShipping::PassThrough => link.pass_lines_through(),
    }
    let booting = boot_disk(layout, settings, &document, options.stop_after);
    let errands = tokio::select! {
        () = signals.stop() => return Ok(stopped_early()),
        booted = booting => booted?,
    };
    // A neighbour has answered long before this; nobody waits for one that is not there.
    link.first_dial().await;
    desk.tell(Lifecycle::Starting);
    let supervisor = Supervisor::new(&errands, link, &desk, options);
    Ok(supervisor.run(&mut signals).await)
}

fn stopped_early() -> End {
    tracing::info!("asked to stop before the servers were started");
    End::Clean
}

async fn boot_disk<'a>(
    layout: &'a Layout,
    settings: Settings,
    document: &Metadata,
    stop_after: StopAfter,
) -> Result<Errands<'a>, BootError> {
    let observed = boot::observe(layout, settings)?;
    if observed.lock.is_none() {
        return Err(BootError::VolumeHeld {
            path: layout.volume(),
        });
    }
    let plan = observed.plan(layout)?;
    let mut journal = observed.journal(document, &plan, stop_after);
    observed.apply(layout, &plan, &mut journal).await?;
    Ok(Errands::new(layout, observed, plan, RefCell::new(journal)))
}

type UnderWay<'a> = Pin<Box<dyn Future<Output = Event> + 'a>>;

/// Counts runs, so that the host can tell the lines of one from those of the next.
#[derive(Debug, Default)]
struct Starts {
    postgres: u64,
    pooler: u64,
}

impl Starts {
    /// The execution id of the run that begins now.
    fn next(&mut self, server: Server) -> String {
        let (name, count) = match server {
            Server::Postgres => ("postgres", &mut self.postgres),
            Server::Pooler => ("pgbouncer", &mut self.pooler),
        };
        *count += 1;
        format!("{name}-{count}")
    }
}

/// What came of an action.
enum Performed {
    Done,
    /// It could not be done, which is an event of its own.
    Failed(Event),
    Finished(End),
}

/// The hands of the machine.
struct Supervisor<'a> {
    errands: &'a Errands<'a>,
    link: &'a Link,
    desk: &'a Desk,
    /// How often each server was started.
    starts: Starts,
    machine: Machine,
    certificates: Watch<'a>,
    first: Vec<Action>,
    postgres: Option<Running>,
    pooler: Option<Running>,
    under_way: Option<UnderWay<'a>>,
}

impl<'a> Supervisor<'a> {
    fn new(
        errands: &'a Errands<'a>,
        link: &'a Link,
        desk: &'a Desk,
        options: Options,
    ) -> Supervisor<'a> {
        let budget = StopBudget(options.stop_budget);
        let (machine, first) = Machine::begin(clock::now(), budget);
        let observed = &errands.observed;
        let (owners, seen) = (observed.owners, &observed.facts.tls);
        let certificates = Watch::new(errands.layout, owners, desk, options.tls_poll, seen);
        Supervisor {
            errands,
            link,
            desk,
            starts: Starts::default(),
            machine,
            certificates,
            first,
            postgres: None,
            pooler: None,
            under_way: None,
        }
    }

    async fn run(mut self, signals: &mut Signals<'_>) -> End {
        let mut actions: VecDeque<Action> = std::mem::take(&mut self.first).into();
        loop {
            while let Some(action) = actions.pop_front() {
                match self.perform(&action) {
                    Performed::Done => {}
                    Performed::Failed(event) => {
                        actions.extend(self.machine.on(clock::now(), &event));
                    }
                    Performed::Finished(end) => return end,
                }
            }
            let event = self.next_event(signals).await;
            actions = self.machine.on(clock::now(), &event).into();
        }
    }

    async fn next_event(&mut self, signals: &mut Signals<'_>) -> Event {
        let deadline = self.machine.deadline();
        tokio::select! {
            () = signals.stop() => {
                tracing::info!("asked to stop");
                self.desk.tell(Lifecycle::Stopping);
                Event::StopRequested
            }
            () = self.desk.reload_requested() => {
                tracing::info!("asked to reload");
                // Whoever has put a certificate there need not wait; the servers are told anyway.
                self.certificates.look().await;
                Event::ReloadRequested
            }
            () = self.certificates.renewed() => Event::ReloadRequested,
            end = exited(&mut self.postgres) => self.note_exit(Server::Postgres, &end),
            end = exited(&mut self.pooler) => self.note_exit(Server::Pooler, &end),
            event = finished(&mut self.under_way) => event,
            () = clock::until(deadline) => Event::DeadlinePassed,
        }
    }

    fn note_exit(&self, server: Server, end: &str) -> Event {
        // Without either of the two no client gets in.
        self.link.announce(false);
        if self.machine.is_stopping() {
            tracing::info!("{server} ended: {end}");
        } else {
            self.desk.tell(Lifecycle::Starting);
            tracing::warn!("{server} ended by itself: {end}");
        }
        Event::Exited(server)
    }

    fn perform(&mut self, action: &Action) -> Performed {
        match action {
            Action::Spawn(server) => return self.spawn(*server),
            Action::Run(errand) => self.under_way = Some(self.errand(*errand)),
            Action::Abandon => self.under_way = None,
            Action::Signal(server, signal) => self.signal(*server, *signal),
            Action::AnnounceReady => {
                self.desk.tell(Lifecycle::Ready);
                self.desk.concern(Concern::BringUp, self.errands.not_done());
                if let Some(record) = self.errands.announce_ready() {
                    self.desk.tell_boot_record(record);
                }
                self.link.announce(true);
            }
            Action::Finish { clean } => return Performed::Finished(self.finish(*clean)),
        }
        Performed::Done
    }

    fn errand(&self, errand: Errand) -> UnderWay<'a> {
        let errands = self.errands;
        Box::pin(async move { errands.run(errand).await })
    }

    /// A server that cannot be started (no memory for a fork) has exited as far as the machine is
    /// concerned: it is tried again. PID 1 ending over it would take the other server down, too.
    fn spawn(&mut self, server: Server) -> Performed {
        let step = match server {
            Server::Postgres => BringUpStep::StartPostgres,
            Server::Pooler => BringUpStep::StartPooler,
        };
        self.errands.began(&step);
        let running = match self.start(server) {
            Ok(running) => running,
            Err(error) => {
                tracing::error!("{}", chain(&error));
                return Performed::Failed(Event::Exited(server));
            }
        };
        match server {
            Server::Postgres => self.postgres = Some(running),
            Server::Pooler => {
                self.pooler = Some(running);
                self.errands.ended(&step);
            }
        }
        Performed::Done
    }

    /// Starts a server; what it writes goes to the host, when there is one, and else to our stderr.
    fn start(&mut self, server: Server) -> Result<Running, ExecError> {
        let execution_id = self.starts.next(server);
        let Some(logs) = self.link.lines() else {
            return self.program(server).start(Output::Inherited);
        };
        let mut running = self.program(server).start(Output::Piped)?;
        if let Some((stdout, stderr)) = running.take_pipes() {
            let source = |stream| Source {
                stream,
                execution_id: execution_id.clone(),
            };
            let dialect = match server {
                Server::Postgres => Dialect::Postgres,
                Server::Pooler => Dialect::PgBouncer,
            };
            logs::forward(logs, dialect, source(Stream::Stdout), stdout);
            logs::forward(logs, dialect, source(Stream::Stderr), stderr);
        }
        Ok(running)
    }

    fn program(&self, server: Server) -> Program {
        let (layout, user) = (self.errands.layout, self.errands.observed.owners.postgres);
        match server {
            Server::Postgres => cluster::postmaster(layout, user),
            Server::Pooler => cluster::pooler(layout, user),
        }
    }

    fn signal(&self, server: Server, signal: Signal) {
        let running = match server {
            Server::Postgres => &self.postgres,
            Server::Pooler => &self.pooler,
        };
        let Some(pid) = running.as_ref().and_then(Running::pid) else {
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

    fn finish(&self, clean: bool) -> End {
        // Best effort: what Postgres promised it has flushed itself.
        if let Err(error) = fs::sync_filesystem(&self.errands.layout.volume()) {
            tracing::warn!("{error}");
        }
        let end = if clean { End::Clean } else { End::Unclean };
        tracing::info!(
            "stopped: {}",
            match end {
                End::Clean => "the next boot replays no WAL",
                End::Unclean => "the next boot recovers",
            }
        );
        end
    }
}

/// Waits for the end of a server that runs and says how it ended; for ever when there is none.
async fn exited(running: &mut Option<Running>) -> String {
    let Some(child) = running else {
        return pending().await;
    };
    let end = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => format!("taken as ended, because its end cannot be awaited: {error}"),
    };
    *running = None;
    end
}

/// Waits for the errand under way; for ever when there is none.
async fn finished(under_way: &mut Option<UnderWay<'_>>) -> Event {
    let Some(errand) = under_way else {
        return pending().await;
    };
    let event = errand.as_mut().await;
    *under_way = None;
    event
}
