//! What stands on this Docker, why it is there, and what keeps something from working. Facts in,
//! findings out; [`facts`] looks.

mod facts;
mod pieces;

use std::collections::BTreeMap;
use std::fmt;

use crate::backend::{Backend, Wanted};
use crate::docker::Facilities;
use crate::docker::engine::Engine;
use crate::names::SubstrateName;

pub use facts::{LookError, look};
pub use pieces::{Kind, Piece, Purpose};

/// Less than this on Docker's disk, and the next image or the next fork may not fit.
const LITTLE_ROOM: u64 = 5 << 30;
/// What a machine of the default size wants, twice: one and its fork.
const LITTLE_MEMORY: u64 = 2 << 30;
/// The oldest daemon that everything here was run against.
const OLDEST: (u32, u32) = (20, 10);

/// Everything that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What Docker says of itself.
    pub engine: Engine,
    /// What it can give containers.
    pub facilities: Facilities,
    /// Room where Docker keeps everything; `None` where that cannot be seen from here.
    pub room: Option<Room>,
    /// Our images, by name without tag.
    pub images: Vec<String>,
    /// Everything of ours, of every substrate.
    pub pieces: Vec<Piece>,
    /// Services that do not answer although they run, and what they said.
    pub silent: BTreeMap<SubstrateName, String>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// A folder on it.
    pub path: String,
    /// In bytes.
    pub free: u64,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// As it should be.
    Fine,
    /// Good to know.
    Note,
    /// Something does not work, or will not for long.
    Trouble,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// In a sentence.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    fn fine(what: impl Into<String>) -> Self {
        Self {
            weight: Weight::Fine,
            what: what.into(),
            hint: None,
        }
    }

    fn of(weight: Weight, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            weight,
            what: what.into(),
            hint: Some(hint.into()),
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Trouble => "TROUBLE",
        })
    }
}

/// What follows from the facts, in the order in which a person would ask.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![engine(&facts.engine), memory(&facts.engine)];
    findings.extend(facts.room.as_ref().map(room));
    findings.push(volumes(&facts.facilities));
    findings.push(images(&facts.images));
    findings.extend(facts.silent.iter().map(|(substrate, why)| {
        Finding::of(
            Weight::Trouble,
            format!("the service of substrate {substrate} runs and does not answer: {why}"),
            format!("docker logs {}", substrate.container()),
        )
    }));
    findings.extend(leftovers(&facts.pieces));
    findings.extend(half_made(&facts.pieces));
    findings.extend(without_host(&facts.pieces));
    findings
}

fn engine(engine: &Engine) -> Finding {
    let Engine {
        version,
        storage,
        cgroup,
        ..
    } = engine;
    let what = format!("Docker {version}, storage driver {storage}, cgroup v{cgroup}");
    let mut numbers = version.split('.').map_while(|part| part.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Finding::fine(what),
        _ => Finding::of(
            Weight::Note,
            what,
            format!(
                "nothing older than {}.{} was tried: if machines fail to start, update it",
                OLDEST.0, OLDEST.1
            ),
        ),
    }
}

fn memory(engine: &Engine) -> Finding {
    let what = format!(
        "{} processors, {} of memory for everything in Docker",
        engine.cpus,
        gibibytes(engine.memory)
    );
    if engine.memory >= LITTLE_MEMORY {
        return Finding::fine(what);
    }
    Finding::of(
        Weight::Note,
        what,
        "give Docker more memory, or machines less: --memory 512m",
    )
}

fn room(room: &Room) -> Finding {
    let what = format!("{} free at {}", gibibytes(room.free), room.path);
    if room.free >= LITTLE_ROOM {
        return Finding::fine(what);
    }
    Finding::of(
        Weight::Trouble,
        what,
        "make room: `fake-substrate down --volumes` of what is not needed, `docker image prune`",
    )
}

fn volumes(there: &Facilities) -> Finding {
    let choice = Backend::choose(Wanted::Auto, None, there);
    match choice.because {
        None => Finding::fine(
            "machines can have disks that fork by sharing, and lose what a power cut or a lost host loses",
        ),
        Some(why) => Finding::of(
            Weight::Note,
            format!("machines get folders for volumes, since {why}"),
            "power-cut, flush, lose-host and rehome need disks: a Linux machine with Docker of its own",
        ),
    }
}

fn images(images: &[String]) -> Finding {
    if images.iter().any(|image| image == "beyond-postgres") {
        return Finding::fine(
            "the machine's image is built; `up` builds it anew when its sources change",
        );
    }
    Finding::of(
        Weight::Note,
        "the machine's image is not built",
        "`fake-substrate up` builds it, or `fake-substrate image build`",
    )
}

/// Of killed test runs.
fn leftovers(pieces: &[Piece]) -> Option<Finding> {
    let count = pieces.iter().filter(|piece| piece.orphaned).count();
    (count > 0).then(|| {
        Finding::of(
            Weight::Note,
            format!("{count} containers, networks and volumes are left over of test runs that were killed"),
            "the next run of the scenarios removes them",
        )
    })
}

/// A copy that was cut: it has a parent, and never had a machine.
fn half_made(pieces: &[Piece]) -> Vec<Finding> {
    let made = |substrate: &SubstrateName, machine: &str| {
        pieces.iter().any(|piece| {
            piece.kind == Kind::Container
                && piece.substrate == *substrate
                && matches!(&piece.purpose, Purpose::Machine { name, .. } if name == machine)
        })
    };
    let half = pieces.iter().filter_map(|piece| match &piece.purpose {
        Purpose::Volume {
            machine,
            parent: Some(parent),
            ..
        } if !piece.orphaned && !made(&piece.substrate, machine) => {
            Some((&piece.substrate, machine, parent))
        }
        _ => None,
    });
    half.map(|(substrate, machine, parent)| {
        Finding::of(
            Weight::Note,
            format!(
                "substrate {substrate}: {machine}, a fork of {parent}, has a volume and no machine: it was kept by `down`, or its fork was cut"
            ),
            format!(
                "`fake-substrate fork {parent} {machine}` makes a cut one anew, `fake-substrate add {machine}` takes a kept one up"
            ),
        )
    })
    .collect()
}

/// Machines that wait for another host.
fn without_host(pieces: &[Piece]) -> Vec<Finding> {
    let stands = |substrate: &SubstrateName, wanted: &str| {
        pieces.iter().any(|piece| {
            piece.substrate == *substrate
                && piece.kind == Kind::Volume
                && matches!(&piece.purpose, Purpose::Host { name } if name == wanted)
        })
    };
    let lost = pieces.iter().filter_map(|piece| match &piece.purpose {
        Purpose::Machine {
            name,
            host: Some(host),
        } if !stands(&piece.substrate, host) => Some((&piece.substrate, name, host)),
        _ => None,
    });
    lost.map(|(substrate, name, host)| {
        Finding::of(
            Weight::Note,
            format!("substrate {substrate}: {name} was lost with {host}"),
            format!("`fake-substrate --substrate {substrate} rehome {name}`"),
        )
    })
    .collect()
}

fn gibibytes(bytes: u64) -> String {
    format!("{}.{} GiB", bytes >> 30, ((bytes % (1 << 30)) * 10) >> 30)
}

#[cfg(test)]
mod tests;
