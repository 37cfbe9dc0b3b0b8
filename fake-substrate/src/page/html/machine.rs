//! One machine as a card: what it is, how it is, where its WAL is, what may be done to it.

use std::fmt::Display;

use maud::{Markup, html};
use serde_json::Value;
use wire::rpc::{Health, Map, Standby};

use super::super::action::{Action, Group};
use super::super::errands::{Errand, busy};
use super::super::snapshot::{Account, Machine, Snapshot};
use super::{Fragment, Setting, address, button, token, words};
use crate::backend::Backend;
use crate::machine::metadata::Login;
use crate::machine::state::State;

/// Every machine's card, with the parts that are filled again by themselves.
pub(super) fn shells(setting: &Setting, snapshot: &Snapshot, errands: &[Errand]) -> Markup {
    html! {
        @if snapshot.machines.is_empty() {
            p.nothing { "No machine. " code { "fake-substrate up" } " makes one." }
        }
        @for machine in &snapshot.machines { (shell(setting, machine, errands)) }
    }
}

/// What a card has beside its parts.
pub(super) fn shells_key(snapshot: &Snapshot) -> String {
    let machines = snapshot.machines.iter();
    let words = machines.map(|machine| format!("{} {}", machine.view.name, masked(machine)));
    words.collect::<Vec<_>>().join("\n")
}

pub(super) fn fragments(setting: &Setting, machine: &Machine, errands: &[Errand]) -> [Fragment; 3] {
    let part = |name| id(machine, name);
    [
        Fragment::new(part("head"), head(machine)),
        Fragment::new(part("facts"), facts(machine)),
        Fragment::new(part("actions"), actions(setting, machine, errands)),
    ]
}

fn id(machine: &Machine, part: &str) -> String {
    format!("m-{}-{part}", machine.view.name)
}

fn shell(setting: &Setting, machine: &Machine, errands: &[Errand]) -> Markup {
    let name = machine.view.name.as_str();
    let title = id(machine, "name");
    html! {
        article.machine id={ "m-" (name) } aria-labelledby=(title) data-machine=(name) {
            header {
                h3 id=(title) { (name) }
                div.badges id=(id(machine, "head")) { (head(machine)) }
            }
            div.login id=(id(machine, "login")) {
                code.command { (masked(machine)) }
                form method="post" action={ "/machines/" (name) "/login" } data-reveal=(id(machine, "login")) {
                    (token(setting))
                    button type="submit" aria-label={ "Show the password of " (name) } { "Show password" }
                    button type="button" data-copy hidden aria-label={ "Copy the psql command of " (name) } {
                        "Copy with password"
                    }
                }
            }
            div id=(id(machine, "facts")) { (facts(machine)) }
            div.actions id=(id(machine, "actions")) { (actions(setting, machine, errands)) }
        }
    }
}

/// What stands in place of a password.
const MASK: &str = "••••••";

/// The command without its secret.
fn masked(machine: &Machine) -> String {
    let database = machine.database.as_deref().unwrap_or("postgres");
    let port = machine.view.ports.pooler;
    format!(
        "psql postgres://{}:{MASK}@localhost:{port}/{database}",
        Login::USER
    )
}

/// The commands with their secret, for whoever asked.
pub(in super::super) fn login(pooled: &str, direct: &str) -> Markup {
    html! {
        p { "Through the pooler:" br; code.command data-command { (pooled) } }
        p { "Past the pooler:" br; code.command { (direct) } }
    }
}

fn head(machine: &Machine) -> Markup {
    let state = machine.view.state;
    let class = match state {
        State::Running => "good",
        State::Created | State::Stopped => "off",
        State::Paused | State::Removing => "busy",
        State::Crashed { .. } | State::Lost => "bad",
    };
    html! {
        span.badge.(class) { (state) }
        @match &machine.account {
            Account::Told(health) => {
                @let ready = machine.account.is_settled();
                span.badge.(if ready { "good" } else { "busy" }) data-lifecycle=(health.state) { (health.state) }
                @if !health.degraded.is_empty() { span.badge.bad { "degraded" } }
            }
            Account::Unanswered(_) => span.badge.busy { "not telling" },
            Account::NotAsked => {}
        }
    }
}

