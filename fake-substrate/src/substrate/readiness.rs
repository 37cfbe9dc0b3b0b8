//! Waiting for a machine that boots, before something is asked of it that takes one that serves.

use std::time::Duration;

use serde_json::json;
use wire::rpc::{Lifecycle, Response};

use crate::machine::Machine;
use crate::machine::state::State;
use crate::progress::Progress;
use crate::until::{Budget, Ended, Look, until};

use super::SubstrateError;

/// What the machine itself promises for `health`, and what the way costs.
const HEALTH: Duration = Duration::from_secs(10);

/// Why a machine that answered like this is to be waited for; `None` when it can be asked.
fn on_its_way(answer: &Response) -> Option<String> {
    let state = answer.health.as_ref()?.state.as_str();
    let boots = [Lifecycle::Booting, Lifecycle::Starting].map(Lifecycle::as_str);
    boots.contains(&state).then(|| format!("it is {state}"))
}

/// Waits until clients get in to a machine that boots or starts. Any other one is asked as it is: what
/// stands in its way does not pass by itself, and it says so.
pub(super) async fn await_clients(
    machine: &Machine,
    progress: &dyn Progress,
) -> Result<(), SubstrateError> {
    let name = machine.name();
    let mut told = false;
    let waiting = until(Budget::PARENT_READY, async || match look(machine).await {
        Ok(None) => Look::Found(()),
        Ok(Some(why)) => {
            if !std::mem::replace(&mut told, true) {
                progress.step(&format!("Waiting until clients get in to {name}: {why}"));
            }
            Look::NotYet(why)
        }
        Err(error) => Look::Never(error),
    });
    match waiting.await {
        Ok(((), _took)) => Ok(()),
        Err(Ended::Never(error)) => Err(error),
        Err(Ended::OutOfTime(waited)) => Err(SubstrateError::NotReady {
            parent: name.clone(),
            waited,
        }),
    }
}

async fn look(machine: &Machine) -> Result<Option<String>, SubstrateError> {
    let health = json!({ "cmd": "health" });
    let answer = machine.admin.rpc(machine.name().as_str(), &health, HEALTH);
    match answer.await {
        Ok(answer) => Ok(on_its_way(&answer)),
        // PID 1 does not listen before it has met its host.
        Err(error) if error.is_silence() => match machine.view().await?.state {
            State::Running => Ok(Some("it does not answer yet".to_owned())),
            _ended => Err(machine.ended().await?.into()),
        },
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use wire::rpc::{Health, Lifecycle, Response};

    use super::on_its_way;

    #[test]
    fn a_machine_that_boots_or_starts_is_waited_for_and_no_other() {
        for state in Lifecycle::ALL {
            let health = Health {
                state: state.to_string(),
                ..Health::default()
            };
            let answer = Response {
                health: Some(health),
                ..Response::done()
            };
            let waits = matches!(state, Lifecycle::Booting | Lifecycle::Starting);
            assert_eq!(on_its_way(&answer).is_some(), waits, "{state}");
        }
        assert_eq!(on_its_way(&Response::refused("no such command")), None);
    }
}
