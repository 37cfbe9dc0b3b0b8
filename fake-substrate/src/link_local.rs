//! Addresses on a substrate's own 169.254.0.0/16 (substrate.md A, option 1).
//!
//! Docker hands these out on request and never notices a duplicate, so the substrate allocates
//! them: a machine's address is its identity towards the metadata service.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const fn machine(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(169, 254, 10, number)
}

const fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(169, 254, 11, number)
}

/// Every address of the machines' or of the hosts' range is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "all 254 addresses for {0} of this substrate are taken\nHINT: remove some, or use a second substrate with --substrate NAME"
)]
pub struct Exhausted(&'static str);

/// The lowest address that no machine has. Lowest rather than next: a substrate that lives long
/// must not run out because machines came and went.
pub fn lowest_free(taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, Exhausted> {
    (1..=254)
        .map(machine)
        .find(|address| !taken.contains(address))
        .ok_or(Exhausted("machines"))
}

/// The lowest address that no host has: a range of their own, so that no machine is ever taken for one.
pub fn lowest_free_for_host(taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, Exhausted> {
    (1..=254)
        .map(host)
        .find(|address| !taken.contains(address))
        .ok_or(Exhausted("hosts"))
}

#[cfg(test)]
mod tests {
    use super::{Exhausted, lowest_free, machine};
    use std::collections::BTreeSet;

    #[test]
    fn a_gap_is_filled_before_the_range_grows() {
        assert_eq!(lowest_free(&BTreeSet::new()), Ok(machine(1)));
        assert_eq!(
            lowest_free(&BTreeSet::from([machine(1), machine(3)])),
            Ok(machine(2))
        );
    }

    #[test]
    fn the_whole_range_is_used_and_then_refused() {
        let mut taken: BTreeSet<_> = (1..=253).map(machine).collect();
        assert_eq!(lowest_free(&taken), Ok(machine(254)));
        taken.insert(machine(254));
        assert_eq!(lowest_free(&taken), Err(Exhausted("machines")));
    }
}
