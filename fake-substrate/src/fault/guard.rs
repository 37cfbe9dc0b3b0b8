//! A fault that ends with the scope it was made in.

use crate::admin::{AdminClient, AdminError};
use crate::docker;

use super::hands::{FaultError, Hands};
use super::{NewFault, Standing};

/// A fault of a substrate that stands for as long as this is kept.
#[derive(Debug)]
#[must_use = "dropping the guard ends the fault"]
pub struct Guard {
    healer: Healer,
    standing: Standing,
    healed: bool,
}

#[derive(Debug)]
enum Healer {
    /// For what the substrate's process carries out.
    Process(AdminClient),
    /// For everything.
    Hands(Hands),
}

impl Guard {
    /// Breaks something that the process itself can break; where there is no Docker, too.
    pub async fn of_process(admin: &AdminClient, new: &NewFault) -> Result<Self, AdminError> {
        Ok(Self {
            standing: admin.add_fault(new).await?,
            healer: Healer::Process(admin.clone()),
            healed: false,
        })
    }

    /// Breaks something.
    pub async fn start(hands: &Hands, new: NewFault) -> Result<Self, FaultError> {
        Ok(Self {
            standing: hands.break_down(new).await?,
            healer: Healer::Hands(hands.clone()),
            healed: false,
        })
    }

    /// As it was when it started.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Ends it, and says so when that fails. One that was used up has ended.
    pub async fn heal(mut self) -> Result<(), FaultError> {
        self.healed = true;
        self.healer.heal(self.standing.id).await
    }
}

impl Healer {
    async fn heal(&self, id: u32) -> Result<(), FaultError> {
        match self {
            Self::Process(admin) => Ok(admin.strike_out_fault_if_standing(id).await?),
            Self::Hands(hands) => hands.heal_if_standing(id).await,
        }
    }

    /// The same with connections of its own: those of another runtime cannot be waited for.
    async fn afresh(self) -> Result<Self, FaultError> {
        Ok(match self {
            Self::Process(admin) => Self::Process(admin.afresh()?),
            Self::Hands(hands) => Self::Hands(Hands {
                docker: docker::connect().await?,
                admin: hands.admin.afresh()?,
                ..hands
            }),
        })
    }

    fn another(&self) -> Self {
        match self {
            Self::Process(admin) => Self::Process(admin.clone()),
            Self::Hands(hands) => Self::Hands(hands.clone()),
        }
    }
}

impl Drop for Guard {
    /// Heals before it returns: what the scope's owner does next meets a whole substrate. On a thread
    /// with a runtime and a client of its own, since the one that is running cannot be waited for
    /// from here. Best effort: a substrate that is gone has no faults.
    fn drop(&mut self) {
        if self.healed {
            return;
        }
        let (healer, id) = (self.healer.another(), self.standing.id);
        let healing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            let healed = runtime.block_on(async { healer.afresh().await?.heal(id).await });
            healed.map_err(|error| error.to_string())
        });
        match healing.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(fault = id, error, "a fault was not cleared"),
            Err(_panic) => tracing::warn!(fault = id, "a fault was not cleared"),
        }
    }
}
