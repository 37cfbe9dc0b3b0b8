//! A standby that runs: whether WAL comes in, and if not, why; the slot it needs on whoever is the primary
//! by now.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::fx::clock;
use crate::layout::Layout;
use crate::postgres::ensure::MAINTENANCE_DATABASE;
use crate::postgres::postmaster::{self, Postmaster};
use crate::postgres::session::Session;
use crate::replication::upstream::Upstream;
use crate::rpc::{Concern, Desk};
use crate::supervise::chain;
use crate::sys::user::Account;

/// Between two looks. A session is kept for them: each new one is a line in the log.
const LOOK: Duration = Duration::from_secs(2);

/// What it looks after.
pub(crate) struct Watch {
    pub(crate) desk: Arc<Desk>,
    pub(crate) layout: Layout,
    pub(crate) owner: Account,
    pub(crate) upstream: Upstream,
}

/// The standby at one moment.
enum Seen {
    Receiving,
    NotReceiving,
    /// It was promoted.
    Writes,
}

impl Watch {
    /// Looks until the machine is promoted.
    pub(crate) fn begin(self) {
        tokio::spawn(self.run());
    }

    async fn run(self) {
        let mut session = None;
        loop {
            clock::pause(LOOK).await;
            if !self.accepts() {
                session = None;
                continue;
            }
            let seen = match self.look(&mut session).await {
                Ok(seen) => seen,
                Err(error) => {
                    tracing::debug!("looking whether WAL comes in: {error}");
                    session = None;
                    continue;
                }
            };
            let words = match seen {
                Seen::Receiving => None,
                Seen::NotReceiving => Some(self.why().await),
                Seen::Writes => {
                    self.desk.concern(Concern::Upstream, None);
                    return;
                }
            };
            self.desk.concern(Concern::Upstream, words);
        }
    }

    fn accepts(&self) -> bool {
        fs::read_to_string(self.layout.postmaster_pid())
            .is_ok_and(|text| matches!(postmaster::state(&text), Postmaster::Accepting { .. }))
    }

    async fn look(&self, kept: &mut Option<Session>) -> Result<Seen, String> {
        if kept.as_ref().is_none_or(|session| session.is_closed()) {
            let opened = Session::open(&self.layout, MAINTENANCE_DATABASE).await;
            *kept = Some(opened.map_err(|error| chain(&error))?);
        }
        let Some(session) = kept else {
            return Err("there is no session".to_owned());
        };
        let query = "SELECT pg_is_in_recovery(), \
                     EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')";
        let row = session.query_one(query, &[]).await;
        let row = row.map_err(|error| chain(&error))?;
        Ok(match (row.get(0), row.get(1)) {
            (false, _) => Seen::Writes,
            (true, true) => Seen::Receiving,
            (true, false) => Seen::NotReceiving,
        })
    }

    /// What the primary itself says; its slot is made when it is missing there, as on one that was promoted.
    async fn why(&self) -> String {
        let nothing = "no WAL comes in from the primary";
        let primary = match self.upstream.primary(&self.layout, self.owner).await {
            Ok(primary) => primary,
            Err(error) => {
                return format!(
                    "{nothing}: {}\nHINT: start it, or promote this replica; reads go on, and so does the replica by itself once the primary is back",
                    chain(&error)
                );
            }
        };
        let slot = self.upstream.slot();
        let made = self
            .upstream
            .make_slot(&self.layout, self.owner, &primary)
            .await;
        if let Err(error) = made {
            return format!(
                "{nothing}: making the slot {slot} on instance {}: {}\nHINT: max_replication_slots there may be used up",
                primary.name(),
                chain(&error)
            );
        }
        match &primary.slot {
            Some(slot_there) if !slot_there.is_lost() => format!(
                "{nothing}, though instance {} answers; why stands in the log of Postgres\nHINT: when WAL that this replica lacks is gone there, or this replica's is ahead of it, give it an empty volume",
                primary.name()
            ),
            _ => format!(
                "{nothing}: the slot {slot} was missing on instance {} and was made\nHINT: when WAL that this replica lacks is gone there, give it an empty volume",
                primary.name()
            ),
        }
    }
}
