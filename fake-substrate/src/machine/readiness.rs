//! Whether a machine does what it is for: a database lets a client in, a sink serves what it holds.

use std::convert::Infallible;
use std::time::Duration;

use wire::lsn::Lsn;

use super::handle::Machine;
use super::metadata::{self, Login};
use crate::docker;
use crate::login;
use crate::machine::error::MachineError;
use crate::progress::Progress;
use crate::until::{Budget, Ended, Look, until};

/// What it is asked.
enum Purpose {
    Database(Login, u16),
    Sink,
}

impl Machine {
    async fn purpose(&self) -> Result<Purpose, MachineError> {
        let document = self.metadata().await?;
        if metadata::sink::is_sink(&document) {
            return Ok(Purpose::Sink);
        }
        let login = Login::from_metadata(&document);
        let login = login.ok_or_else(|| MachineError::NoPassword(self.name().clone()))?;
        Ok(Purpose::Database(login, self.view().await?.ports.pooler))
    }

    /// Asks once; why not, in one line.
    pub async fn answers(&self) -> Result<Result<(), String>, MachineError> {
        Ok(self.serves(&self.purpose().await?).await)
    }

    async fn serves(&self, purpose: &Purpose) -> Result<(), String> {
        match purpose {
            Purpose::Database(login, port) => {
                let answered = login::answers(login, *port).await;
                answered.map_err(|refused| refused.to_string())
            }
            // It has no door that a client of this host could try.
            Purpose::Sink => match self.link().await {
                Ok(link) if link.service_ready => Ok(()),
                Ok(_) => Err("it has not said that it serves WAL".to_owned()),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// The end of the WAL that is safe on it, as it tells itself.
    pub async fn flushed(&self, patience: Duration) -> Result<Option<Lsn>, MachineError> {
        let request = serde_json::json!({ "cmd": "health" });
        let answer = self.admin.rpc(self.name().as_str(), &request, patience);
        Ok(answer.await?.health.and_then(|health| health.wal.flush_lsn))
    }

    /// Waits until it does what it is for, and answers how long that took. Stops waiting when the machine
    /// ends by itself, with what it said last.
    pub async fn ready(
        &self,
        budget: Budget,
        progress: &dyn Progress,
    ) -> Result<Duration, MachineError> {
        let purpose = self.purpose().await?;
        let container = self.container();
        let answered =
            until::<(), Infallible>(budget, async || match self.serves(&purpose).await {
                Ok(()) => Look::Found(()),
                Err(why) => Look::NotYet(why),
            });
        tokio::select! {
            answered = answered => match answered {
                Ok(((), took)) => Ok(took),
                Err(Ended::OutOfTime(waited)) => Err(self.out_of_time(waited).await?),
                Err(Ended::Never(never)) => match never {},
            },
            ended = docker::container::ended(&self.docker, &container) => {
                ended?;
                Err(self.ended().await?)
            }
            never = self.narrate(progress) => match never {},
        }
    }
}
