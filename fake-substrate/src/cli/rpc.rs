//! `rpc`: one control request to a machine, its answer as JSON. What may be asked, and with which
//! arguments, stands in `wire::rpc::schema`.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};
use wire::rpc::schema::{self, Field, Kind};
use wire::rpc::{CommandRow, Lifecycle};

use crate::names::MachineName;
use crate::progress::Progress as _;

use super::{CliError, Site, answer};

/// What a machine may add to its own deadline on the way here.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// For a command of which nothing is known here.
const UNKNOWN: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = listing())]
pub(crate) struct Rpc {
    /// Which machine
    name: MachineName,
    /// Which command
    cmd: String,
    /// Its arguments; a value that is JSON is taken as such
    #[arg(value_name = "KEY=VALUE")]
    arguments: Vec<Argument>,
    /// How many seconds to wait for the answer, instead of the command's own deadline
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
struct Argument {
    key: String,
    value: Value,
}

/// A request that cannot be what was meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("{cmd} takes no argument `{key}`\nHINT: it takes {accepted}")]
    NoSuchArgument {
        cmd: &'static str,
        key: String,
        accepted: String,
    },
    #[error("{cmd} lacks its argument `{key}`\nHINT: it takes {accepted}")]
    Missing {
        cmd: &'static str,
        key: &'static str,
        accepted: String,
    },
    #[error("`{key}` of {cmd} is given as {given}\nHINT: it takes {accepted}")]
    OfAnotherType {
        cmd: &'static str,
        key: String,
        given: String,
        accepted: String,
    },
    #[error("{cmd} is given `{key}` twice\nHINT: once is enough")]
    Twice { cmd: String, key: String },
}

impl FromStr for Argument {
    type Err = &'static str;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match given.split_once('=') {
            Some((key, value)) if !key.is_empty() && key != "cmd" => Ok(Self {
                key: key.to_owned(),
                // What is no JSON is text: nobody wants to quote a name twice.
                value: serde_json::from_str(value).unwrap_or_else(|_not_json| value.into()),
            }),
            _ => Err("give KEY=VALUE, as in names='[\"standby\"]'"),
        }
    }
}

