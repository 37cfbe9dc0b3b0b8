//! One pass over the document: reads what it can, notes every problem, decides at the end.

use super::conninfo::Conninfo;
use super::keys::{self, Key};
use super::problem::{Problem, Problems, Warning};
use super::role::{Role, StandbyName, Tier};
use super::secret::Secret;
use super::wal::{
    Archive, InstanceId, RestoreFrom, RestoreTarget, S3Keys, S3Target, Sink, SinkAddress,
    SinkPolicy, parse_backup_url, parse_s3_url,
};
use super::{LogShipping, Settings, Volume};
use crate::metadata::Metadata;

impl Settings {
    /// The settings of this document and what is odd about it, or everything that is wrong.
    pub(crate) fn from_metadata(doc: &Metadata) -> Result<(Self, Vec<Warning>), Problems> {
        let mut reading = Reading {
            doc,
            problems: doc.problems.clone(),
        };
        let password = reading.password();
        let instance_id = reading.parsed(&keys::INSTANCE_ID, InstanceId::parse);
        let role = reading.role(instance_id.as_ref());
        let sink = reading.sink();
        let database = reading.database();
        let volume = match reading.flag(&keys::EPHEMERAL) {
            Some(true) => Volume::Ephemeral,
            Some(false) | None => Volume::Durable,
        };
        let (archive, restore_from) = reading.archives();
        let restore = reading.restore(role.as_ref());
        let direct_listen = reading.direct_listen();
        let log_shipping = match reading.flag(&keys::LOG_VSOCK) {
            Some(false) => LogShipping::PassThrough,
            Some(true) | None => LogShipping::Auto,
        };
        let (Some(password), Some(role), true) = (password, role, reading.problems.is_empty())
        else {
            let asked = doc.source.phrase();
            return Err(Problems {
                asked,
                problems: reading.problems,
            });
        };
        let settings = Self {
            password,
            database,
            role,
            volume,
            archive,
            sink,
            restore,
            restore_from,
            instance_id,
            direct_listen,
            log_shipping,
        };
        let warnings = settings.warnings(doc);
        Ok((settings, warnings))
    }

    /// What is legal and probably not meant.
    fn warnings(&self, doc: &Metadata) -> Vec<Warning> {
        let mut warnings: Vec<_> = doc
            .values
            .keys()
            .filter_map(|name| stranger(name))
            .collect();
        let streams = self.sink.is_some() || self.role.tier() == Tier::Primary;
        if streams && self.volume == Volume::Ephemeral {
            warnings.push(Warning(format!(
                "{} is set on a volume that another machine is to hold a copy of; commits wait \
                 for that copy all the same",
                keys::EPHEMERAL.name
            )));
        }
        if streams && is_loopback(&self.direct_listen) {
            warnings.push(Warning(format!(
                "Postgres listens on {} alone, so no replica or sink can reach it. HINT: set {}",
                self.direct_listen,
                keys::DIRECT_LISTEN.name
            )));
        }
        warnings
    }
}

/// A key that we do not read although its author must think so.
fn stranger(name: &str) -> Option<Warning> {
    if let Some((_, why)) = keys::FOREIGN.iter().find(|(foreign, _)| *foreign == name) {
        return Some(Warning(format!("{name} is not read by this image: {why}")));
    }
    let unknown = name.starts_with(keys::PREFIX) && keys::find(name).is_none();
    unknown.then(|| {
        let nearest = keys::nearest(name).name;
        Warning(format!(
            "{name} is not a setting and is ignored. HINT: the nearest is {nearest}"
        ))
    })
}

fn is_loopback(listen: &str) -> bool {
    listen
        .split(',')
        .all(|host| matches!(host.trim(), "127.0.0.1" | "::1" | "localhost"))
}

