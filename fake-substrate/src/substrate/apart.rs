//! Two copies on one host are lost together: where a machine goes whose sink, primary or replica is somewhere.

use std::collections::BTreeSet;

use crate::admin::Metadata;
use crate::hosts::Hosts;
use crate::machine::Machine;
use crate::machine::metadata::sink;
use crate::names::HostName;

use super::{Substrate, SubstrateError, views};

impl Substrate {
    /// The host for a lost machine that nobody has chosen one for. `None`: any will do.
    pub(super) async fn apart_from_its_others(
        &self,
        machine: &Machine,
    ) -> Result<Option<HostName>, SubstrateError> {
        let document = machine.metadata().await?;
        let others = others_in(&document);
        let views = views(&self.docker, &self.name).await?;
        let mut taken = BTreeSet::new();
        let mut of_machines = BTreeSet::new();
        for view in &views {
            let Some(host) = view.disk.host() else {
                continue;
            };
            let address = self.name.machine_container(&view.name);
            if view.name != *machine.name() && others.contains(&address.as_str()) {
                taken.insert(host.clone());
            }
            of_machines.insert(host.clone());
        }
        let there = Hosts::of(&self.docker, &self.name).names().await?;
        Ok(apart_from(&taken, &there, &of_machines))
    }
}

/// Under which addresses a machine knows those that hold what it acknowledges, or whose acknowledgements it holds.
fn others_in(document: &Metadata) -> BTreeSet<&str> {
    let sink = sink::sink_of(document).and_then(|address| address.rsplit_once(':'));
    let conninfo = sink::conninfo_of(document).unwrap_or_default();
    let members = conninfo
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("host="))
        .flat_map(|hosts| hosts.split(','));
    sink.map(|(host, _port)| host)
        .into_iter()
        .chain(members)
        .collect()
}

/// One that is there and not taken, or the first number that nobody has, lost machines included.
fn apart_from(
    taken: &BTreeSet<HostName>,
    there: &BTreeSet<HostName>,
    of_machines: &BTreeSet<HostName>,
) -> Option<HostName> {
    if taken.is_empty() {
        return None;
    }
    let free = there.difference(taken).next().cloned();
    let new = || {
        let mut numbered = (1..).map(HostName::numbered);
        numbered.find(|host| !there.contains(host) && !of_machines.contains(host))
    };
    free.or_else(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts<const N: usize>(numbers: [usize; N]) -> BTreeSet<HostName> {
        numbers.into_iter().map(HostName::numbered).collect()
    }

    #[test]
    fn a_machine_knows_its_others_by_its_settings() {
        let document =
            |key: &str, value: &str| Metadata::from([(key.to_owned(), value.to_owned())]);
        let primary = document("BEYOND_PG_WAL_SINK", "fs-sink:5434");
        assert_eq!(others_in(&primary), BTreeSet::from(["fs-sink"]));
        let member = document("BEYOND_PG_PRIMARY_CONNINFO", "host=a,b port=5433,5433");
        assert_eq!(others_in(&member), BTreeSet::from(["a", "b"]));
        assert_eq!(others_in(&Metadata::new()), BTreeSet::new());
    }

    #[test]
    fn it_comes_to_no_host_that_would_take_its_other_copy_along() {
        let elsewhere = |taken, there, of_machines| apart_from(&taken, &there, &of_machines);
        let host = HostName::numbered;
        assert_eq!(elsewhere(hosts([]), hosts([2]), hosts([1, 2])), None);
        assert_eq!(
            elsewhere(hosts([2]), hosts([2, 4]), hosts([1, 2, 4])),
            Some(host(4))
        );
        // The first one is gone, with this machine on it.
        assert_eq!(
            elsewhere(hosts([2]), hosts([2]), hosts([1, 2])),
            Some(host(3))
        );
    }
}
