//! What is broken on purpose, and for how long.
//!
//! A fault is a value; it stands from [`Faults::add`] until it is used up or cleared, and each of
//! the two is one line in the substrate's log, under the clock of every other line there. Faults
//! are kept in memory: they end with the process.
//!
//! ```text
//! book.rs       which faults stand, counts, the two lines      in the substrate's process
//! clock.rs partition.rs volume.rs   what each is               core
//! packets.rs    whose packets are lost at whose door           core
//! hands/        rules in a network namespace, ballast, what block stores are told          hands: wherever Docker is
//! guard.rs      heals on drop
//! ```
//!
//! Two ways to ask: a fault that is about single requests is struck ([`Faults::strike`]) and
//! counts; one that is a condition (a link that is stalled, a clock that is off) is looked at
//! ([`Faults::find`]) by whoever behaves accordingly. What the process cannot do, since it has no
//! Docker, is carried out by whoever asked for it ([`Seat`]).

mod book;
mod clock;
mod guard;
pub(crate) mod hands;
pub(crate) mod packets;
mod partition;
mod volume;

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::link::fault::{LinkFault, LinkTrouble};
use crate::mmds::fault::MmdsFault;
use crate::s3::faults::S3Fault;

pub use book::{Faults, NoSuchFault, Numbered};
pub use clock::{ClockFault, InvalidOffset, Offset};
pub use guard::Guard;
pub use hands::FaultError;
pub use partition::{Partition, Party};
pub use volume::{VolumeFault, VolumeTrouble};

/// Something that is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Object storage, for the requests that match.
    S3(S3Fault),
    /// A machine's metadata service.
    Mmds(MmdsFault),
    /// The host's end of a machine's link.
    Link(LinkFault),
    /// The network between two.
    Partition(Partition),
    /// The clock of the substrate's services.
    Clock(ClockFault),
    /// A machine's volume.
    Volume(VolumeFault),
}

/// Who breaks it and heals it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// The substrate's own process.
    Process,
    /// Whoever has Docker: the process only keeps the book.
    Host,
}

impl Fault {
    /// Whether it can be.
    pub fn check(&self) -> Result<(), ImpossibleFault> {
        match self {
            Self::S3(fault) => fault.check(),
            Self::Mmds(fault) => fault.check(),
            Self::Partition(fault) => fault.check(),
            Self::Clock(fault) => fault.check(),
            Self::Volume(fault) => fault.check(),
            Self::Link(_) => Ok(()),
        }
    }

    /// Who carries it out.
    pub const fn seat(&self) -> Seat {
        match self {
            Self::S3(_) | Self::Mmds(_) | Self::Link(_) | Self::Clock(_) => Seat::Process,
            Self::Partition(_) | Self::Volume(_) => Seat::Host,
        }
    }

    /// Whether it meets single requests or connections, which can be counted.
    const fn is_counted(&self) -> bool {
        match self {
            Self::S3(_) | Self::Mmds(_) => true,
            Self::Link(fault) => matches!(fault.trouble, LinkTrouble::Refused),
            Self::Partition(_) | Self::Clock(_) | Self::Volume(_) => false,
        }
    }
}

/// A fault that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImpossibleFault(pub &'static str);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3(fault) => write!(f, "s3 {fault}"),
            Self::Mmds(fault) => write!(f, "mmds {fault}"),
            Self::Link(fault) => write!(f, "link {fault}"),
            Self::Partition(fault) => write!(f, "partition {fault}"),
            Self::Clock(fault) => write!(f, "clock {fault}"),
            Self::Volume(fault) => write!(f, "volume {fault}"),
        }
    }
}

/// `POST /faults`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFault {
    /// What breaks.
    pub fault: Fault,
    /// How often, before it ends by itself; until it is cleared when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<NonZeroU32>,
    /// Whoever asks has Docker and does it; wanted where the process cannot, see [`Seat::Host`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub caller_carries_out: bool,
}

