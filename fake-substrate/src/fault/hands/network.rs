//! Partitions: rules in the network namespaces of the containers that are cut off.
//!
//! No machine is given a privilege for it. A container that shares the machine's namespace, has
//! NET_ADMIN there and nothing else, changes the rules and is gone. Both sides refuse what comes from
//! the other, so whichever of the two starts anew finds the other's rules in place.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use futures_util::future::try_join_all;

use crate::docker::{ContainerSpec, Observed};
use crate::fault::packets::{self, Member};
use crate::labels;
use crate::lock::SubstrateLock;
use crate::machine::state::State;
use crate::progress::Quiet;
use crate::substrate::machine_containers;

use super::oneshot::Ended;
use super::{FaultError, Hands, Party, partitions};

impl Hands {
    /// Brings the rules of those in line with what stands. One that is off has none, and gets them when
    /// it starts.
    pub(super) async fn settle_network(&self, whom: &BTreeSet<Party>) -> Result<(), FaultError> {
        // Two that settle at once must not undo each other: the later one knows more.
        let _lock = SubstrateLock::take(&self.substrate, &Quiet).await?;
        let standing = self.admin.faults().await?;
        let cuts: Vec<_> = partitions(&standing).cloned().collect();
        let Some(service) = self.service().await? else {
            return Ok(());
        };
        let image = service.image_id.clone();
        let machines = machine_containers(&self.docker, &self.substrate).await?;
        let there: Vec<_> = machines
            .into_iter()
            .chain([service])
            .filter_map(|container| Some((self.member(&container)?, container)))
            .collect();
        let members: Vec<_> = there.iter().map(|(member, _)| member.clone()).collect();
        let concerned = there.iter().filter(|(member, container)| {
            let runs = matches!(container.state, State::Running | State::Paused);
            runs && whom.iter().any(|party| party.means(&member.party))
        });
        let settling = concerned.map(|(member, container)| {
            let lost = packets::lost_at(&member.party, &cuts, &members);
            self.set_rules(&image, member, container, packets::rules(&lost))
        });
        try_join_all(settling).await.map(drop)
    }

    fn member(&self, container: &Observed) -> Option<Member> {
        let party = match container.labels.get(labels::MACHINE) {
            Some(machine) => Party::Machine(machine.clone()),
            None => Party::Service,
        };
        let link_local = match party {
            Party::Service => Some(wire::ports::METADATA_ADDR),
            _ => container
                .labels
                .get(labels::LINK_LOCAL)
                .and_then(|address| address.parse().ok()),
        };
        let by_docker = container.addresses.get(&self.substrate.network()).copied();
        let addresses: BTreeSet<Ipv4Addr> = link_local.into_iter().chain(by_docker).collect();
        Some(Member { party, addresses })
    }

    async fn set_rules(
        &self,
        image: &str,
        member: &Member,
        container: &Observed,
        rules: String,
    ) -> Result<(), FaultError> {
        let spec = ContainerSpec {
            image: image.to_owned(),
            entrypoint: Some(vec!["nft".to_owned(), rules]),
            capabilities: vec!["NET_ADMIN".to_owned()],
            network_of: Some(container.id.clone()),
            ..ContainerSpec::default()
        };
        let what = String::from(member.party.clone());
        match self.run_once(&what, spec).await? {
            Ended::Done => Ok(()),
            Ended::Failed(why) => Err(FaultError::Rules {
                whom: member.party.to_string(),
                why,
            }),
        }
    }
}
