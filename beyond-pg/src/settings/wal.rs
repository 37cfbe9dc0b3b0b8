//! Where WAL goes and where it comes back from: archive, sink, restore target.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::role::StandbyName;
use super::secret::Secret;
use crate::backup::record::Record;

/// The archive (B-008).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Archive {
    /// `beyond-pg archive` records that it was called and keeps nothing.
    Off,
    /// Segments go to an object store.
    S3(S3Target),
}

/// A bucket and how to get at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Target {
    pub(crate) bucket: String,
    /// Without leading or trailing slash; may be empty.
    pub(crate) prefix: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    /// None: the platform lends the machine an identity.
    pub(crate) keys: Option<S3Keys>,
}

/// Static or temporary keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Keys {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret,
    pub(crate) session_token: Option<Secret>,
}

/// An archive with base backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RestoreFrom {
    /// Its prefix is the folder of the instance.
    pub(crate) archive: S3Target,
    /// None: the newest that fits.
    pub(crate) backup: Option<String>,
}

/// `s3://bucket/prefix/INSTANCE[/backups/NAME]` as bucket, prefix and name.
pub(crate) fn parse_backup_url(url: &str) -> Option<(String, String, Option<String>)> {
    let (bucket, path) = parse_s3_url(url)?;
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [folder @ .., "backups", "latest"] => Some((bucket, folder.join("/"), None)),
        [folder @ .., "backups", name] => {
            let name = Record::is_name(name).then(|| (*name).to_owned())?;
            Some((bucket, folder.join("/"), Some(name)))
        }
        _ => Some((bucket, path, None)),
    }
}

/// `s3://bucket/prefix` as bucket and prefix.
pub(crate) fn parse_s3_url(url: &str) -> Option<(String, String)> {
    let (bucket, prefix) = match url.strip_prefix("s3://")?.split_once('/') {
        Some((bucket, prefix)) => (bucket, prefix.trim_matches('/')),
        None => (url.strip_prefix("s3://")?, ""),
    };
    let bucket_char =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    let accepted = (3..=63).contains(&bucket.len())
        && bucket.chars().all(bucket_char)
        && !prefix.contains(char::is_control)
        && !prefix.contains("//");
    accepted.then(|| (bucket.to_owned(), prefix.to_owned()))
}

/// The machine that holds a second copy of the WAL (B-006a).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sink {
    pub(crate) address: SinkAddress,
    pub(crate) policy: SinkPolicy,
    pub(crate) replication_password: Secret,
}

impl Sink {
    /// The name under which the sink must connect for its acknowledgement to count.
    pub(crate) const STANDBY: &'static str = "wal_sink";
}

/// `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SinkAddress {
    /// A name or an address; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl SinkAddress {
    /// Splits at the last colon; an IPv6 address wears brackets.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?;
                address
            }
            None => host,
        };
        let bracketed = text.starts_with('[');
        let name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let accepted = !host.is_empty() && (bracketed || host.chars().all(name_char));
        accepted.then(|| Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for SinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// What boot does when the sink cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SinkPolicy {
    /// Wait: the sink may hold acknowledged commits that this volume lost.
    Required,
    /// Start on what the volume has.
    Preferred,
}

impl SinkPolicy {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "required" => Some(Self::Required),
            "preferred" => Some(Self::Preferred),
            _ => None,
        }
    }
}

/// Where a restore ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RestoreTarget {
    /// ISO 8601 with its zone.
    Time(String),
    /// `X/X`.
    Lsn(String),
    /// A restore point.
    Name(String),
}

impl fmt::Display for RestoreTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "time {time}"),
            Self::Lsn(lsn) => write!(f, "LSN {lsn}"),
            Self::Name(name) => write!(f, "restore point {name}"),
        }
    }
}

impl RestoreTarget {
    /// A time that means the same moment whatever the server's `TimeZone` is.
    pub(crate) fn parse_time(text: &str) -> Option<Self> {
        is_zoned_time(text).then(|| Self::Time(text.to_owned()))
    }

