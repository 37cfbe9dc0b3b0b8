//! What machines' volumes are made of, and which it is when nobody says. Pure: the one place that
//! decides it.

use std::fmt;
use std::str::FromStr;

use crate::docker::Facilities;
use crate::docker::volume::Medium;
use crate::labels::{self, Labels};
use crate::machine::size::DiskSize;
use crate::names::HostName;

/// What a machine's volume is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A folder tree in a Docker volume. It promises what a process crash leaves: what was written is
    /// there, flushed or not. It has no host that could be lost, and a fork copies every byte.
    Copy,
    /// A disk of a host's block store (docs/volumes.md): it loses at a power cut what was not flushed,
    /// at the loss of its host what is not in object storage, and forks by sharing a map.
    Block,
}

/// What somebody wants of a machine's volume, when it has none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// Folders.
    Copy(Medium),
    /// A disk.
    Block {
        /// Its size.
        size: DiskSize,
        /// On which host; wherever there is one unless given.
        host: Option<HostName>,
    },
}

/// `--volumes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever Docker's machine offers.
    Auto,
    /// This, and an error where it cannot be.
    Just(Backend),
}

/// What is not a kind of volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of volume\nHINT: block, copy or auto")]
pub struct UnknownKind(String);

/// Which backend it is, and why not the other where somebody could wonder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub backend: Backend,
    /// Why machines get no disks although nobody asked for folders.
    pub because: Option<String>,
}

impl Backend {
    /// What labels say; without a word it is the one that was there first.
    pub fn of(labels: &Labels) -> Self {
        let label = labels.get(labels::BACKEND).map(String::as_str);
        match label {
            Some("block") => Self::Block,
            _ => Self::Copy,
        }
    }

    /// Decides for a new machine of a substrate that may remember a choice. A wish that is spelled out
    /// always wins: whether it can be is for Docker to say.
    pub fn choose(wanted: Wanted, remembered: Option<Self>, there: &Facilities) -> Choice {
        let just = |backend| Choice {
            backend,
            because: None,
        };
        match (wanted, remembered) {
            (Wanted::Just(backend), _) => just(backend),
            (Wanted::Auto, Some(backend)) => just(backend),
            (Wanted::Auto, None) => match missing(there) {
                None => just(Self::Block),
                Some(why) => Choice {
                    backend: Self::Copy,
                    because: Some(why),
                },
            },
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Block => "block",
        }
    }
}

impl Storage {
    /// What it is made of.
    pub const fn backend(&self) -> Backend {
        match self {
            Self::Copy(_) => Backend::Copy,
            Self::Block { .. } => Backend::Block,
        }
    }

    /// The host that was asked for.
    pub const fn host(&self) -> Option<&HostName> {
        match self {
            Self::Copy(_) => None,
            Self::Block { host, .. } => host.as_ref(),
        }
    }
}

/// What keeps Docker from giving containers disks.
fn missing(there: &Facilities) -> Option<String> {
    if there.system.contains("Docker Desktop") {
        return Some("Docker Desktop does not offer its devices".to_owned());
    }
    if !there.of_this_machine {
        return Some("Docker is not on this Linux machine".to_owned());
    }
    if there.remapped {
        return Some("Docker runs without root's rights".to_owned());
    }
    ["/dev/fuse", "/dev/loop-control"]
        .into_iter()
        .find(|device| !there.devices.contains(device))
        .map(|device| format!("there is no {device}"))
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Wanted {
    type Err = UnknownKind;

    fn from_str(given: &str) -> Result<Self, UnknownKind> {
        match given {
            "auto" => Ok(Self::Auto),
            "copy" => Ok(Self::Just(Backend::Copy)),
            "block" => Ok(Self::Just(Backend::Block)),
            _ => Err(UnknownKind(given.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Backend, Wanted};
    use crate::docker::Facilities;

    fn linux() -> Facilities {
        Facilities {
            system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            of_this_machine: true,
            remapped: false,
            devices: vec!["/dev/fuse", "/dev/loop-control"],
        }
    }

    #[test]
    fn a_linux_with_the_devices_gets_disks_and_everybody_else_is_told_why_not() {
        let auto = |there: &Facilities| Backend::choose(Wanted::Auto, None, there);
        assert_eq!(auto(&linux()).backend, Backend::Block);
        let lacking = [
            (
                Facilities {
                    system: "Docker Desktop".to_owned(),
                    ..linux()
                },
                "Docker Desktop does not offer its devices",
            ),
            (
                Facilities {
                    of_this_machine: false,
                    ..linux()
                },
                "Docker is not on this Linux machine",
            ),
            (
                Facilities {
                    remapped: true,
                    ..linux()
                },
                "Docker runs without root's rights",
            ),
            (
                Facilities {
                    devices: vec!["/dev/fuse"],
                    ..linux()
                },
                "there is no /dev/loop-control",
            ),
        ];
        for (there, why) in lacking {
            let choice = auto(&there);
            assert_eq!(choice.backend, Backend::Copy);
            assert_eq!(choice.because.as_deref(), Some(why));
        }
    }

    #[test]
    fn what_a_substrate_remembers_wins_over_what_there_is_and_a_wish_over_both() {
        let choose = |wanted, remembered| Backend::choose(wanted, remembered, &linux()).backend;
        assert_eq!(choose(Wanted::Auto, Some(Backend::Copy)), Backend::Copy);
        let block = Wanted::Just(Backend::Block);
        assert_eq!(choose(block, Some(Backend::Copy)), Backend::Block);
        let nothing = Facilities::default();
        let remembered = Some(Backend::Block);
        let choice = Backend::choose(Wanted::Auto, remembered, &nothing);
        assert_eq!((choice.backend, choice.because), (Backend::Block, None));
    }
}
