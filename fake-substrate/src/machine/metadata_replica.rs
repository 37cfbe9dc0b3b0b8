//! What a primary and its replicas are told of each other.

use super::{
    INSTANCE_ID, Metadata, NoRandomness, PASSWORD, PRIMARY_CONNINFO, REPLICATION_PASSWORD,
    SYNC_STANDBYS, TIER, generated_password,
};

const PRIMARY: &str = "primary";
const REPLICA: &str = "replica";

/// Whether a document makes a machine a primary.
pub fn is_primary(document: &Metadata) -> bool {
    document.get(TIER).is_some_and(|tier| tier == PRIMARY)
}

/// Whether a document makes a machine a replica.
pub fn is_replica(document: &Metadata) -> bool {
    document.get(TIER).is_some_and(|tier| tier == REPLICA)
}

/// What a new primary is told while nobody follows it yet.
pub fn of_new_primary() -> Result<Metadata, NoRandomness> {
    Ok(Metadata::from([
        (TIER.to_owned(), PRIMARY.to_owned()),
        (REPLICATION_PASSWORD.to_owned(), generated_password()?),
    ]))
}

/// What a replica is told that follows a primary with that document: both have one superuser, since a
/// replica's roles are its primary's, and know the members of the cluster by the same line.
pub fn of_replica_of(primary: &Metadata, members: &[String]) -> Metadata {
    let mut told = Metadata::from([
        (TIER.to_owned(), REPLICA.to_owned()),
        (PRIMARY_CONNINFO.to_owned(), conninfo(members)),
    ]);
    for key in [PASSWORD, REPLICATION_PASSWORD] {
        if let Some(value) = primary.get(key) {
            told.insert(key.to_owned(), value.clone());
        }
    }
    told
}

/// What changes for a primary with that document when the replica of that instance follows it.
pub fn of_primary_with(primary: &Metadata, replica: &str, members: &[String]) -> Metadata {
    let mut names = standbys(primary);
    if !names.iter().any(|name| name == replica) {
        names.push(replica.to_owned());
    }
    Metadata::from([
        (SYNC_STANDBYS.to_owned(), names.join(",")),
        (PRIMARY_CONNINFO.to_owned(), conninfo(members)),
    ])
}

/// Whom a primary's commits wait for, by its document.
pub fn standbys(primary: &Metadata) -> Vec<String> {
    let names = primary.get(SYNC_STANDBYS).map_or("", String::as_str);
    let names = names.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The members that a document names.
pub fn members(document: &Metadata) -> Vec<String> {
    let conninfo = document.get(PRIMARY_CONNINFO).map_or("", String::as_str);
    let hosts = conninfo
        .split(' ')
        .find_map(|pair| pair.strip_prefix("host="));
    let hosts = hosts.unwrap_or_default().split(',');
    hosts
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The instance that a document makes a machine.
pub fn instance_of(document: &Metadata) -> Option<&str> {
    document.get(INSTANCE_ID).map(String::as_str)
}

fn conninfo(members: &[String]) -> String {
    let ports = vec![wire::ports::DIRECT.to_string(); members.len()].join(",");
    format!("host={} port={ports}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_cluster_know_each_other_by_one_line() {
        let mut primary = of_new_primary().unwrap();
        primary.insert(PASSWORD.to_owned(), "superuser".to_owned());
        assert!(is_primary(&primary) && members(&primary).is_empty());
        let all = ["fs-db".to_owned(), "fs-one".to_owned()];
        let replica = of_replica_of(&primary, &all);
        assert!(is_replica(&replica) && !is_primary(&replica));
        assert_eq!(replica[PASSWORD], "superuser");
        assert_eq!(replica[REPLICATION_PASSWORD], primary[REPLICATION_PASSWORD]);
        primary.extend(of_primary_with(&primary, "i-1", &all));
        assert_eq!(primary[PRIMARY_CONNINFO], replica[PRIMARY_CONNINFO]);
        assert_eq!(
            primary[PRIMARY_CONNINFO],
            "host=fs-db,fs-one port=5433,5433"
        );
        assert_eq!(members(&primary), all);
        assert_eq!(standbys(&primary), ["i-1"]);
        primary.extend(of_primary_with(&primary, "i-2", &all));
        primary.extend(of_primary_with(&primary, "i-2", &all));
        assert_eq!(standbys(&primary), ["i-1", "i-2"]);
    }
}