    /// Two hexadecimal halves of at most 32 bits each, as Postgres prints an LSN.
    pub(crate) fn parse_lsn(text: &str) -> Option<Self> {
        let half = |half: &str| {
            (1..=8).contains(&half.len()) && half.chars().all(|c| c.is_ascii_hexdigit())
        };
        let (high, low) = text.split_once('/')?;
        (half(high) && half(low)).then(|| Self::Lsn(text.to_owned()))
    }

    /// As `pg_create_restore_point` accepts it.
    pub(crate) fn parse_name(text: &str) -> Option<Self> {
        let accepted = !text.is_empty() && text.len() <= 63 && !text.contains(char::is_control);
        accepted.then(|| Self::Name(text.to_owned()))
    }
}

/// `YYYY-MM-DD HH:MM[:SS[.fraction]]` with `Z` or an offset. Postgres would also take "yesterday"
/// and bare local times; a restore must not depend on when or where it is read.
fn is_zoned_time(text: &str) -> bool {
    let Some((date, rest)) = text.split_once([' ', 'T']) else {
        return false;
    };
    let zone_at = rest.find(['Z', '+', '-']);
    let Some((time, zone)) = zone_at.map(|at| rest.split_at(at)) else {
        return false;
    };
    let date: Vec<_> = date.split('-').collect();
    let time: Vec<_> = time.trim_end().split(':').collect();
    is_date(&date) && is_clock(&time) && is_zone(zone)
}

fn digits(text: &str, count: usize, range: std::ops::RangeInclusive<u32>) -> bool {
    text.len() == count
        && text.chars().all(|c| c.is_ascii_digit())
        && text.parse().is_ok_and(|number| range.contains(&number))
}

fn is_date(parts: &[&str]) -> bool {
    matches!(parts, [year, month, day]
        if digits(year, 4, 1970..=9999) && digits(month, 2, 1..=12) && digits(day, 2, 1..=31))
}

fn is_clock(parts: &[&str]) -> bool {
    let second = |text: &str| match text.split_once('.') {
        Some((whole, fraction)) => {
            digits(whole, 2, 0..=59)
                && (1..=6).contains(&fraction.len())
                && fraction.chars().all(|c| c.is_ascii_digit())
        }
        None => digits(text, 2, 0..=59),
    };
    match parts {
        [hour, minute] => digits(hour, 2, 0..=23) && digits(minute, 2, 0..=59),
        [hour, minute, rest] => {
            digits(hour, 2, 0..=23) && digits(minute, 2, 0..=59) && second(rest)
        }
        _ => false,
    }
}

fn is_zone(zone: &str) -> bool {
    let Some(offset) = zone.strip_prefix(['+', '-']) else {
        return zone == "Z";
    };
    match offset.split_once(':') {
        Some((hours, minutes)) => digits(hours, 2, 0..=15) && digits(minutes, 2, 0..=59),
        None => digits(offset, 2, 0..=15),
    }
}

/// Who this database is. On a fork it differs from the volume's stamp (contract 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstanceId(String);

impl InstanceId {
    /// Plain characters only: it becomes part of file names and archive prefixes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        let accepted = (1..=128).contains(&text.len()) && text.chars().all(plain);
        accepted.then(|| Self(text.to_owned()))
    }

    /// The id itself.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The `ANY 1 (…)` of these names: one of them must hold a commit before it is acknowledged.
/// Quoted, because a name with `-` is no bare identifier.
pub(crate) fn any_one_of(sink: bool, standbys: &[StandbyName]) -> Option<String> {
    let names = sink.then_some(Sink::STANDBY).into_iter();
    let names: Vec<_> = names
        .chain(standbys.iter().map(StandbyName::as_str))
        .map(|name| format!("\"{name}\""))
        .collect();
    (!names.is_empty()).then(|| format!("ANY 1 ({})", names.join(", ")))
}
