//! Where the supervisor and the callers of the control RPC meet: what the one tells, what the others
//! ask for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, Semaphore, watch};
use wire::rpc::{self, Lifecycle, Map};

use crate::fx::clock;
use crate::hooks::Hooks;
use crate::layout::Layout;
use crate::rpc::backup::BackupTold;
use crate::settings::{Archive, Role, Settings};
use crate::supervise::Server;

/// What the supervisor and the callers tell each other.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) layout: Layout,
    pub(super) state: watch::Sender<Told>,
    pub(super) stop: Notify,
    pub(super) reload: Notify,
    pub(super) renew_pooler: Notify,
    /// Whose turn it is to look at Postgres, which takes moments.
    ///
    /// One session to look, one to work and one for a stop are what `superuser_reserved_connections`
    /// (3) keeps for us when clients have taken all the others.
    pub(super) look: Semaphore,
    /// Whose turn it is to make Postgres do something that takes a while.
    pub(super) work: Semaphore,
    /// The place of the one backup that is taken at a time.
    pub(super) backup: Arc<Semaphore>,
}

/// What the supervisor has told.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) lifecycle: Lifecycle,
    /// Monotonic, as every time here: somebody may set the clock meanwhile.
    pub(super) ready_at: Option<Instant>,
    pub(super) boot_record: Option<Map>,
    /// What is not as it should be, in the words of whoever noticed.
    pub(super) concerns: BTreeMap<Concern, String>,
    pub(super) postgres: ServerTold,
    pub(super) pooler: ServerTold,
    pub(super) hooks: Option<Hooks>,
    pub(super) archive_target: Option<String>,
    /// Why the last file was not archived.
    pub(super) archive_error: Option<String>,
    /// What is in force; absent while nobody has told.
    pub(super) settings: Option<Arc<Settings>>,
    pub(super) backup: BackupTold,
    /// It runs no Postgres.
    pub(super) is_sink: bool,
}

/// What has become of a server in this boot.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerTold {
    /// Since when it runs, and as which process.
    running: Option<(Instant, Option<u32>)>,
    starts: u64,
    /// When and how it ended last.
    ended: Option<(Instant, String)>,
}

/// Who has something to say about a machine that serves and is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Concern {
    /// The configuration in force is not the one that the user wrote.
    Configuration,
    /// What the bring-up could not do and went on without.
    BringUp,
    /// Postgres does not stay up.
    Postgres,
    /// PgBouncer does not stay up.
    Pooler,
    /// A certificate that is not used, or that ends.
    Certificate,
    /// The volume fills up.
    Disk,
    /// The sink cannot be asked; on a sink, nothing comes in.
    Sink,
    /// What the archive has could not be asked at the boot, or does not follow on what the volume has.
    Archive,
    /// A replica's primary cannot be asked, or no WAL comes in from it.
    Upstream,
}

impl Desk {
    pub(crate) fn new(layout: Layout) -> Arc<Desk> {
        let told = Told {
            lifecycle: Lifecycle::Booting,
            ready_at: None,
            boot_record: None,
            concerns: BTreeMap::new(),
            postgres: ServerTold::default(),
            pooler: ServerTold::default(),
            hooks: None,
            archive_target: None,
            archive_error: None,
            settings: None,
            backup: BackupTold::default(),
            is_sink: false,
        };
        Arc::new(Desk {
            layout,
            state: watch::Sender::new(told),
            stop: Notify::new(),
            reload: Notify::new(),
            renew_pooler: Notify::new(),
            look: Semaphore::new(1),
            work: Semaphore::new(1),
            backup: Arc::new(Semaphore::new(1)),
        })
    }

    /// The machine's state has changed.
    pub(crate) fn tell(&self, lifecycle: Lifecycle) {
        self.state.send_modify(|told| told.is_now(lifecycle));
    }

    /// What this boot was asked to be.
    pub(crate) fn tell_settings(&self, settings: &Settings, hooks: Hooks) {
        self.state.send_modify(|told| {
            told.hooks = Some(hooks);
            told.settings = Some(Arc::new(settings.clone()));
            told.is_sink = matches!(settings.role, Role::Sink { .. });
            told.archive_target = match &settings.archive {
                Archive::Off => None,
                Archive::S3(target) => Some(format!("s3://{}/{}", target.bucket, target.prefix)),
            };
        });
    }

    /// What became of the last file that was to be archived: it is, or why it is not.
    pub(crate) fn archived(&self, failure: Option<String>) {
        self.state.send_modify(|told| told.archive_error = failure);
    }

    /// A server was started.
    pub(crate) fn server_started(&self, server: Server, pid: Option<u32>) {
        self.state.send_modify(|told| {
            let server = told.server(server);
            server.running = Some((clock::now(), pid));
            server.starts += 1;
        });
    }