struct Reading<'a> {
    doc: &'a Metadata,
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    /// The value without surrounding blanks; an empty one is as good as none.
    fn text(&self, key: &Key) -> Option<&'a str> {
        let text = self.doc.values.get(key.name).map(|text| text.trim())?;
        (!text.is_empty()).then_some(text)
    }

    fn parsed<T>(&mut self, key: &Key, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key)?;
        let value = parse(text);
        if value.is_none() {
            self.problems
                .push(Problem::value(key.name, text, key.accepted));
        }
        value
    }

    fn flag(&mut self, key: &Key) -> Option<bool> {
        self.parsed(key, |text| match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
    }

    fn missing(&mut self, key: &Key, because: &str) {
        let accepted = format!("{} ({because})", key.accepted);
        self.problems.push(Problem::missing(key.name, accepted));
    }

    /// A secret as it is: blanks at its ends belong to it.
    ///
    /// `initdb` reads one line of its password file, and no client can type a NUL.
    fn secret(&mut self, key: &Key) -> Option<Secret> {
        let text = self
            .doc
            .values
            .get(key.name)
            .filter(|text| !text.is_empty())?;
        if text.contains(['\n', '\r', '\0']) {
            let what = "contains a line break or NUL";
            self.problems
                .push(Problem::hidden(key.name, what, key.accepted));
            return None;
        }
        Some(Secret::new(text.as_str()))
    }

    fn password(&mut self) -> Option<Secret> {
        // `POSTGRES_PASSWORD_FILE` may have been complained about already.
        let told = |problem: &Problem| problem.key.starts_with(keys::PASSWORD.name);
        let password = self.secret(&keys::PASSWORD);
        if password.is_none() && !self.problems.iter().any(told) {
            self.missing(
                &keys::PASSWORD,
                "a database never starts without a password",
            );
        }
        password
    }

    fn database(&mut self) -> String {
        let database = self.parsed(&keys::DATABASE, |name| {
            let reserved = matches!(name, "template0" | "template1" | "pgbouncer");
            let accepted = name.len() <= 63 && !name.contains(char::is_control) && !reserved;
            accepted.then(|| name.to_owned())
        });
        database.unwrap_or_else(|| keys::DATABASE.default.to_owned())
    }

    /// An empty tier is refused where other empty values count as absent: it is a template that
    /// nobody filled in, and `single` would be a guess (facts 61).
    fn role(&mut self, instance: Option<&InstanceId>) -> Option<Role> {
        let tier = match self.doc.values.get(keys::TIER.name).map(|word| word.trim()) {
            None => Tier::Single,
            Some("") => {
                self.problems
                    .push(Problem::value(keys::TIER.name, "", keys::TIER.accepted));
                return None;
            }
            Some(_) => self.parsed(&keys::TIER, Tier::parse)?,
        };
        let replication_password = match tier {
            Tier::Single => return Some(Role::Single),
            Tier::Primary | Tier::Replica | Tier::Sink => self.replication_password(tier.word()),
        };
        if tier == Tier::Primary {
            let standbys = self.standbys();
            let told = self.text(&keys::PRIMARY_CONNINFO).is_some();
            let members = told.then(|| self.primary(tier)).flatten();
            return Some(Role::Primary {
                replication_password: replication_password?,
                standbys,
                members,
            });
        }
        let primary = self.primary(tier);
        let name = match tier {
            Tier::Replica => Some(self.standby_name(instance)?),
            _ => None,
        };
        let (primary, replication_password) = (primary?, replication_password?);
        Some(match name {
            Some(name) => Role::Replica {
                primary,
                replication_password,
                name,
            },
            None => Role::Sink {
                primary,
                replication_password,
            },
        })
    }

    /// A replica is known to its primary by its instance id: that is what a commit waits for.
    fn standby_name(&mut self, instance: Option<&InstanceId>) -> Option<StandbyName> {
        let key = &keys::INSTANCE_ID;
        let accepted = "for tier replica 1 to 63 letters, digits, `_` or `-`";
        let Some(instance) = instance else {
            // A value that is none was told already.
            if self.text(key).is_none() {
                self.missing(
                    key,
                    "needed by tier replica: its primary knows it by this name",
                );
            }
            return None;
        };
        let name = StandbyName::parse(instance.as_str());
        if name.is_none() {
            self.problems
                .push(Problem::value(key.name, instance.as_str(), accepted));
        }
        name
    }

    fn replication_password(&mut self, who: &str) -> Option<Secret> {
        let before = self.problems.len();
        let password = self.secret(&keys::REPLICATION_PASSWORD);
        if password.is_none() && self.problems.len() == before {
            self.missing(&keys::REPLICATION_PASSWORD, &format!("needed by {who}"));
        }
        password
    }

    /// Never shows the value: a password is the likeliest thing wrong with it.
    fn primary(&mut self, tier: Tier) -> Option<Conninfo> {
        let Some(text) = self.text(&keys::PRIMARY_CONNINFO) else {
            self.missing(&keys::PRIMARY_CONNINFO, &format!("needed by tier {tier}"));
            return None;
        };
        let conninfo = Conninfo::parse(text);
        if conninfo.is_none() {
            let key = &keys::PRIMARY_CONNINFO;
            self.problems
                .push(Problem::hidden(key.name, "cannot be used", key.accepted));
        }
        conninfo
    }

    fn standbys(&mut self) -> Vec<StandbyName> {
        let all = self.parsed(&keys::SYNC_STANDBYS, |list| {
            list.split(',')
                .map(|name| StandbyName::parse(name.trim()))
                .collect()
        });
        all.unwrap_or_default()
    }

    fn sink(&mut self) -> Option<Sink> {
        let policy = self.parsed(&keys::WAL_SINK_POLICY, SinkPolicy::parse);
        let address = self.parsed(&keys::WAL_SINK, SinkAddress::parse)?;
        Some(Sink {
            address,
            policy: policy.unwrap_or(SinkPolicy::Required),
            replication_password: self.replication_password("a machine with a WAL sink")?,
        })
    }

    /// Where WAL goes, and where a backup comes from: with the same keys.
    fn archives(&mut self) -> (Archive, Option<RestoreFrom>) {
        let keys = self.archive_keys();
        let region = self.text(&keys::AWS_REGION).map(str::to_owned);
        let endpoint = self.parsed(&keys::AWS_ENDPOINT_URL, |url| {
            let host = url
                .strip_prefix("http://")
                .or_else(|| url.strip_prefix("https://"))?;
            (!host.is_empty()).then(|| url.to_owned())
        });
        let s3 = |bucket, prefix| S3Target {
            bucket,
            prefix,
            region: region.clone(),
            endpoint: endpoint.clone(),
            keys: keys.clone(),
        };
        let archive = match self.parsed(&keys::ARCHIVE_TARGET, parse_s3_url) {
            Some((bucket, prefix)) => Archive::S3(s3(bucket, prefix)),
            None => Archive::Off,
        };
        let from = self.parsed(&keys::RESTORE_FROM, parse_backup_url);
        let from = from.map(|(bucket, prefix, backup)| RestoreFrom {
            archive: s3(bucket, prefix),
            backup,
        });
        (archive, from)
    }

    fn archive_keys(&mut self) -> Option<S3Keys> {
        let id = self.text(&keys::AWS_ACCESS_KEY_ID).map(str::to_owned);
        let secret = self.secret(&keys::AWS_SECRET_ACCESS_KEY);
        let session_token = self.secret(&keys::AWS_SESSION_TOKEN);
        match (id, secret) {
            (Some(access_key_id), Some(secret_access_key)) => Some(S3Keys {
                access_key_id,
                secret_access_key,
                session_token,
            }),
            (None, None) => None,
            (Some(_), None) => {
                self.missing(&keys::AWS_SECRET_ACCESS_KEY, "AWS_ACCESS_KEY_ID is set");
                None
            }
            (None, Some(_)) => {
                self.missing(&keys::AWS_ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY is set");
                None
            }
        }
    }

    fn restore(&mut self, role: Option<&Role>) -> Option<RestoreTarget> {
        let targets = [
            (
                &keys::RESTORE_TIME,
                self.parsed(&keys::RESTORE_TIME, RestoreTarget::parse_time),
            ),
            (
                &keys::RESTORE_LSN,
                self.parsed(&keys::RESTORE_LSN, RestoreTarget::parse_lsn),
            ),
            (
                &keys::RESTORE_NAME,
                self.parsed(&keys::RESTORE_NAME, RestoreTarget::parse_name),
            ),
        ];
        let mut given = targets
            .into_iter()
            .filter_map(|(key, target)| Some((key, target?)));
        let (first, target) = given.next()?;
        if matches!(role, Some(Role::Replica { .. })) {
            let accepted = "nothing on a replica, which is where its primary is";
            self.problems
                .push(Problem::hidden(first.name, "is set", accepted));
        }
        for (key, _) in given {
            let what = format!("is set beside {}", first.name);
            self.problems.push(Problem::hidden(
                key.name,
                what,
                "one restore target at most",
            ));
        }
        Some(target)
    }

    fn direct_listen(&mut self) -> String {
        let listen = self.parsed(&keys::DIRECT_LISTEN, |list| {
            let address = |host: &str| {
                matches!(host, "*" | "localhost") || host.parse::<std::net::IpAddr>().is_ok()
            };
            let hosts: Vec<_> = list.split(',').map(str::trim).collect();
            hosts
                .iter()
                .all(|host| address(host))
                .then(|| hosts.join(", "))
        });
        listen.unwrap_or_else(|| keys::DIRECT_LISTEN.default.to_owned())
    }
}
