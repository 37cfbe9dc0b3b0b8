//! The hands that look: Docker, the substrate's admin API, each machine's `health`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::feed::Feed;
use super::snapshot::{Account, Machine, Place, Service, Snapshot, Storage, Volume};
use crate::admin::{AdminClient, KeptLine, VolumeReport};
use crate::backend::Backend;
use crate::docker::Docker;
use crate::hosts::Hosts;
use crate::labels::{self, Labels};
use crate::machine::metadata::Login;
use crate::machine::state::State;
use crate::machine::{self, View};
use crate::names::{HostName, MachineName, SubstrateName};
use crate::substrate::{self, Substrate, SubstrateError};
use crate::telling;

/// A machine that takes longer to tell how it is shows as not answering.
const HEALTH_WITHIN: Duration = Duration::from_secs(2);
/// How many pages of one machine's log are fetched at a time; the rest comes with the next look.
const LOG_PAGES: usize = 4;

/// A machine that is ready is asked how it is with every so many-th look: each answer takes it a session of
/// Postgres, which is four lines in its log.
const ASKED_EVERY: u8 = 5;

/// What machines told in the looks before, and how many looks ago.
pub(super) type Told = BTreeMap<MachineName, (Account, u8)>;

/// Looks at everything once. What cannot be found out is said in its place.
pub(super) async fn snapshot(docker: &Docker, name: &SubstrateName, told: &mut Told) -> Snapshot {
    let (substrate, mut service) = match Substrate::connect(docker, name).await {
        Ok(substrate) => (Some(substrate), Service::Running),
        Err(error @ (SubstrateError::Absent(_) | SubstrateError::NotRunning(_))) => {
            (None, Service::Absent(said(&error)))
        }
        Err(error) => (None, Service::Silent(said(&error))),
    };
    let mut storage = None;
    let mut faults = Vec::new();
    if let Some(substrate) = &substrate {
        match substrate.admin().faults().await {
            Ok(standing) => faults = standing,
            Err(error) => service = Service::Silent(said(&error)),
        }
        // Best effort: a service that does not answer is told as such above.
        storage = substrate.s3().await.ok().map(|s3| Storage {
            bucket: s3.bucket,
            endpoint: s3.host_endpoint,
        });
    }
    let reached = substrate.as_ref().filter(|_| service == Service::Running);
    let views = match substrate::views(docker, name).await {
        Ok(views) => views,
        Err(error) => {
            service = Service::Silent(said(&error));
            Vec::new()
        }
    };
    let volumes = match substrate::volumes(docker, name).await {
        Ok(volumes) => volumes,
        Err(error) => {
            service = Service::Silent(said(&error));
            Vec::new()
        }
    };
    let placed = placed(docker, name).await;
    let volumes = volumes
        .iter()
        .map(|found| volume(&found.labels, &views, &placed))
        .collect();
    let looks = views.into_iter().map(|view| {
        let before = told.get(&view.name);
        machine(reached, view, before)
    });
    let machines = join_all(looks).await;
    *told = machines
        .iter()
        .map(|machine| remembered(machine, told))
        .collect();
    Snapshot {
        service,
        storage,
        machines,
        volumes,
        faults,
    }
}

fn said(error: &dyn std::error::Error) -> String {
    telling::Told::of(error).what
}

/// What the hosts tell of their volumes. Best effort: one that does not answer leaves its volumes
/// nowhere.
async fn placed(docker: &Docker, name: &SubstrateName) -> Vec<(HostName, VolumeReport)> {
    let hosts = Hosts::of(docker, name);
    let mut placed = Vec::new();
    for host in hosts.names().await.unwrap_or_default() {
        if let Ok(running) = hosts.running(&host).await {
            let reports = running.store.volumes().await.unwrap_or_default();
            placed.extend(reports.into_iter().map(|report| (host.clone(), report)));
        }
    }
    placed
}

fn volume(labels: &Labels, views: &[View], placed: &[(HostName, VolumeReport)]) -> Volume {
    let label = |key: &str| labels.get(key).cloned();
    let machine = label(labels::MACHINE).unwrap_or_default();
    let its = placed
        .iter()
        .find(|(_, report)| report.name.as_str() == machine);
    let place = match (Backend::of(labels), its) {
        (Backend::Copy, _) => Place::Folder {
            in_use: views.iter().any(|view| view.name.as_str() == machine),
        },
        (Backend::Block, None) => Place::Nowhere,
        (Backend::Block, Some((host, report))) => Place::Host {
            host: host.clone(),
            standing: report.standing,
            ephemeral: report.ephemeral,
            flush_point_ms: report.flush_point.map(|point| point.at_ms),
            dirty_bytes: report.dirty_bytes,
        },
    };
    Volume {
        machine,
        instance: label(labels::INSTANCE),
        parent: label(labels::PARENT),
        place,
    }
}

async fn machine(
    substrate: Option<&Substrate>,
    view: View,
    before: Option<&(Account, u8)>,
) -> Machine {
    let Some(substrate) = substrate else {
        return Machine {
            view,
            database: None,
            link: None,
            account: Account::NotAsked,
        };
    };
    let handle = substrate.handle(view.name.clone());
    // Each is shown as unknown when it cannot be had.
    let (link, database, account) = tokio::join!(
        async { handle.link().await.ok() },
        database(&handle),
        account(substrate.admin(), &view, before)
    );
    Machine {
        view,
        database,
        link,
        account,
    }
}

