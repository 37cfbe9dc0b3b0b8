//! Names that a person gives, and every Docker name that follows from them.
//!
//! Docker is the only place that remembers anything, and its names are one flat space for all
//! substrates. `.` never occurs in a name given by a person, so `beyond-a.b` can only be machine
//! `b` of substrate `a`, and two substrates never meet.

use std::fmt;
use std::str::FromStr;

/// Longer names would not fit the 63 bytes of a DNS label once the prefix stands before them.
const LONGEST: usize = 40;

/// A name that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} cannot name a {what}\nHINT: use 1 to {LONGEST} lower-case letters, digits and inner hyphens, such as db-2"
)]
pub struct InvalidName {
    given: String,
    what: &'static str,
}

pub(crate) fn checked(given: &str, what: &'static str) -> Result<String, InvalidName> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let usable = (1..=LONGEST).contains(&given.len())
        && given.chars().all(plain)
        && !given.starts_with('-')
        && !given.ends_with('-');
    if usable {
        Ok(given.to_owned())
    } else {
        Err(InvalidName {
            given: given.to_owned(),
            what,
        })
    }
}

/// Which substrate: several run side by side on one Docker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubstrateName(String);

impl SubstrateName {
    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bridge that its machines and its metadata service share.
    pub fn network(&self) -> String {
        format!("beyond-{self}")
    }

    /// The container that holds 169.254.169.254.
    pub fn container(&self) -> String {
        format!("beyond-{self}")
    }

    /// What that container remembers: the metadata documents.
    pub fn state_volume(&self) -> String {
        format!("beyond-{self}")
    }

    /// The container that plays one machine.
    pub fn machine_container(&self, machine: &MachineName) -> String {
        format!("beyond-{self}.{machine}")
    }

    /// The volume that plays that machine's `vdb`, or stands for it where a host's block store has it.
    pub fn machine_volume(&self, machine: &MachineName) -> String {
        format!("beyond-{self}.{machine}")
    }

    /// The container of a host's block store.
    pub fn host_container(&self, host: &HostName) -> String {
        format!("beyond-{self}.{host}.host")
    }

    /// That host's own disk: lost with it.
    pub fn host_disk(&self, host: &HostName) -> String {
        format!("beyond-{self}.{host}.host")
    }
}

impl FromStr for SubstrateName {
    type Err = InvalidName;

    fn from_str(given: &str) -> Result<Self, InvalidName> {
        checked(given, "substrate").map(Self)
    }
}

impl fmt::Display for SubstrateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which machine of a substrate. Also its host name, so that machines find each other by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineName(String);

impl MachineName {
    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that the platform's certificate is for.
    pub fn internal(&self) -> String {
        format!("{self}.internal")
    }
}

impl FromStr for MachineName {
    type Err = InvalidName;

    fn from_str(given: &str) -> Result<Self, InvalidName> {
        checked(given, "machine").map(Self)
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which host of a substrate: whose disk has a block volume, and what is lost together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the host with that number, where nobody chose one.
    pub fn numbered(number: usize) -> Self {
        Self(format!("host-{number}"))
    }
}

impl FromStr for HostName {
    type Err = InvalidName;

    fn from_str(given: &str) -> Result<Self, InvalidName> {
        checked(given, "host").map(Self)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{HostName, MachineName, SubstrateName};

    #[test]
    fn a_name_is_a_dns_label() {
        for good in ["db", "a", "db-2", "0", &"x".repeat(40)] {
            assert!(good.parse::<MachineName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-db",
            "db-",
            "Db",
            "d.b",
            "d_b",
            "d b",
            "dé",
            &"x".repeat(41),
        ] {
            assert!(bad.parse::<MachineName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_two_substrates_share_a_docker_name() {
        let substrate = |name: &str| name.parse::<SubstrateName>().unwrap();
        let machine = |name: &str| name.parse::<MachineName>().unwrap();
        let a = substrate("a").machine_container(&machine("b-c"));
        let b = substrate("a-b").machine_container(&machine("c"));
        assert_ne!(a, b);
        assert_ne!(
            substrate("a-b").container(),
            substrate("a").machine_container(&machine("b"))
        );
        let host = HostName::numbered(1);
        assert_ne!(
            substrate("a").host_container(&host),
            substrate("a").machine_container(&machine(host.as_str())),
            "a machine may be called like a host"
        );
    }

    #[test]
    fn a_refused_name_says_what_is_accepted() {
        let refused = "My DB".parse::<MachineName>().unwrap_err().to_string();
        assert_eq!(
            refused,
            "\"My DB\" cannot name a machine\nHINT: use 1 to 40 lower-case letters, digits and inner hyphens, such as db-2"
        );
    }
}
