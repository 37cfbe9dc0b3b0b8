//! A primary and its replicas.

use anyhow::{Context as _, Result, ensure};
use wire::rpc::{Health, Response, Standby};

use crate::budget;
use crate::running::Running;
use crate::spec::Spec;
use crate::sql::Door;
use crate::stopped::Stopped;
use crate::until::until_true;
use crate::vm::Vm;

/// A replica has the roles of its primary, so it is told the same password.
const PASSWORD: &str = "the same on every member";
const REPLICATION_PASSWORD: (&str, &str) =
    ("BEYOND_PG_REPLICATION_PASSWORD", "only replication knows");

impl Spec {
    /// A primary, whose commits wait for any one of these.
    pub fn primary_with<const N: usize>(self, replicas: [&str; N]) -> Result<Self> {
        let name = self.name().to_owned();
        let members: Vec<_> = [name.as_str()].into_iter().chain(replicas).collect();
        let spec = self.member_of(&members)?;
        Ok(spec
            .metadata("BEYOND_PG_TIER", "primary")
            .metadata("BEYOND_PG_SYNC_STANDBYS", &replicas.join(",")))
    }

    /// A replica in the cluster of these members, whichever is the primary.
    pub fn replica_in<const N: usize>(self, members: [&str; N]) -> Result<Self> {
        Ok(self
            .member_of(&members)?
            .metadata("BEYOND_PG_TIER", "replica"))
    }

    /// A replica of that machine.
    pub fn replica_of(self, primary: &str) -> Result<Self> {
        let name = self.name().to_owned();
        self.replica_in([primary, &name])
    }

    fn member_of(self, members: &[&str]) -> Result<Self> {
        let hosts = members.iter().map(|member| self.host_of(member));
        let hosts = hosts.collect::<Result<Vec<_>>>()?.join(",");
        let ports = vec![wire::ports::DIRECT.to_string(); members.len()].join(",");
        let name = self.name().to_owned();
        Ok(self
            .password(PASSWORD)
            .metadata(REPLICATION_PASSWORD.0, REPLICATION_PASSWORD.1)
            .metadata("BEYOND_INSTANCE_ID", &name)
            .metadata(
                "BEYOND_PG_PRIMARY_CONNINFO",
                &format!("host={hosts} port={ports}"),
            ))
    }
}

impl Stopped {
    /// From its next boot on it is of that tier.
    pub async fn as_tier(self, tier: &str) -> Result<Self> {
        self.set_metadata("BEYOND_PG_TIER", tier).await?;
        Ok(self)
    }
}

impl Running {
    /// Asks it to become a primary, and it is one.
    pub async fn promote(&self) -> Result<Response> {
        let answer = self.does("promote").await?;
        ensure!(
            answer.lsn.is_some() && answer.timeline.is_some(),
            "{answer:?}"
        );
        Ok(answer)
    }

    /// Tells a primary whom its commits wait for.
    pub async fn wait_for_standbys(&self, names: &[&str]) -> Result<Response> {
        let request = serde_json::json!({ "cmd": "set_sync_standbys", "names": names });
        let admin = self.site.substrate.admin();
        let answer = admin
            .rpc(self.name(), &request, budget::ANSWERS.limit)
            .await;
        answer.with_context(|| format!("telling {} whom to wait for", self.name()))
    }

    /// Waits until that standby streams from it, and answers how.
    pub async fn has_standby(&self, name: &str) -> Result<Standby> {
        let streams = |health: &Health| {
            let found = health.standbys.iter().find(|standby| standby.name == name);
            found
                .filter(|standby| standby.state == "streaming")
                .cloned()
        };
        let what = format!("{name} streams");
        let health = self.comes_to_be(&what, |health| streams(health).is_some());
        streams(&health.await?).context("it just did")
    }

    /// Waits until WAL comes in to this replica.
    pub async fn receives(&self) -> Result<Health> {
        let receives = |health: &Health| {
            let upstream = health.upstream.as_ref();
            upstream.is_some_and(|upstream| upstream.receiving)
        };
        self.comes_to_be("WAL comes in", receives).await
    }
}

impl Vm {
    /// Waits until it has replayed what that machine has written so far.
    pub async fn has_caught_up_with(&self, primary: &Vm) -> Result<()> {
        let end: String = primary
            .ask("SELECT pg_current_wal_flush_lsn()::text")
            .await?;
        let query = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'::pg_lsn");
        let awaited = format!("{} has replayed up to {end}", self.name());
        until_true(budget::COMES_BACK, awaited, async || {
            self.ask::<bool>(&query).await
        })
        .await
    }

    /// Numbers, and a slot for who wants their changes, that goes on when a replica takes over.
    pub async fn make_failover_slot(&self, slot: &str) -> Result<()> {
        self.sql("CREATE TABLE numbers (n bigint PRIMARY KEY)")
            .await?;
        let make = format!(
            "SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding', false, false, true)"
        );
        self.sql(&make).await
    }

    /// What the consumer of that slot gets, and confirms.
    pub async fn changes(&self, slot: &str) -> Result<Vec<i64>> {
        let query = format!(
            "SELECT coalesce(string_agg(substring(data FROM 'n\\[bigint\\]:(\\d+)'), ' '), '') \
             FROM pg_logical_slot_get_changes('{slot}', NULL, NULL)"
        );
        let all: String = self.session(Door::Direct).await?.ask(&query).await?;
        let numbers = all.split_whitespace().map(str::parse);
        numbers.collect::<Result<_, _>>().context("reading changes")
    }

    /// Waits until this replica has that slot, fit to go on with. Meanwhile numbers are written and confirmed:
    /// a slot that stands still is never copied.
    pub async fn has_slot_of(&self, primary: &Vm, slot: &str) -> Result<()> {
        let query = format!(
            "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' \
             AND synced AND NOT temporary AND invalidation_reason IS NULL"
        );
        let awaited = format!("{} has the slot {slot}", self.name());
        until_true(budget::COMES_BACK, awaited, async || {
            let write = "INSERT INTO numbers SELECT coalesce(max(n), 0) + 1 FROM numbers";
            primary.sql(write).await?;
            primary.sql("SELECT pg_log_standby_snapshot()").await?;
            primary.changes(slot).await?;
            Ok(self.ask::<i64>(&query).await? == 1)
        })
        .await
    }

    /// Every page of it is as it was written; its primary has made the extension that looks.
    pub async fn is_intact_as_a_standby(&self) -> Result<()> {
        let check = ["pg_amcheck", "--all", "--heapallindexed", "-p", "5433"];
        self.as_postgres(&check).await.map(drop)
    }
}