/// The password that stands beside it goes no further.
async fn database(handle: &machine::Machine) -> Option<String> {
    let document = handle.metadata().await.ok()?;
    Login::from_metadata(&document).map(|login| login.database)
}

async fn account(admin: &AdminClient, view: &View, before: Option<&(Account, u8)>) -> Account {
    if view.state != State::Running {
        return Account::NotAsked;
    }
    if let Some((account, _ago)) = still_good(before) {
        return account.clone();
    }
    let request = json!({ "cmd": "health" });
    match admin.rpc(view.name.as_str(), &request, HEALTH_WITHIN).await {
        Ok(answer) => match (answer.health, answer.error) {
            (Some(health), _) => Account::Told(Box::new(health)),
            (None, why) => Account::Unanswered(why.unwrap_or_else(|| "no answer".to_owned())),
        },
        Err(error) => Account::Unanswered(said(&error)),
    }
}

/// What a machine told before, if it need not be asked again.
fn still_good(before: Option<&(Account, u8)>) -> Option<&(Account, u8)> {
    before.filter(|(account, ago)| account.is_settled() && *ago < ASKED_EVERY)
}

/// Counts the looks for which a machine's account was not asked for anew.
fn remembered(machine: &Machine, before: &Told) -> (MachineName, (Account, u8)) {
    let account = machine.account.clone();
    let ago = match still_good(before.get(&machine.view.name)) {
        Some((_account, ago)) => ago + 1,
        None => 1,
    };
    (machine.view.name.clone(), (account, ago))
}

/// Fetches the lines that the host has received since the last time.
pub(super) async fn lines(
    docker: &Docker,
    name: &SubstrateName,
    snapshot: &Snapshot,
    feed: &std::sync::Mutex<Feed>,
) {
    let Ok(substrate) = Substrate::connect(docker, name).await else {
        return;
    };
    let linked = snapshot.machines.iter();
    let linked = linked.filter_map(|machine| Some((&machine.view.name, machine.link.as_ref()?)));
    for (machine, link) in linked {
        let machine = machine.as_str();
        let after = held(feed).after(machine, link.last_line);
        // A host that does not answer shows as such; its lines are asked for again.
        if let Ok((lines, after)) = fetched(substrate.admin(), machine, after).await {
            held(feed).take_in(machine, lines, after);
        }
    }
}

async fn fetched(
    admin: &AdminClient,
    machine: &str,
    after: u64,
) -> Result<(Vec<KeptLine>, u64), crate::admin::AdminError> {
    let mut after = after;
    let mut lines = Vec::new();
    for _ in 0..LOG_PAGES {
        let page = admin.log_page(machine, after, Duration::ZERO).await?;
        after = page.after;
        if page.lines.is_empty() {
            break;
        }
        lines.extend(page.lines);
    }
    Ok((lines, after))
}

/// A panic elsewhere leaves whole lines.
pub(super) fn held(feed: &std::sync::Mutex<Feed>) -> std::sync::MutexGuard<'_, Feed> {
    feed.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use wire::rpc::Health;

    use super::{ASKED_EVERY, Account, Labels, Place, labels, still_good, volume};
    use crate::admin::{FlushPointReport, VolumeReport, VolumeStanding};

    /// A block volume has a Docker volume too, with nothing on it but its labels.
    #[test]
    fn a_block_volume_is_where_its_host_says_and_nowhere_without_one() {
        let labels: Labels = [
            (labels::MACHINE, "db"),
            (labels::BACKEND, "block"),
            (labels::PARENT, "parent"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let report = VolumeReport {
            name: "db".parse().unwrap(),
            bytes: 1 << 30,
            ephemeral: false,
            parent: None,
            children: Vec::new(),
            standing: VolumeStanding::Attached,
            device: None,
            unsynced_blocks: 0,
            dirty_bytes: 8192,
            writes_wait: false,
            troubles: Vec::new(),
            flush_point: Some(FlushPointReport {
                generation: 1,
                sequence: 2,
                at_ms: 3,
            }),
            expires_ms: None,
        };
        let host = "host-1".parse().unwrap();
        let seen = volume(&labels, &[], &[(host, report)]);
        assert_eq!(seen.parent.as_deref(), Some("parent"));
        let Place::Host {
            host,
            dirty_bytes,
            flush_point_ms,
            ..
        } = seen.place
        else {
            panic!("{seen:?}")
        };
        assert_eq!(
            (host.as_str(), dirty_bytes, flush_point_ms),
            ("host-1", 8192, Some(3))
        );
        assert_eq!(volume(&labels, &[], &[]).place, Place::Nowhere);
        let folder = volume(&Labels::new(), &[], &[]);
        assert_eq!(folder.place, Place::Folder { in_use: false });
    }

    fn told(state: &str) -> Account {
        Account::Told(Box::new(Health {
            state: state.to_owned(),
            ..Health::default()
        }))
    }

    #[test]
    fn only_a_ready_machine_is_left_in_peace_for_some_looks() {
        let good = |account, ago| still_good(Some(&(account, ago))).is_some();
        assert!(good(told("ready"), 1));
        assert!(good(told("ready"), ASKED_EVERY - 1));
        assert!(!good(told("ready"), ASKED_EVERY));
        assert!(!good(told("starting"), 1));
        assert!(!good(Account::Unanswered("no".to_owned()), 1));
        assert!(still_good(None).is_none());
    }
}