fn facts(machine: &Machine) -> Markup {
    let health = machine.account.health();
    html! {
        @if let Account::Unanswered(why) = &machine.account { p.why { "Asked how it is: " (why) } }
        @if let Some(health) = health { (troubles(health)) }
        dl.facts {
            (standing(machine, health))
            (wal(health))
            (archive(health))
            (receivers(health))
            (boot(health))
        }
    }
}

fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn text(name: &str, value: impl Display) -> Markup {
    fact(name, &html! { (value) })
}

fn standing(machine: &Machine, health: Option<&Health>) -> Markup {
    let view = &machine.view;
    let link = machine.link.as_ref().map(|link| link.state);
    let image: String = view
        .image_id
        .trim_start_matches("sha256:")
        .chars()
        .take(12)
        .collect();
    let disk = health.and_then(|health| Some((health.disk.bytes?, health.disk.free_bytes?)));
    let disk = disk.map(|(all, free)| {
        let (used, all) = (words::bytes(all.saturating_sub(free)), words::bytes(all));
        format!("{used} of {all} in use")
    });
    let versions = health.map(|health| &health.versions);
    html! {
        (fact("Ready since", &words::told_moment(health.and_then(|health| health.ready_since))))
        (text("Size", format!("{} memory, {} cpus", view.memory, view.cpus)))
        (text("Ports", format!("{} pooler, {} direct", view.ports.pooler, view.ports.direct)))
        (text("Address", view.link_local))
        (text("Link", words::or_unknown(link)))
        (text("Host", words::or_unknown(view.disk.host())))
        (text("Disk", words::or_unknown(disk)))
        (text("Postgres", words::or_unknown(versions.and_then(|versions| versions.postgres.as_ref()))))
        (fact("Image", &html! { code { (image) } }))
    }
}

fn wal(health: Option<&Health>) -> Markup {
    let wal = health.map(|health| &health.wal);
    let recovery = health.and_then(|health| health.in_recovery);
    html! {
        (text("Timeline", words::or_unknown(health.and_then(|health| health.timeline))))
        (text("WAL made", words::or_unknown(wal.and_then(|wal| wal.insert_lsn))))
        (text("WAL on disk", words::or_unknown(wal.and_then(|wal| wal.flush_lsn))))
        @if recovery == Some(true) {
            (text("WAL replayed", words::or_unknown(wal.and_then(|wal| wal.replay_lsn))))
        }
        (fact("Checkpoint", &html! {
            (words::or_unknown(wal.and_then(|wal| wal.redo_lsn)))
            @if let Some(at) = wal.and_then(|wal| wal.checkpoint_at) {
                ", " (words::told_moment(Some(at)))
            }
        }))
    }
}

fn archive(health: Option<&Health>) -> Markup {
    let archive = health.map(|health| &health.archive);
    let by = archive.and_then(|archive| archive.by.as_deref());
    let waiting = archive
        .and_then(|archive| archive.waiting)
        .filter(|count| *count > 0);
    let failures = archive
        .and_then(|archive| archive.failures)
        .filter(|count| *count > 0);
    html! {
        (fact("Archive", &html! {
            @match (by, archive.and_then(|archive| archive.target.as_ref())) {
                (None, _) => (words::UNKNOWN),
                (Some("nobody"), _) => "nobody archives",
                (Some(_), Some(target)) => (target),
                (Some(by), None) => { "by the " (by) "'s command" },
            }
            @if let Some(segment) = archive.and_then(|archive| archive.last_segment.as_ref()) {
                br; "up to " code { (segment) }
            }
            @if let Some(waiting) = waiting { br; (waiting) " waiting" }
            @if let Some(failures) = failures { br; (failures) " tries failed" }
        }))
    }
}

/// Who receives WAL, the sink included.
fn receivers(health: Option<&Health>) -> Markup {
    let standbys = health.map_or(&[][..], |health| &health.standbys);
    fact(
        "WAL sink",
        &html! {
            @if standbys.is_empty() { (words::UNKNOWN) }
            @for Standby { name, state, sync_state, flush_lsn, .. } in standbys {
                div { (name) ": " (state) ", " (sync_state) ", on disk up to " (words::or_unknown(*flush_lsn)) }
            }
        },
    )
}

/// What this boot did, in a sentence.
fn boot(health: Option<&Health>) -> Markup {
    let record = health.and_then(|health| health.boot.as_ref());
    text("Boot", words::or_unknown(record.map(boot_in_words)))
}

