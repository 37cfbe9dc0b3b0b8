//! Volumes, each under the one that it began as a copy of.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::snapshot::{Place, Volume};
use super::words;
use crate::admin::VolumeStanding;

/// Deeper forks are shown no further to the right: at 360 pixels there is no room.
const DEEPEST: usize = 5;

pub(super) fn tree(volumes: &[Volume]) -> Markup {
    if volumes.is_empty() {
        return html! { p.nothing { "No volume yet." } };
    }
    html! {
        table.volumes {
            thead {
                tr {
                    th scope="col" { "Volume of" }
                    th scope="col" { "Where" }
                    th scope="col" { "Instance" }
                    th scope="col" { "Flush point" }
                    th scope="col" { "Written since" }
                }
            }
            tbody { @for (depth, volume) in in_order(volumes) { (row(depth, volume)) } }
        }
    }
}

fn row(depth: usize, volume: &Volume) -> Markup {
    let indent = format!("depth-{}", depth.min(DEEPEST));
    html! {
        tr {
            th scope="row" class=(indent) {
                @if depth > 0 { span.branch aria-hidden="true" { "└ " } }
                (volume.machine)
                @if let Some(parent) = &volume.parent { " " span.of { "fork of " (parent) } }
            }
            td data-label="Where" { (place(&volume.place)) }
            td data-label="Instance" { code { (words::or_unknown(volume.instance.as_ref())) } }
            td data-label="Flush point" { (flush_point(&volume.place)) }
            td data-label="Written since" { (written_since(&volume.place)) }
        }
    }
}

fn place(place: &Place) -> Markup {
    match place {
        Place::Folder { in_use: true } => html! { "a folder, in use" },
        Place::Folder { in_use: false } => html! { "a folder, unused" },
        Place::Host { host, standing, .. } => html! {
            (host) ", "
            (match standing {
                VolumeStanding::Detached => "in nobody's hands",
                VolumeStanding::Attached => "in use",
                VolumeStanding::Lost => "lost",
                VolumeStanding::Fenced => "taken over by another host",
            })
        },
        Place::Nowhere => html! { "on no host that answers; object storage may have it" },
    }
}

fn flush_point(place: &Place) -> Markup {
    match place {
        Place::Host {
            ephemeral: true, ..
        } => html! { "never (ephemeral)" },
        Place::Host {
            flush_point_ms: None,
            ..
        } => html! { "not yet" },
        Place::Host {
            flush_point_ms: Some(at_ms),
            ..
        } => words::moment(*at_ms),
        Place::Folder { .. } | Place::Nowhere => html! { (words::UNKNOWN) },
    }
}

fn written_since(place: &Place) -> String {
    match place {
        Place::Host { dirty_bytes, .. } => words::bytes(*dirty_bytes),
        Place::Folder { .. } | Place::Nowhere => words::UNKNOWN.to_owned(),
    }
}

/// Parents before their children, with how deep each lies. What has a parent that is gone is a root.
fn in_order(volumes: &[Volume]) -> Vec<(usize, &Volume)> {
    let there: BTreeSet<&str> = volumes
        .iter()
        .map(|volume| volume.machine.as_str())
        .collect();
    let parent = |volume: &Volume| {
        volume
            .parent
            .clone()
            .filter(|name| there.contains(name.as_str()))
    };
    let mut order = Vec::new();
    // Depth first, in the order given: a stack takes them backwards.
    let mut open: Vec<_> = volumes
        .iter()
        .filter(|volume| parent(volume).is_none())
        .collect();
    open.reverse();
    let mut open: Vec<(usize, &Volume)> = open.into_iter().map(|root| (0, root)).collect();
    let mut seen = BTreeSet::new();
    while let Some((depth, volume)) = open.pop() {
        if !seen.insert(&volume.machine) {
            continue;
        }
        order.push((depth, volume));
        let children = volumes.iter().rev();
        let children = children.filter(|child| parent(child).as_ref() == Some(&volume.machine));
        open.extend(children.map(|child| (depth + 1, child)));
    }
    // Names that lead in a circle are nobody's children; they are shown all the same.
    order.extend(
        volumes
            .iter()
            .filter(|volume| !seen.contains(&volume.machine))
            .map(|volume| (0, volume)),
    );
    order
}

#[cfg(test)]
mod tests {
    use super::{Place, Volume, in_order};

    fn volume(machine: &str, parent: Option<&str>) -> Volume {
        Volume {
            machine: machine.to_owned(),
            parent: parent.map(str::to_owned),
            place: Place::Folder { in_use: true },
            instance: None,
        }
    }

    fn order(volumes: &[Volume]) -> String {
        let words = in_order(volumes).into_iter();
        let words = words.map(|(depth, volume)| format!("{depth}{}", volume.machine));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn forks_stand_under_their_parents() {
        let volumes = [
            volume("db", None),
            volume("deep", Some("one")),
            volume("one", Some("db")),
            volume("other", None),
            volume("two", Some("db")),
        ];
        assert_eq!(order(&volumes), "0db 1one 2deep 1two 0other");
    }

    #[test]
    fn an_orphan_and_a_circle_are_shown_once() {
        let volumes = [
            volume("orphan", Some("gone")),
            volume("a", Some("b")),
            volume("b", Some("a")),
        ];
        assert_eq!(order(&volumes), "0orphan 0a 0b");
    }
}
