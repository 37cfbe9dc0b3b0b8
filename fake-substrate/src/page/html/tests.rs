use std::collections::BTreeSet;

use wire::rpc::Health;

use super::super::errands::Errands;
use super::super::feed::Feed;
use super::super::gate::Token;
use super::super::snapshot::{Account, Machine, Place, Service, Snapshot, Volume};
use super::{Fragment, Setting, fragments, page};
use crate::machine::View;
use crate::machine::disk::Disk;
use crate::machine::state::State;
use crate::ports::Ports;

fn setting() -> Setting {
    Setting {
        substrate: "local".to_owned(),
        token: Token::new().unwrap(),
        process: "one".to_owned(),
    }
}

fn machine(name: &str, state: State, account: Account) -> Machine {
    Machine {
        view: View {
            name: name.parse().unwrap(),
            state,
            image: "beyond-postgres".to_owned(),
            image_id: "sha256:0123456789abcdef".to_owned(),
            memory: "2g".parse().unwrap(),
            cpus: "2".parse().unwrap(),
            ports: Ports {
                pooler: 5432,
                direct: 5433,
            },
            link_local: [169, 254, 10, 1].into(),
            disk: Disk::Folder,
        },
        database: Some("postgres".to_owned()),
        link: None,
        account,
    }
}

fn ready(state: &str) -> Account {
    Account::Told(Box::new(Health {
        state: state.to_owned(),
        timeline: Some(3),
        ..Health::default()
    }))
}

fn snapshot(machines: Vec<Machine>) -> Snapshot {
    Snapshot {
        service: Service::Running,
        storage: None,
        machines,
        volumes: Vec::new(),
        faults: Vec::new(),
    }
}

fn whole(snapshot: &Snapshot) -> String {
    page(&setting(), snapshot, &[], &Feed::default().kept(), 0, None).into_string()
}

fn keys(fragments: &[Fragment]) -> BTreeSet<(String, String)> {
    let pair = |fragment: &Fragment| (fragment.id.clone(), fragment.key().to_owned());
    fragments.iter().map(pair).collect()
}

/// Those of `after` that a page that has `before` must be sent.
fn changed(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let setting = setting();
    let before = keys(&fragments(&setting, before, &[]));
    let after = keys(&fragments(&setting, after, &[]));
    after
        .difference(&before)
        .map(|(id, _)| id.clone())
        .collect()
}

#[test]
fn what_a_machine_says_is_text_and_never_markup() {
    let evil = "<script>alert(1)</script>";
    let mut health = Health {
        state: evil.to_owned(),
        degraded: vec![evil.to_owned()],
        ..Health::default()
    };
    health.archive.by = Some(evil.to_owned());
    let mut snapshot = snapshot(vec![machine(
        "db",
        State::Running,
        Account::Told(Box::new(health)),
    )]);
    snapshot.volumes.push(Volume {
        machine: evil.to_owned(),
        parent: Some(evil.to_owned()),
        place: Place::Folder { in_use: false },
        instance: Some(evil.to_owned()),
    });
    let html = whole(&snapshot);
    assert!(!html.contains("<script>alert"), "{html}");
    assert!(html.contains("&lt;script&gt;alert(1)"));
}

#[test]
fn every_part_has_its_element_in_the_page() {
    let snapshot = snapshot(vec![
        machine("db", State::Running, ready("ready")),
        machine("copy", State::Stopped, Account::NotAsked),
    ]);
    let html = whole(&snapshot);
    for fragment in fragments(&setting(), &snapshot, &[]) {
        let element = format!("id=\"{}\"", fragment.id);
        assert_eq!(html.matches(&element).count(), 1, "{element}");
    }
}

#[test]
fn every_form_that_changes_anything_has_the_token() {
    let setting = setting();
    let snapshot = snapshot(vec![machine("db", State::Running, ready("ready"))]);
    let html = page(&setting, &snapshot, &[], &[], 0, None).into_string();
    let forms = html
        .split("<form")
        .skip(1)
        .filter(|form| form.contains("method=\"post\""));
    let token = format!("name=\"token\" value=\"{}\"", setting.token.as_str());
    let mut seen = 0;
    for form in forms {
        let form = form.split("</form>").next().unwrap();
        assert!(form.contains(&token), "{form}");
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
}

#[test]
fn only_what_has_changed_is_sent_again() {
    let one = |state| snapshot(vec![machine("db", State::Running, ready(state))]);
    assert_eq!(changed(&one("ready"), &one("ready")), [""; 0]);
    assert_eq!(changed(&one("starting"), &one("ready")), ["m-db-head"]);
    let stopped = snapshot(vec![machine("db", State::Stopped, ready("ready"))]);
    assert_eq!(
        changed(&one("ready"), &stopped),
        ["m-db-actions", "m-db-head"]
    );
    let mut two = one("ready");
    two.machines
        .push(machine("copy", State::Running, ready("ready")));
    let sent = changed(&one("ready"), &two);
    assert!(
        sent.contains(&"machines".to_owned()) && !sent.contains(&"m-db-facts".to_owned()),
        "{sent:?}"
    );
}

#[test]
fn what_is_under_way_takes_the_buttons_of_its_machine_away() {
    let errands = Errands::new(|| 0);
    let _ticket = errands
        .begin("fork db to copy".to_owned(), vec!["db".to_owned()])
        .unwrap();
    let errands: Vec<_> = errands.subscribe().borrow().iter().cloned().collect();
    let snapshot = snapshot(vec![
        machine("db", State::Running, ready("ready")),
        machine("other", State::Running, ready("ready")),
    ]);
    let fragments = fragments(&setting(), &snapshot, &errands);
    let may_stop = |name: &str| {
        let id = format!("m-{name}-actions");
        let actions = fragments.iter().find(|fragment| fragment.id == id).unwrap();
        let form = actions
            .html
            .split("<form")
            .find(|form| form.contains("/stop\""))
            .unwrap();
        !form.contains(" disabled")
    };
    assert!(!may_stop("db"));
    assert!(may_stop("other"));
}

#[test]
fn nothing_comes_from_elsewhere_and_no_style_or_script_is_in_the_text() {
    let html = whole(&snapshot(vec![machine(
        "db",
        State::Running,
        ready("ready"),
    )]));
    for foreign in [
        "http://",
        "https://",
        "//cdn",
        " style=",
        " onclick=",
        "<style",
        "javascript:",
    ] {
        assert!(!html.contains(foreign), "{foreign}");
    }
}
