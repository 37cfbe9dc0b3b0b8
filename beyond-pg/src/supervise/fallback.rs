//! Which configuration Postgres is started with, and the way down to one that worked.

use std::cell::RefCell;
use std::path::PathBuf;

use crate::boot::facts::Owners;
use crate::fx::exec::ExecError;
use crate::last_good::files::{self, LastGoodError};
use crate::last_good::{self, Configuration, UserFiles};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::supervise::errands::chain;

/// How much of what Postgres objects to is repeated.
const OBJECTIONS: usize = 5;

pub(crate) struct Fallback<'a> {
    layout: &'a Layout,
    owners: Owners,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    configuration: Configuration,
    /// For an operator, once something of the user's is not in force.
    words: Option<String>,
}

impl<'a> Fallback<'a> {
    pub(crate) fn new(layout: &'a Layout, owners: Owners) -> Fallback<'a> {
        Fallback {
            layout,
            owners,
            state: RefCell::default(),
        }
    }

    /// The file that Postgres is started with.
    pub(crate) fn conf(&self) -> PathBuf {
        match self.state.borrow().configuration {
            Configuration::Written => self.layout.postgres_conf(),
            Configuration::LastGood | Configuration::LastGoodAndAuto => {
                self.layout.last_good_conf()
            }
        }
    }

    /// What of the user's is not in force, and what to do.
    pub(crate) fn words(&self) -> Option<String> {
        self.state.borrow().words.clone()
    }

    /// A client got in: what the user wrote works. Best effort, for a boot to come.
    pub(crate) fn note_success(&self) {
        match self.state.borrow().configuration {
            Configuration::Written => {}
            Configuration::LastGood | Configuration::LastGoodAndAuto => return,
        }
        if let Err(error) = files::remember(self.layout, self.owners) {
            tracing::warn!(
                "the configuration works but is not remembered, so that a later one that does not \
                 has nothing to fall back to: {}",
                chain(&error)
            );
        }
    }

    /// Looks for another configuration and lays it out; whether there is one.
    pub(crate) async fn look(&self) -> bool {
        match self.try_to_look().await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!("no configuration to fall back to: {}", chain(&error));
                false
            }
        }
    }

    async fn try_to_look(&self) -> Result<bool, LastGoodError> {
        let present = self.state.borrow().configuration;
        let (written, good) = (
            files::written(self.layout)?,
            files::remembered(self.layout)?,
        );
        let Some(next) = last_good::after(present, &written, &good) else {
            tracing::error!(
                "Postgres does not start, and its configuration is one that worked before: the cause \
                 is another one, and stands in its log"
            );
            return Ok(false);
        };
        files::lay_out(self.layout, self.owners, next, &written, &good)?;
        let words = self.refused(next, &written, &good).await;
        tracing::error!("{words}");
        *self.state.borrow_mut() = State {
            configuration: next,
            words: Some(words),
        };
        Ok(true)
    }

    async fn refused(
        &self,
        configuration: Configuration,
        written: &UserFiles,
        good: &UserFiles,
    ) -> String {
        let lines = last_good::not_applied(configuration, written, good);
        let lines = if lines.is_empty() {
            "lines that are gone since it worked".to_owned()
        } else {
            lines.join(", ")
        };
        let mut words = format!(
            "Postgres did not start with the configuration that you wrote and runs on the last one \
             that worked; not applied: your {lines}"
        );
        let objections = self.objections().await;
        if !objections.is_empty() {
            words.push_str(&format!("; Postgres says: {}", objections.join("; ")));
        }
        if configuration == Configuration::LastGoodAndAuto {
            words.push_str(&format!(
                "; what ALTER SYSTEM had written is kept in {}",
                self.layout.refused_auto_conf().display()
            ));
        }
        words.push_str("\nHINT: mend these lines and restart the machine");
        words
    }

    /// What Postgres itself finds wrong by reading alone. A value that only a start finds too large is
    /// not among it.
    async fn objections(&self) -> Vec<String> {
        let check = cluster::configuration_check(self.layout, self.owners.postgres);
        match check.run().await {
            Ok(_) => Vec::new(),
            Err(ExecError::Failed { tail, .. }) => objections_in(&tail),
            Err(error) => vec![format!("it could not be asked: {}", chain(&error))],
        }
    }
}

/// The messages of a failed check, without time stamp and severity.
fn objections_in(output: &str) -> Vec<String> {
    let messages = output.lines().filter_map(|line| {
        let (_, message) = line.split_once("LOG:  ")?;
        Some(message.trim().to_owned())
    });
    messages.take(OBJECTIONS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgres_objects_to_is_told_without_its_prefix() {
        let output = "\
2026-11-24 10:00:00.000 GMT [41] LOG:  unrecognized configuration parameter \"work_men\" in file \"/x/99-user.conf\" line 2
2026-11-24 10:00:00.000 GMT [41] FATAL:  configuration file \"/x/postgresql.conf\" contains errors";
        assert_eq!(
            objections_in(output),
            [
                "unrecognized configuration parameter \"work_men\" in file \"/x/99-user.conf\" line 2"
            ]
        );
    }
}