impl Rpc {
    /// Fails where the machine says no, so that a script notices.
    pub(super) async fn run(self, site: &Site) -> Result<ExitCode, CliError> {
        let row = CommandRow::named(&self.cmd);
        let request = request(&self.cmd, row, self.arguments)?;
        if row.is_none() {
            site.progress.step(&format!(
                "this fake-substrate knows no command {:?} and sends it as it is; --help lists those \
                 it knows",
                self.cmd
            ));
        }
        let own = row.map_or(UNKNOWN, |row| row.deadline + ON_THE_WAY);
        let deadline = self
            .deadline
            .map_or(own, |seconds| Duration::from_secs(seconds.into()));
        let machine = site.machine(self.name).await?;
        let name = machine.name().to_string();
        let substrate = site.connect().await?;
        let response = substrate.admin().rpc(&name, &request, deadline).await?;
        let json = serde_json::to_string_pretty(&response);
        answer(&json.map_err(|error| CliError::Output(error.into()))?)?;
        Ok(if response.ok {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// The request; that of a known command has its arguments, and no others.
fn request(
    cmd: &str,
    row: Option<&CommandRow>,
    arguments: Vec<Argument>,
) -> Result<Value, RequestError> {
    let mut request = Map::from_iter([("cmd".to_owned(), Value::from(cmd))]);
    for Argument { key, value } in arguments {
        if let Some(row) = row {
            check(row, &key, &value)?;
        }
        if request.insert(key.clone(), value).is_some() {
            let cmd = cmd.to_owned();
            return Err(RequestError::Twice { cmd, key });
        }
    }
    if let Some(row) = row {
        let missing = row
            .arguments
            .iter()
            .find(|field| !request.contains_key(field.name));
        if let Some(missing) = missing {
            return Err(RequestError::Missing {
                cmd: row.name.as_str(),
                key: missing.name,
                accepted: accepted(row),
            });
        }
    }
    Ok(Value::Object(request))
}

fn check(row: &CommandRow, key: &str, value: &Value) -> Result<(), RequestError> {
    let (cmd, key) = (row.name.as_str(), key.to_owned());
    let accepted = accepted(row);
    match row.arguments.iter().find(|field| field.name == key) {
        None => Err(RequestError::NoSuchArgument { cmd, key, accepted }),
        Some(field) if fits(field.kind, value) => Ok(()),
        Some(_) => Err(RequestError::OfAnotherType {
            cmd,
            key,
            given: value.to_string(),
            accepted,
        }),
    }
}

fn fits(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Bool => value.is_boolean(),
        Kind::Number | Kind::Bytes | Kind::Time => value.is_i64() || value.is_u64(),
        Kind::Lsn | Kind::Text => value.is_string(),
        Kind::Texts => value
            .as_array()
            .is_some_and(|items| items.iter().all(Value::is_string)),
        Kind::Map | Kind::Record => value.is_object(),
        Kind::Maps => value
            .as_array()
            .is_some_and(|items| items.iter().all(Value::is_object)),
    }
}

fn accepted(row: &CommandRow) -> String {
    let argument = |field: &Field| {
        let (name, kind, meaning) = (field.name, field.kind.words(), field.meaning);
        format!("{name} ({kind}): {meaning}")
    };
    match row.arguments {
        [] => "none".to_owned(),
        arguments => arguments
            .iter()
            .map(argument)
            .collect::<Vec<_>>()
            .join("; "),
    }
}

/// Every command, for `--help`.
fn listing() -> String {
    let mut lines = vec!["Commands:".to_owned()];
    for row in &schema::COMMANDS {
        lines.push(format!("  {:<18} {}", row.name, row.does));
        for field in row.arguments {
            let (name, kind, meaning) = (field.name, field.kind.words(), field.meaning);
            lines.push(format!("  {:<18}   {name}: {kind}; {meaning}", ""));
        }
        lines.push(format!("  {:<18}   {}", "", when(row)));
    }
    lines.push("docs/wire.md has the fields of an answer.".to_owned());
    lines.join("\n")
}

fn when(row: &CommandRow) -> String {
    let states: Vec<_> = row.states.iter().map(|state| state.as_str()).collect();
    match states.len() {
        0 => "refused: not built yet".to_owned(),
        all if all == Lifecycle::ALL.len() => "in every state".to_owned(),
        _ => format!("while the machine is {}", states.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn built(cmd: &str, arguments: &[&str]) -> Result<Value, RequestError> {
        let parsed = arguments
            .iter()
            .map(|given| given.parse::<Argument>().expect("an argument"));
        request(cmd, CommandRow::named(cmd), parsed.collect())
    }

    fn refused(cmd: &str, arguments: &[&str]) -> String {
        built(cmd, arguments)
            .expect_err("not a request")
            .to_string()
    }

    #[test]
    fn arguments_of_an_unknown_command_are_json_where_they_can_be() {
        let given = [r#"names=["sink"]"#, "wait=true", "to=0/16B3", "empty="];
        assert_eq!(
            built("teleport", &given).expect("the machine's to answer"),
            json!({"cmd": "teleport", "names": ["sink"], "wait": true, "to": "0/16B3", "empty": ""})
        );
        for wrong in ["names", "=x", "cmd=health"] {
            wrong.parse::<Argument>().expect_err("no argument");
        }
    }

    #[test]
    fn a_known_command_takes_its_arguments_and_no_others() {
        assert_eq!(
            built("set_sync_standbys", &["names=[]"]).expect("whole"),
            json!({"cmd": "set_sync_standbys", "names": []})
        );
        assert_eq!(
            refused("checkpoint", &["fast=true"]),
            "checkpoint takes no argument `fast`\nHINT: it takes none"
        );
        let accepted = "HINT: it takes names (array of text): the standbys that a commit waits for; \
                        empty means that commits wait for nobody";
        assert_eq!(
            refused("set_sync_standbys", &["nmes=[]"]),
            format!("set_sync_standbys takes no argument `nmes`\n{accepted}")
        );
        assert_eq!(
            refused("set_sync_standbys", &[]),
            format!("set_sync_standbys lacks its argument `names`\n{accepted}")
        );
        assert_eq!(
            refused("set_sync_standbys", &["names=sink"]),
            format!("`names` of set_sync_standbys is given as \"sink\"\n{accepted}")
        );
        assert_eq!(
            refused("set_sync_standbys", &["names=[]", "names=[]"]),
            "set_sync_standbys is given `names` twice\nHINT: once is enough"
        );
    }

    #[test]
    fn the_help_lists_every_command_with_its_arguments_and_states() {
        let listing = listing();
        for row in &schema::COMMANDS {
            let line = format!("  {:<18} {}", row.name, row.does);
            assert!(listing.contains(&line), "{listing}");
        }
        assert!(listing.contains("names: array of text; "), "{listing}");
        let aligned = "  health             tells everything";
        assert!(listing.contains(aligned), "{listing}");
        assert!(listing.contains("while the machine is ready or restarting"));
    }
}
