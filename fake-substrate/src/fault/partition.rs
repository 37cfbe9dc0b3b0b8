//! A network that is cut: packets between two vanish, without a word to either. Pure.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ImpossibleFault;

/// Nothing of what one sends arrives at the other; nor the other way, unless that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// One side.
    pub from: Party,
    /// The other.
    pub to: Party,
    /// Only what `from` sends is lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
}

/// Who can be cut off.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Party {
    /// The machine of that name.
    Machine(String),
    /// 169.254.169.254: metadata, the link, object storage.
    Service,
    /// Every other machine, those to come included, and the service.
    Everything,
}

const SERVICE: &str = "service";
const EVERYTHING: &str = "everything";

impl From<String> for Party {
    fn from(name: String) -> Self {
        match name.as_str() {
            SERVICE => Self::Service,
            EVERYTHING => Self::Everything,
            _ => Self::Machine(name),
        }
    }
}

impl From<Party> for String {
    fn from(party: Party) -> Self {
        match party {
            Party::Machine(name) => name,
            Party::Service => SERVICE.to_owned(),
            Party::Everything => EVERYTHING.to_owned(),
        }
    }
}

impl FromStr for Party {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(name.to_owned().into())
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(name) => f.write_str(name),
            Self::Service => f.write_str("the service"),
            Self::Everything => f.write_str(EVERYTHING),
        }
    }
}

impl Party {
    /// Its name, where it is one machine.
    pub fn machine(&self) -> Option<&str> {
        match self {
            Self::Machine(name) => Some(name),
            Self::Service | Self::Everything => None,
        }
    }

    /// Whether that one is meant.
    pub(crate) fn means(&self, who: &Self) -> bool {
        *self == Self::Everything || self == who
    }
}

impl Partition {
    pub(crate) fn check(&self) -> Result<(), ImpossibleFault> {
        match (&self.from, &self.to) {
            (from, to) if from == to => Err(ImpossibleFault("nothing can be cut off from itself")),
            (Party::Everything, Party::Service) | (Party::Service, Party::Everything) => Err(
                ImpossibleFault("cut off one machine after the other from the service"),
            ),
            _ => Ok(()),
        }
    }

    /// Whether what one sends to the other is lost.
    pub(crate) fn loses(&self, sent_by: &Party, to: &Party) -> bool {
        let lost = |from: &Party, at: &Party| from.means(sent_by) && at.means(to);
        sent_by != to && (lost(&self.from, &self.to) || !self.one_way && lost(&self.to, &self.from))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, one_way } = self;
        match one_way {
            true => write!(f, "of what {from} sends to {to}"),
            false => write!(f, "between {from} and {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Partition, Party};

    fn cut(from: &str, to: &str, one_way: bool) -> Partition {
        let party = |name: &str| Party::from(name.to_owned());
        Partition {
            from: party(from),
            to: party(to),
            one_way,
        }
    }

    fn loses(partition: &Partition, sent_by: &str, to: &str) -> bool {
        partition.loses(&sent_by.to_owned().into(), &to.to_owned().into())
    }

    #[test]
    fn a_partition_loses_what_its_two_sides_send_and_nothing_else() {
        let both = cut("db", "standby", false);
        assert!(loses(&both, "db", "standby") && loses(&both, "standby", "db"));
        assert!(!loses(&both, "db", "other") && !loses(&both, "db", "service"));
        let one = cut("db", "service", true);
        assert!(loses(&one, "db", "service") && !loses(&one, "service", "db"));
    }

    #[test]
    fn an_isolated_machine_meets_nobody_and_the_others_meet_each_other() {
        let isolated = cut("db", "everything", false);
        for other in ["standby", "one-to-come", "service"] {
            assert!(loses(&isolated, "db", other) && loses(&isolated, other, "db"));
        }
        assert!(!loses(&isolated, "db", "db"), "it is still itself");
        assert!(!loses(&isolated, "standby", "service"));
    }

    #[test]
    fn nothing_is_cut_off_from_itself() {
        for (from, to) in [
            ("db", "db"),
            ("service", "service"),
            ("everything", "service"),
            ("everything", "everything"),
        ] {
            assert!(cut(from, to, false).check().is_err(), "{from} {to}");
        }
        assert_eq!(cut("db", "everything", false).check(), Ok(()));
    }
}
