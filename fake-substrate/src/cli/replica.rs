//! A primary and its replicas: who is told what, and when.

use std::time::Duration;

use serde_json::json;

use crate::admin::{Metadata, MetadataPatch};
use crate::machine::metadata::replica;
use crate::machine::state::State;
use crate::machine::{Machine, View};
use crate::names::MachineName;
use crate::progress::Progress as _;
use crate::substrate::Substrate;

use super::{CliError, Site};

/// How long a primary may take to follow other names.
const ANSWER: Duration = Duration::from_secs(60);

/// Whom a new replica follows, and who the members are once it is one.
pub(super) struct Joining {
    primary: Machine,
    view: View,
    document: Metadata,
    members: Vec<String>,
}

impl Joining {
    /// Looks at the primary; changes nothing.
    pub(super) async fn of(
        site: &Site,
        substrate: &Substrate,
        replica: &MachineName,
        primary: &MachineName,
    ) -> Result<Joining, CliError> {
        let found = substrate.machine(primary).await?;
        let (machine, view) = found.ok_or_else(|| CliError::NoPrimary(primary.clone()))?;
        let document = machine.metadata().await?;
        if !replica::is_primary(&document) {
            return Err(CliError::NotAPrimary(primary.clone()));
        }
        let mut members = replica::members(&document);
        for name in [primary, replica] {
            let host = site.substrate.machine_container(name);
            if !members.contains(&host) {
                members.push(host);
            }
        }
        Ok(Joining {
            primary: machine,
            view,
            document,
            members,
        })
    }

    /// What the replica is told.
    pub(super) fn told(&self) -> Metadata {
        replica::of_replica_of(&self.document, &self.members)
    }

    /// Once the replica follows: commits of the primary wait for it, too, now and at its next boots.
    pub(super) async fn join(
        &self,
        site: &Site,
        substrate: &Substrate,
        replica: &Machine,
    ) -> Result<(), CliError> {
        let told = replica.metadata().await?;
        let instance = replica::instance_of(&told).unwrap_or_default();
        let change = replica::of_primary_with(&self.document, instance, &self.members);
        let names = replica::standbys(&change);
        let name = self.primary.name();
        // At run time first: names that were set are in force until the metadata names others than then.
        if self.view.state == State::Running {
            let request = json!({ "cmd": "set_sync_standbys", "names": names });
            let answer = substrate
                .admin()
                .rpc(name.as_str(), &request, ANSWER)
                .await?;
            if !answer.ok {
                let why = answer.error.unwrap_or_default();
                return Err(CliError::NotJoined {
                    primary: name.clone(),
                    why,
                });
            }
        }
        let patch: MetadataPatch = change
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .collect();
        substrate
            .admin()
            .patch_metadata(name.as_str(), &patch)
            .await?;
        site.progress.step(&format!(
            "Commits of {name} wait until any one of {} has them",
            names.join(", ")
        ));
        Ok(())
    }
}