fn boot_in_words(record: &Map) -> String {
    let number = |key: &str| record.get(key).and_then(Value::as_u64);
    let count = |key: &str| {
        record
            .get(key)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    };
    let mut words = Vec::new();
    if let Some(total) = number("total_ms") {
        words.push(format!("took {}.{} s", total / 1000, total % 1000 / 100));
    }
    if let (Some(ram), Some(vcpus)) = (number("ram_mb"), number("vcpus")) {
        words.push(format!("tuned for {ram} MB and {vcpus} vCPUs"));
    }
    let wal = record.get("wal");
    let of_wal = |key: &str| wal.and_then(|wal| wal.get(key));
    match of_wal("replayed_bytes").and_then(Value::as_u64) {
        Some(0) => words.push("replayed no WAL".to_owned()),
        Some(bytes) => words.push(format!("replayed {} of WAL", words::bytes(bytes))),
        None => {}
    }
    words.push(match count("changed") {
        0 => "found all as it should be".to_owned(),
        1 => "changed 1 thing".to_owned(),
        changed => format!("changed {changed} things"),
    });
    match count("failed") {
        0 => {}
        failed => words.push(format!("{failed} extensions failed")),
    }
    words.join(", ")
}

fn troubles(health: &Health) -> Markup {
    let lists = [
        ("Not as it should be", &health.degraded),
        ("Not found out", &health.unanswered),
        (
            "Lines of its configuration",
            &health.configuration.objections,
        ),
    ];
    html! {
        @for (title, lines) in lists {
            @if !lines.is_empty() {
                div.trouble {
                    strong { (title) }
                    ul { @for line in lines { li.text { (line) } } }
                }
            }
        }
    }
}

fn actions(setting: &Setting, machine: &Machine, errands: &[Errand]) -> Markup {
    let name = machine.view.name.as_str();
    let busy = busy(errands, name);
    let one = |action: Action| {
        let answer = action.availability(machine.view.state, machine.view.disk.backend(), busy);
        let title = match &answer {
            Ok(()) => action.meaning().to_owned(),
            Err(why) => format!("{}: {why}", action.meaning()),
        };
        (title, answer.is_ok())
    };
    let buttons = |group: Group| {
        html! {
            @for action in Action::ALL.into_iter().filter(|action| action.group() == group) {
                @let (title, available) = one(action);
                (button(setting, &address(name, action), action.label(), &title, available))
            }
        }
    };
    let (fork_title, may_fork) = one(Action::Fork);
    let field = format!("m-{name}-fork-name");
    html! {
        div.row { (buttons(Group::Everyday)) }
        form.fork method="post" action=(address(name, Action::Fork)) data-act data-clear {
            (token(setting))
            label.unseen for=(field) { "Name of the fork of " (name) }
            input id=(field) name="name" required maxlength="40" placeholder="name of the fork"
                pattern="[a-z0-9]([a-z0-9\\-]*[a-z0-9])?" title="lower-case letters, digits and inner hyphens"
                autocomplete="off" autocapitalize="none" spellcheck="false";
            button type="submit" title=(fork_title) disabled[!may_fork] { (Action::Fork.label()) }
        }
        details.breaks id={ "m-" (name) "-breaks" } {
            summary { "Break it" }
            div.row { (buttons(Group::Breaks)) }
            @if machine.view.disk.backend() == Backend::Copy {
                p.of {
                    "Its volume is a folder of Docker's, which has no power and no host to lose; "
                    code { "up --volumes block" } " makes disks."
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::boot_in_words;

    #[test]
    fn a_boot_is_told_in_a_sentence() {
        let record = json!({
            "settings": "metadata service", "tier": "single", "ram_mb": 2048, "vcpus": 2,
            "changed": ["initdb", "layout"], "failed": [], "total_ms": 3260,
            "wal": { "clean": false, "replayed_bytes": 1_572_864 },
        });
        assert_eq!(
            boot_in_words(record.as_object().unwrap()),
            "took 3.2 s, tuned for 2048 MB and 2 vCPUs, replayed 1.5 MB of WAL, changed 2 things"
        );
        assert_eq!(boot_in_words(&Map::new()), "found all as it should be");
    }
}
