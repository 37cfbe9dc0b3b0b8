//! A fault that ends with the scope it was made in.

use crate::admin::{AdminClient, AdminError};

use super::{NewFault, Standing};

/// A fault of a substrate that stands for as long as this is kept.
#[derive(Debug)]
#[must_use = "dropping the guard ends the fault"]
pub struct Guard {
    admin: AdminClient,
    standing: Standing,
    healed: bool,
}

impl Guard {
    /// Breaks something.
    pub async fn add(admin: &AdminClient, new: &NewFault) -> Result<Self, AdminError> {
        Ok(Self {
            standing: admin.add_fault(new).await?,
            admin: admin.clone(),
            healed: false,
        })
    }

    /// As it was when it started.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Ends it, and says so when that fails. One that was used up has ended.
    pub async fn heal(mut self) -> Result<(), AdminError> {
        self.healed = true;
        self.admin.clear_fault_if_standing(self.standing.id).await
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
        let (admin, id) = (self.admin.clone(), self.standing.id);
        let healing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            let admin = admin.afresh().map_err(|error| error.to_string())?;
            let healed = runtime.block_on(admin.clear_fault_if_standing(id));
            healed.map_err(|error| error.to_string())
        });
        match healing.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(fault = id, error, "a fault was not cleared"),
            Err(_panic) => tracing::warn!(fault = id, "a fault was not cleared"),
        }
    }
}
