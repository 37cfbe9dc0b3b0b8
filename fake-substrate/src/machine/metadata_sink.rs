//! What a machine and the one that holds its WAL are told of each other.

use super::{
    Metadata, NoRandomness, PRIMARY_CONNINFO, REPLICATION_PASSWORD, TIER, WAL_SINK,
    generated_password,
};

const SINK: &str = "sink";

/// Whether a document makes a machine a sink.
pub fn is_sink(document: &Metadata) -> bool {
    document.get(TIER).is_some_and(|tier| tier == SINK)
}

/// What a new sink is told while nobody needs it yet.
pub fn of_new_sink() -> Result<Metadata, NoRandomness> {
    Ok(Metadata::from([
        (TIER.to_owned(), SINK.to_owned()),
        (REPLICATION_PASSWORD.to_owned(), generated_password()?),
    ]))
}

/// How a sink reaches its primary, which is found under that name.
pub fn of_sink_for(primary: &str) -> (String, String) {
    let port = wire::ports::DIRECT;
    let conninfo = format!("host={primary} port={port}");
    (PRIMARY_CONNINFO.to_owned(), conninfo)
}

/// The primary that a sink was told of, if any.
pub fn conninfo_of(document: &Metadata) -> Option<&str> {
    document.get(PRIMARY_CONNINFO).map(String::as_str)
}

/// What the primary is told of a sink with that document, which is found under that name.
pub fn of_primary_with(sink: &str, document: &Metadata) -> Metadata {
    let port = wire::ports::SINK;
    let mut told = Metadata::from([(WAL_SINK.to_owned(), format!("{sink}:{port}"))]);
    if let Some(password) = document.get(REPLICATION_PASSWORD) {
        told.insert(REPLICATION_PASSWORD.to_owned(), password.clone());
    }
    told
}

/// The sink that a machine was told of, as `host:port`.
pub fn sink_of(document: &Metadata) -> Option<&str> {
    document.get(WAL_SINK).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_and_its_sink_know_each_other_and_one_password() {
        let mut sink = of_new_sink().unwrap();
        assert!(is_sink(&sink));
        assert_eq!(conninfo_of(&sink), None);
        sink.extend([of_sink_for("fs-db")]);
        assert_eq!(conninfo_of(&sink), Some("host=fs-db port=5433"));
        let primary = of_primary_with("fs-sink", &sink);
        assert!(!is_sink(&primary));
        assert_eq!(sink_of(&primary), Some("fs-sink:5434"));
        assert_eq!(primary[REPLICATION_PASSWORD], sink[REPLICATION_PASSWORD]);
    }
}
