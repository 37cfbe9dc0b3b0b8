//! Turns what happens into events, asks the machine, and does what it says: the only place where a server is
//! started or signalled.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;

use crate::boot::step::BringUpStep;
use crate::conf::ConfFile;
use crate::disk;
use crate::fx::exec::Program;
use crate::fx::{clock, fs};
use crate::link::Link;
use crate::postgres::cluster;
use crate::rpc::{Concern, Desk, Lifecycle};
use crate::supervise::errands::{Errands, chain};
use crate::supervise::machine::{Action, Errand, Event, Machine, Server, StopBudget};
use crate::supervise::servers::{Exit, Servers};
use crate::supervise::signals::Signals;
use crate::supervise::{End, Options};
use crate::tls::watch::Watch;

type UnderWay<'a> = Pin<Box<dyn Future<Output = Event> + 'a>>;

/// What came of an action.
enum Performed {
    Done,
    /// It could not be done, which is an event of its own.
    Failed(Event),
    Finished(End),
}

/// The hands of the machine.
pub(super) struct Supervisor<'a> {
    errands: &'a Errands<'a>,
    link: &'a Link,
    desk: &'a Desk,
    servers: Servers,
    machine: Machine,
    certificates: Watch<'a>,
    first: Vec<Action>,
    under_way: Option<UnderWay<'a>>,
    disk: disk::Watch<'a>,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
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
            servers: Servers::new(errands.layout.clone(), errands.observed.owners.postgres),
            machine,
            certificates,
            first,
            under_way: None,
            disk: disk::Watch::new(errands.layout, errands.observed.owners, desk),
        }
    }

    pub(super) async fn run(mut self, signals: &mut Signals<'_>) -> End {
        let mut actions: VecDeque<Action> = std::mem::take(&mut self.first).into();
        loop {
            while let Some(action) = actions.pop_front() {
                match self.perform(&action).await {
                    Performed::Done => {}
                    Performed::Failed(event) => {
                        actions.extend(self.react(event));
                    }
                    Performed::Finished(end) => return end,
                }
            }
            let event = self.next_event(signals).await;
            actions = self.react(event).into();
        }
    }

    fn react(&mut self, event: Event) -> Vec<Action> {
        let now = clock::now();
        let actions = self.machine.on(now, &event);
        if let Event::Exited(server) = event
            && let Some(wait) = self.machine.down_for(server, now)
        {
            tracing::info!("{server} is started again in {} ms", wait.as_millis());
        }
        actions
    }

    async fn next_event(&mut self, signals: &mut Signals<'_>) -> Event {
        let deadline = self.machine.deadline();
        loop {
            if self.disk.takes_pooler_for_outdated() {
                return Event::PoolerOutdated;
            }
            tokio::select! {
                () = signals.stop() => {
                    tracing::info!("asked to stop");
                    self.desk.tell(Lifecycle::Stopping);
                    return Event::StopRequested;
                }
                () = self.desk.reload_requested() => {
                    tracing::info!("asked to reload");
                    // Whoever has put a certificate there need not wait; the servers are told anyway.
                    self.certificates.look().await;
                    return Event::ReloadRequested;
                }
                () = self.desk.pooler_outdated() => return Event::PoolerOutdated,
                () = self.certificates.renewed() => return Event::ReloadRequested,
                exit = self.servers.exit() => match exit {
                    // Clients notice now; the machine goes on when what it left behind is gone.
                    Exit::Died(Server::Postgres, how) => self.note_exit(Server::Postgres, &how),
                    Exit::Died(Server::Pooler, how) => {
                        self.note_exit(Server::Pooler, &how);
                        return Event::Exited(Server::Pooler);
                    }
                    Exit::Gone(server) => return Event::Exited(server),
                },
                event = finished(&mut self.under_way) => return event,
                () = clock::until(deadline) => return Event::DeadlinePassed,
                () = self.disk.is_due() => if self.disk.look() {
                    return Event::ReloadRequested;
                },
            }
        }
    }

    fn note_exit(&self, server: Server, how: &str) {
        // Without either of the two no client gets in.
        self.link.announce(false);
        self.desk.server_ended(server, how);
        if self.machine.expects_end_of(server) {
            tracing::info!("{server} ended: {how}");
        } else {
            tracing::warn!("{server} ended by itself: {how}");
        }
    }

    async fn perform(&mut self, action: &Action) -> Performed {
        match action {
            Action::Spawn(server) => return self.spawn(*server).await,
            Action::Run(errand) => self.under_way = Some(self.errand(*errand)),
            Action::Abandon => self.under_way = None,
            Action::Signal(server, signal) => self.servers.signal(*server, *signal),
            Action::AnnounceReady => {
                self.desk.tell(Lifecycle::Ready);
                self.desk.concern(Concern::BringUp, self.errands.not_done());
                self.servers.are_well();
                self.desk.concern(Concern::Postgres, None);
                self.desk.concern(Concern::Pooler, None);
                self.errands.fallback.note_success();
                if let Some(record) = self.errands.announce_ready() {
                    self.desk.tell_boot_record(&record);
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
    async fn spawn(&mut self, server: Server) -> Performed {
        let (step, concern) = match server {
            Server::Postgres => (BringUpStep::StartPostgres, Concern::Postgres),
            Server::Pooler => (BringUpStep::StartPooler, Concern::Pooler),
        };
        self.errands.began(&step);
        match server {
            Server::Postgres => self.errands.forget_future_transactions().await,
            Server::Pooler => self.put_pooler_conf_right().await,
        }
        self.desk.concern(concern, self.servers.trouble(server));
        self.desk
            .concern(Concern::Configuration, self.errands.fallback.words());
        if server == Server::Postgres {
            self.disk.look_before_start();
        }
        let (program, logs) = (self.program(server), self.link.lines());
        match self.servers.start(server, &program, logs) {
            Ok(()) => self.desk.server_started(server, self.servers.pid(server)),
            Err(error) => {
                tracing::error!("{}", chain(&error));
                self.desk.server_ended(server, &chain(&error));
                return Performed::Failed(Event::Exited(server));
            }
        }
        match server {
            // It has started when it answers.
            Server::Postgres => {}
            Server::Pooler => self.errands.ended(&step),
        }
        Performed::Done
    }

    /// The pooler's only file is the image's, and it does not start on one that was spoilt.
    async fn put_pooler_conf_right(&self) {
        let Errands {
            observed, layout, ..
        } = self.errands;
        // Best effort: what is wrong with the file the pooler says itself.
        if let Err(error) = observed.restore(layout, ConfFile::PgBouncer).await {
            tracing::error!("{}", chain(&error));
        }
    }

    fn program(&self, server: Server) -> Program {
        let (layout, user) = (self.errands.layout, self.errands.observed.owners.postgres);
        match server {
            Server::Postgres => {
                let postmaster = cluster::postmaster(layout, user, &self.errands.fallback.conf());
                if self.errands.waits_for_nobody() {
                    cluster::waiting_for_nobody(postmaster)
                } else {
                    postmaster
                }
            }
            Server::Pooler => cluster::pooler(layout, user),
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

/// Waits for the errand under way; for ever when there is none.
async fn finished(under_way: &mut Option<UnderWay<'_>>) -> Event {
    let Some(errand) = under_way else {
        return pending().await;
    };
    let event = errand.as_mut().await;
    *under_way = None;
    event
}
