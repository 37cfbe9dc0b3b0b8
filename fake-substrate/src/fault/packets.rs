//! Whose packets are lost at whose door, as rules for nftables. Pure.
//!
//! What somebody sends is lost where it arrives, before anything of that network namespace sees it:
//! in `prerouting`, ahead of connection tracking. Not where it is sent: there a drop is an error to
//! the sender of a datagram, and a network that is cut says nothing.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{Partition, Party};

/// Somebody on the substrate's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) party: Party,
    /// The link-local one and Docker's; a packet may come from either.
    pub(crate) addresses: BTreeSet<Ipv4Addr>,
}

/// From which addresses nothing arrives at `at`.
pub(crate) fn lost_at(
    at: &Party,
    partitions: &[Partition],
    members: &[Member],
) -> BTreeSet<Ipv4Addr> {
    let cut_off = |member: &&Member| {
        let mut partitions = partitions.iter();
        partitions.any(|partition| partition.loses(&member.party, at))
    };
    let cut_off = members.iter().filter(cut_off);
    cut_off
        .flat_map(|member| &member.addresses)
        .copied()
        .collect()
}

/// What nft is told: the table is replaced as a whole, in one transaction, so that it may be told again
/// and again.
pub(crate) fn rules(lost: &BTreeSet<Ipv4Addr>) -> String {
    // Deleting what is not there is an error; naming a table makes it.
    let none = "table ip beyond-faults; delete table ip beyond-faults";
    if lost.is_empty() {
        return none.to_owned();
    }
    let lost: Vec<_> = lost.iter().map(Ipv4Addr::to_string).collect();
    let lost = lost.join(", ");
    format!(
        "{none}; table ip beyond-faults {{ chain arriving {{ type filter hook prerouting priority raw; \
         ip saddr {{ {lost} }} drop; }}; }}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, last: u8) -> Member {
        let addresses = [
            Ipv4Addr::new(169, 254, 10, last),
            Ipv4Addr::new(172, 18, 0, last),
        ];
        Member {
            party: name.to_owned().into(),
            addresses: addresses.into(),
        }
    }

    fn between(from: &str, to: &str, one_way: bool) -> Partition {
        Partition {
            from: from.to_owned().into(),
            to: to.to_owned().into(),
            one_way,
        }
    }

    fn lost(at: &str, partitions: &[Partition]) -> Vec<u8> {
        let members = [
            member("db", 1),
            member("standby", 2),
            member("service", 254),
        ];
        let lost = lost_at(&at.to_owned().into(), partitions, &members);
        lost.into_iter()
            .map(|address| address.octets()[3])
            .collect()
    }

    #[test]
    fn each_side_loses_both_addresses_of_the_other() {
        let cut = [between("db", "standby", false)];
        assert_eq!(lost("db", &cut), [2, 2]);
        assert_eq!(lost("standby", &cut), [1, 1]);
        assert!(lost("service", &cut).is_empty());
    }

    #[test]
    fn one_way_is_lost_where_it_arrives() {
        let cut = [between("db", "service", true)];
        assert_eq!(lost("service", &cut), [1, 1]);
        assert!(lost("db", &cut).is_empty());
    }

    #[test]
    fn two_partitions_add_up_and_isolation_is_from_everybody() {
        let cut = [
            between("db", "standby", false),
            between("service", "db", true),
        ];
        assert_eq!(lost("db", &cut), [2, 254, 2, 254]);
        assert_eq!(
            lost("db", &[between("db", "everything", false)]),
            [2, 254, 2, 254]
        );
        assert_eq!(
            lost("standby", &[between("db", "everything", false)]),
            [1, 1]
        );
    }

    #[test]
    fn the_table_is_replaced_or_gone() {
        let lost = [Ipv4Addr::new(169, 254, 10, 1), Ipv4Addr::new(172, 18, 0, 3)];
        assert_eq!(
            rules(&lost.into()),
            "table ip beyond-faults; delete table ip beyond-faults; table ip beyond-faults \
             { chain arriving { type filter hook prerouting priority raw; \
             ip saddr { 169.254.10.1, 172.18.0.3 } drop; }; }"
        );
        assert_eq!(
            rules(&BTreeSet::new()),
            "table ip beyond-faults; delete table ip beyond-faults"
        );
    }
}
