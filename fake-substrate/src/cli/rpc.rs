//! `rpc`: one control request to a machine, its answer as JSON.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use fake_substrate::names::MachineName;

use super::{CliError, Site, answer};

#[derive(Debug, Args)]
pub(crate) struct Rpc {
    /// Which machine
    name: MachineName,
    /// Which command; `capabilities` lists them
    cmd: String,
    /// Its arguments; a value that is JSON is taken as such
    #[arg(value_name = "KEY=VALUE")]
    arguments: Vec<Argument>,
    /// How many seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    deadline: u32,
}

#[derive(Debug, Clone, PartialEq)]
struct Argument {
    key: String,
    value: Value,
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
        let machine = site.machine(self.name.clone()).await?;
        let deadline = Duration::from_secs(self.deadline.into());
        let name = machine.name().to_string();
        let substrate = site.connect().await?;
        let response = substrate
            .admin()
            .rpc(&name, &self.request(), deadline)
            .await?;
        let json = serde_json::to_string_pretty(&response);
        answer(&json.map_err(|error| CliError::Output(error.into()))?)?;
        Ok(if response.ok {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn request(self) -> Value {
        let cmd = ("cmd".to_owned(), Value::from(self.cmd));
        let arguments = self
            .arguments
            .into_iter()
            .map(|argument| (argument.key, argument.value));
        Value::Object(Map::from_iter([cmd].into_iter().chain(arguments)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Argument, Rpc};

    #[test]
    fn arguments_are_json_where_they_can_be() {
        let given = [r#"names=["sink"]"#, "wait=true", "to=0/16B3", "empty="];
        let arguments = given.map(|given| given.parse::<Argument>().expect("an argument"));
        let rpc = Rpc {
            name: "db".parse().expect("a name"),
            cmd: "promote".to_owned(),
            arguments: arguments.to_vec(),
            deadline: 1,
        };
        assert_eq!(
            rpc.request(),
            json!({"cmd": "promote", "names": ["sink"], "wait": true, "to": "0/16B3", "empty": ""})
        );
        for wrong in ["names", "=x", "cmd=health"] {
            wrong.parse::<Argument>().expect_err("no argument");
        }
    }
}
