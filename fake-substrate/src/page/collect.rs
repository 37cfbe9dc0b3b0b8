//! The hands that look: Docker, the substrate's admin API, each machine's `health`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::feed::Feed;
use super::snapshot::{Account, Machine, Place, Service, Snapshot, Storage, Volume};
use crate::admin::{AdminClient, KeptLine, VolumeReport};
use crate::docker::{self, Docker};
use crate::hosts::Hosts;
use crate::labels;
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
    let folders = volumes.iter().map(|found| folder(found, name, &views));
    let mut volumes: Vec<Volume> = folders.collect();
    volumes.extend(disks(docker, name, &views).await);
    volumes.sort_by(|one, other| one.machine.cmp(&other.machine));
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

fn folder(found: &docker::volume::Volume, name: &SubstrateName, views: &[View]) -> Volume {
    let label = |key: &str| found.labels.get(key).cloned();
    let in_use = |view: &View| name.machine_volume(&view.name) == found.name;
    Volume {
        machine: label(labels::MACHINE).unwrap_or_default(),
        parent: label(labels::PARENT),
        place: Place::Folder {
            in_use: views.iter().any(in_use),
            instance: label(labels::INSTANCE),
        },
    }
}

/// The volumes that the hosts tell of, and those of machines whose host tells nothing any more.
async fn disks(docker: &Docker, name: &SubstrateName, views: &[View]) -> Vec<Volume> {
    let hosts = Hosts::of(docker, name);
    // Best effort: where Docker does not answer, that is told already.
    let names = hosts.names().await.unwrap_or_default();
    let mut volumes = Vec::new();
    for host in &names {
        // A host that does not run, or not answer, leaves its volumes unknown.
        let Ok(running) = hosts.running(host).await else {
            continue;
        };
        let reports = running.store.volumes().await.unwrap_or_default();
        volumes.extend(reports.into_iter().map(|report| disk(host, report)));
    }
    for view in views {
        let Some(host) = view.disk.host().filter(|_| view.state == State::Lost) else {
            continue;
        };
        if volumes
            .iter()
            .all(|known| known.machine != view.name.as_str())
        {
            volumes.push(Volume {
                machine: view.name.to_string(),
                parent: None,
                place: Place::Lost {
                    host: host.to_string(),
                },
            });
        }
    }
    volumes
}

fn disk(host: &HostName, report: VolumeReport) -> Volume {
    Volume {
        machine: report.name.to_string(),
        parent: report.parent.map(|parent| parent.to_string()),
        place: Place::Host {
            host: host.to_string(),
            standing: report.standing,
            flush_point_ms: report.flush_point.map(|point| point.at_ms),
            dirty_bytes: report.dirty_bytes,
        },
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

    use super::{ASKED_EVERY, Account, still_good};

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