    /// A server has ended, or could not be started; how, in words. While no stop was asked for that
    /// is a state of its own.
    pub(crate) fn server_ended(&self, server: Server, how: &str) {
        self.state.send_modify(|told| {
            let server = told.server(server);
            server.running = None;
            server.ended = Some((clock::now(), how.to_owned()));
            if told.lifecycle == Lifecycle::Ready {
                told.is_now(Lifecycle::Restarting);
            }
        });
    }

    /// Something is not as it should be, in words for an operator; `None`: it is again.
    pub(crate) fn concern(&self, about: Concern, words: Option<String>) {
        self.state.send_modify(|told| {
            match words {
                Some(words) => told.concerns.insert(about, words),
                None => told.concerns.remove(&about),
            };
        });
    }

    /// What the boot left as its record, a JSON object.
    pub(crate) fn tell_boot_record(&self, json: &str) {
        match serde_json::from_str(json) {
            Ok(record) => self
                .state
                .send_modify(|told| told.boot_record = Some(record)),
            Err(error) => tracing::error!("health will lack the boot record: {error}"),
        }
    }

    /// Comes back when a caller asks the machine to stop. For one caller.
    pub(crate) async fn stop_requested(&self) {
        self.stop.notified().await;
    }

    /// Comes back when what PgBouncer remembers of Postgres is of another time. For one caller.
    pub(crate) async fn pooler_outdated(&self) {
        self.renew_pooler.notified().await;
    }

    /// Comes back when the servers shall read their configuration again. For one caller.
    pub(crate) async fn reload_requested(&self) {
        self.reload.notified().await;
    }
}

impl Told {
    fn is_now(&mut self, lifecycle: Lifecycle) {
        self.ready_at = match lifecycle {
            Lifecycle::Ready => self.ready_at.or_else(|| Some(clock::now())),
            Lifecycle::Booting
            | Lifecycle::Starting
            | Lifecycle::Restarting
            | Lifecycle::Stopping => None,
        };
        self.lifecycle = lifecycle;
    }

    fn server(&mut self, server: Server) -> &mut ServerTold {
        match server {
            Server::Postgres => &mut self.postgres,
            Server::Pooler => &mut self.pooler,
        }
    }
}

impl ServerTold {
    pub(super) fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// As `health` has it.
    pub(super) fn health(&self) -> rpc::Server {
        rpc::Server {
            up: self.is_up(),
            pid: self.running.and_then(|(_since, pid)| pid),
            since: self
                .running
                .map(|(since, _pid)| clock::unix_seconds_at(since)),
            starts: self.starts,
            last_exit: self.ended.as_ref().map(|(_at, how)| how.clone()),
            last_exit_at: self
                .ended
                .as_ref()
                .map(|(at, _how)| clock::unix_seconds_at(*at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> Arc<Desk> {
        Desk::new(Layout::new("/nowhere"))
    }

    #[test]
    fn being_ready_again_has_a_time_of_its_own() {
        let desk = desk();
        desk.tell(Lifecycle::Ready);
        assert!(desk.state.borrow().ready_at.is_some());
        desk.server_ended(Server::Pooler, "signal: 9 (SIGKILL)");
        assert_eq!(desk.state.borrow().ready_at, None);
        assert_eq!(desk.state.borrow().lifecycle, Lifecycle::Restarting);
    }

    #[test]
    fn a_server_that_ends_before_clients_got_in_or_during_a_stop_changes_no_state() {
        for state in [Lifecycle::Starting, Lifecycle::Stopping] {
            let desk = desk();
            desk.tell(state);
            desk.server_ended(Server::Postgres, "exit status: 1");
            assert_eq!(desk.state.borrow().lifecycle, state);
        }
    }

    #[test]
    fn how_a_server_ended_is_remembered_while_it_runs_again() {
        let desk = desk();
        desk.server_started(Server::Postgres, Some(17));
        desk.server_ended(Server::Postgres, "exit status: 1");
        let down = desk.state.borrow().postgres.health();
        assert_eq!((down.up, down.pid, down.since), (false, None, None));
        desk.server_started(Server::Postgres, Some(18));
        let up = desk.state.borrow().postgres.health();
        assert_eq!((up.up, up.pid, up.starts), (true, Some(18), 2));
        assert_eq!(up.last_exit.as_deref(), Some("exit status: 1"));
        assert!(up.last_exit_at.is_some());
        assert_eq!(desk.state.borrow().pooler.health(), rpc::Server::default());
    }

    #[test]
    fn a_boot_record_is_told_as_a_map() {
        let desk = desk();
        desk.tell_boot_record(r#"{"tier":"single","wal":{"clean":true}}"#);
        let record = desk.state.borrow().boot_record.clone().unwrap();
        assert_eq!(record["wal"]["clean"], true);
    }
}