impl NewFault {
    /// Until it is cleared.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            times: None,
            caller_carries_out: false,
        }
    }

    /// Only so often; 0 is until it is cleared.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = NonZeroU32::new(times);
        self
    }

    /// Whether it can be.
    pub fn check(&self) -> Result<(), ImpossibleFault> {
        self.fault.check()?;
        if self.times.is_some() && !self.fault.is_counted() {
            return Err(ImpossibleFault(
                "this is a condition, not something that happens so many times",
            ));
        }
        Ok(())
    }
}

/// A fault that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// What it is cleared by.
    pub id: u32,
    /// What is broken.
    pub fault: Fault,
    /// Since when, in milliseconds of the Unix epoch.
    pub since_unix_ms: u64,
    /// How often it has struck.
    pub struck: u32,
    /// How often it will yet; `None` is until it is cleared.
    pub remaining: Option<u32>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mmds::fault::MmdsTrouble;

    /// The shapes that docs/faults.md gives for use by hand.
    #[test]
    fn the_shapes_over_http_are_fixed() {
        for (shape, told) in [
            (
                json!({"mmds": {"machine": "db", "trouble": "silent"}}),
                "mmds silent for db",
            ),
            (
                json!({"mmds": {"machine": "db", "trouble": {"slow": {"ms": 1500}}}}),
                "mmds slow by 1500 ms for db",
            ),
            (
                json!({"mmds": {"machine": "db", "trouble": {"garbage": {"text": "<html>"}}}}),
                "mmds garbage of 6 bytes for db",
            ),
            (
                json!({"mmds": {"machine": "db", "trouble": {"garbage": {"base64": "/3s="}}}}),
                "mmds garbage of 2 bytes for db",
            ),
            (
                json!({"link": {"machine": "db", "trouble": "stalled"}}),
                "link stalled for db",
            ),
            (
                json!({"partition": {"from": "db", "to": "service", "one_way": true}}),
                "partition of what db sends to the service",
            ),
            (
                json!({"partition": {"from": "db", "to": "everything"}}),
                "partition between db and everything",
            ),
            (json!({"clock": {"offset_ms": -90000}}), "clock off by -90s"),
            (
                json!({"volume": {"machine": "db", "trouble": {"full": {"leave": 1048576}}}}),
                "volume full but for 1048576 bytes for db",
            ),
            (
                json!({"volume": {"machine": "db", "trouble": {"disk": {"on": "writes", "verdict": "fail"}}}}),
                "volume writes fail for db",
            ),
            (
                json!({"volume": {"machine": "db", "trouble": {"disk": {"on": "flushes", "verdict": "fail", "times": 3}}}}),
                "volume next 3 flushes fail for db",
            ),
            (
                json!({"volume": {"machine": "db", "trouble": {"disk": {"on": "reads", "verdict": {"delay": {"ms": 500}}}}}}),
                "volume reads late by 500 ms for db",
            ),
        ] {
            let fault: Fault = serde_json::from_value(shape.clone()).expect("its own shape");
            assert_eq!(fault.to_string(), told);
            assert_eq!(serde_json::to_value(&fault).expect("JSON"), shape);
            assert_eq!(fault.check(), Ok(()), "{told}");
        }
    }

    #[test]
    fn what_happens_is_counted_and_a_condition_is_not() {
        let mmds = |trouble| {
            Fault::Mmds(MmdsFault {
                machine: "db".to_owned(),
                trouble,
            })
        };
        let link = |trouble| {
            Fault::Link(LinkFault {
                machine: "db".to_owned(),
                trouble,
            })
        };
        for (fault, counted) in [
            (mmds(MmdsTrouble::Silent), true),
            (link(LinkTrouble::Refused), true),
            (link(LinkTrouble::Stalled), false),
            (
                Fault::Clock(ClockFault {
                    offset_ms: Offset::from_ms(1000),
                }),
                false,
            ),
        ] {
            let new = NewFault::new(fault).times(3);
            assert_eq!(new.check().is_ok(), counted, "{new:?}");
        }
    }
}
