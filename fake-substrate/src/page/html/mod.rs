//! What was collected, as HTML. Pure; every text goes through the template's escaping.
//!
//! The page is cut into fragments, each in an element of its own id: the same functions fill the page
//! that is asked for and, when one has changed, what is sent to the pages that are open.

mod fault;
mod log;
mod machine;
mod outcome;
mod volume;
mod words;

use maud::{DOCTYPE, Markup, html};

use super::action::Action;
use super::errands::Errand;
use super::feed::Line;
use super::gate::Token;
use super::snapshot::{Service, Snapshot};

pub(super) use log::{line, missed};
pub(super) use machine::login;

/// What every part needs to know.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) substrate: String,
    pub(super) token: Token,
    /// Which process this is: a page that finds another one behind its address loads itself anew.
    pub(super) process: String,
}

/// A part of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fragment {
    /// The id of the element that it fills.
    pub(super) id: String,
    pub(super) html: String,
    /// What must differ for it to be sent again; its HTML unless said. A part with parts of its own
    /// changes when those come or go.
    key: Option<String>,
}

impl Fragment {
    fn new(id: impl Into<String>, html: Markup) -> Self {
        Self {
            id: id.into(),
            html: html.into_string(),
            key: None,
        }
    }

    fn keyed(self, key: String) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }

    pub(super) fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.html)
    }
}

/// Every part, a part before those within it.
pub(super) fn fragments(
    setting: &Setting,
    snapshot: &Snapshot,
    errands: &[Errand],
) -> Vec<Fragment> {
    let mut fragments = vec![
        Fragment::new("service", service(snapshot)),
        Fragment::new("errands", outcome::errands(errands)),
        Fragment::new("machines", machine::shells(setting, snapshot, errands))
            .keyed(machine::shells_key(snapshot)),
    ];
    for machine in &snapshot.machines {
        fragments.extend(machine::fragments(setting, machine, errands));
    }
    fragments.push(Fragment::new("volumes", volume::tree(&snapshot.volumes)));
    fragments.push(Fragment::new(
        "faults",
        fault::standing(setting, &snapshot.faults),
    ));
    fragments
}

/// The whole page. `only` is the machine whose log lines are asked for where no script chooses.
pub(super) fn page(
    setting: &Setting,
    snapshot: &Snapshot,
    errands: &[Errand],
    lines: &[Line],
    latest_line: u64,
    only: Option<&str>,
) -> Markup {
    let title = format!("{} – substrate", setting.substrate);
    let body = html! {
        header.top {
            h1 { "Substrate " span.name { (setting.substrate) } }
            div #service.service { (service(snapshot)) }
            p #live.live role="status" data-live="loading" { "Reload to see what has changed" }
        }
        main data-process=(setting.process) data-latest=(latest_line) {
            section aria-labelledby="outcome-title" {
                h2 #outcome-title { "Actions" }
                p #notice.notice role="alert" hidden {}
                ol #errands.errands aria-live="polite" aria-relevant="additions text" {
                    (outcome::errands(errands))
                }
            }
            section aria-labelledby="machines-title" {
                h2 #machines-title { "Machines" }
                div #machines.machines { (machine::shells(setting, snapshot, errands)) }
            }
            section aria-labelledby="volumes-title" {
                h2 #volumes-title { "Volumes" }
                div #volumes { (volume::tree(&snapshot.volumes)) }
            }
            section aria-labelledby="faults-title" {
                h2 #faults-title { "Faults" }
                div #faults { (fault::standing(setting, &snapshot.faults)) }
                (fault::form(setting))
            }
            section aria-labelledby="log-title" {
                h2 #log-title { "Log" }
                (log::list(snapshot, lines, only))
            }
        }
    };
    document(&title, &body)
}

/// A page that says one thing: for browsers without a script, and for refusals.
pub(super) fn notice(title: &str, what: &Markup) -> Markup {
    let body = html! {
        header.top { h1 { (title) } }
        main { section { (what) p { a href="/" { "Back to the page" } } } }
    };
    document(title, &body)
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
            }
            body { (body) }
        }
    }
}

fn service(snapshot: &Snapshot) -> Markup {
    let (class, word, why) = match &snapshot.service {
        Service::Running => ("good", "running", None),
        Service::Absent(why) => ("off", "not running", Some(why)),
        Service::Silent(why) => ("bad", "does not answer", Some(why)),
    };
    html! {
        span.badge.(class) { (word) }
        @if let Some(why) = why { span.why { (why) } }
        @if let Some(storage) = &snapshot.storage {
            span.fact { "object storage " code { (storage.endpoint) } ", bucket " code { (storage.bucket) } }
        }
    }
}

/// The hidden field that each form needs.
fn token(setting: &Setting) -> Markup {
    html! { input type="hidden" name="token" value=(setting.token.as_str()); }
}

/// A form that is one button.
fn button(setting: &Setting, to: &str, label: &str, title: &str, available: bool) -> Markup {
    html! {
        form method="post" action=(to) data-act {
            (token(setting))
            button type="submit" title=(title) disabled[!available] { (label) }
        }
    }
}

/// Where an action's form goes.
fn address(machine: &str, action: Action) -> String {
    format!("/machines/{machine}/{}", action.word())
}

#[cfg(test)]
mod tests;
