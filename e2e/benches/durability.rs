//! What it costs to have every commit on a second machine, and how long a database is away when its host
//! is. `cargo bench -p e2e --profile dev --bench durability` prints the tables of `docs/performance.md`; behind
//! `--`, `--rounds`, `--seconds` and `--megabytes` make a run shorter.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::bench::{Options, Series, header, seconds, whole};
use e2e::{BootRecord, Failed, Running, Vm, World, scenario};

const CLIENTS: [u32; 2] = [1, 16];

/// How much has to be replayed.
const MEGABYTES: [u64; 1] = [64];

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let options = Options::read();
    scenario(async |world| commits(world, &options).await).await?;
    for megabytes in options.megabytes_or(&MEGABYTES) {
        scenario(async |world| gap_fills(world, &options, megabytes).await).await?;
        scenario(async |world| failovers(world, &options, megabytes).await).await?;
    }
    Ok(())
}

/// A machine, and who else has to hold its commits.
struct Arm<'a> {
    db: &'a Vm,
    holder: Option<&'a Running>,
}

impl Arm<'_> {
    /// Commits a second. What its volumes have to put into object storage is there when this comes back, and
    /// not in the way of whoever is measured next.
    async fn commits(&self, clients: u32, seconds: u64) -> Result<f64> {
        let rate = self.db.writer().small_commits(clients, seconds).await?;
        self.settle().await?;
        Ok(rate)
    }

    async fn settle(&self) -> Result<()> {
        self.db.flush().await?;
        match self.holder {
            Some(holder) => holder.flush().await,
            None => Ok(()),
        }
    }
}

/// Of a machine with its sink, beside one without, and beside one whose commits wait for `pg_receivewal`
/// alone.
async fn commits(world: &World, options: &Options) -> Result<()> {
    let machine = |name| world.vm(name).memory("2g");
    let sink = world.vm("sink").sink_of("sunk")?.on_host("sinks");
    let sink = sink.boot_sink().await?;
    let sunk = machine("sunk").with_sink("sink")?.on_host("databases");
    let sunk = sunk.boot().await?;
    let alone = machine("alone").on_host("databases").boot().await?;
    let received = machine("received").on_host("databases").boot().await?;
    let receiver = world.bare_receiver("sinks", &received).await?;
    sunk.has_its_sink().await?;
    sink.is_whole().await?;

    let arm = |db, holder| Arm { db, holder };
    let arms = [
        arm(&sunk, Some(&sink)),
        arm(&alone, None),
        arm(&received, Some(&receiver)),
    ];
    for arm in &arms {
        arm.db.writer().prepare().await?;
        arm.db.sql("CHECKPOINT").await?;
        arm.settle().await?;
    }
    let mut series = Vec::new();
    for clients in CLIENTS {
        series.push((clients, of_clients(clients, &arms, options).await?));
    }
    // Whoever was lost on the way was waited for by nobody.
    sunk.has_its_sink().await?;
    received.holds_commits_for_its_receiver().await?;

    let tables = [
        ("with its sink", "no sink"),
        ("with its sink", "bare `pg_receivewal`"),
        ("bare `pg_receivewal`", "no sink"),
    ];
    for (table, (figure, baseline)) in tables.into_iter().enumerate() {
        header("commits a second", figure, baseline);
        for (clients, series) in &series {
            let plural = if *clients == 1 { "" } else { "s" };
            series[table].print(&format!("{clients} client{plural}"), whole);
        }
        println!();
    }
    Ok(())
}

/// Its sink beside none, its sink beside a receiver, a receiver beside none.
async fn of_clients(clients: u32, arms: &[Arm<'_>; 3], options: &Options) -> Result<[Series; 3]> {
    let mut series = <[Series; 3]>::default();
    for round in 0..options.rounds {
        let mut rates = [0.0; 3];
        let there = 0..arms.len();
        // There and back: a host is not the same right after it has taken somebody's WAL, and the two that are
        // compared come behind the same neighbours.
        let turns: Vec<_> = match round % 2 {
            0 => there.collect(),
            _ => there.rev().collect(),
        };
        for of in turns {
            rates[of] = arms[of].commits(clients, options.seconds).await?;
        }
        let [sunk, alone, received] = rates;
        series[0].push(sunk, alone);
        series[1].push(sunk, received);
        series[2].push(received, alone);
    }
    Ok(series)
}

/// From the loss of a host to the first answer: of a machine whose last WAL only its sink has, beside one
/// without a sink whose volume was flushed. Both replay it.
async fn gap_fills(world: &World, options: &Options, megabytes: u64) -> Result<()> {
    let sink = world.vm("sink").sink_of("sunk")?.on_host("sinks");
    let sink = sink.boot_sink().await?;
    let sunk = world.vm("sunk").memory("2g").with_sink("sink")?;
    let mut sunk = sunk.on_host("one").boot().await?;
    let alone = world.vm("alone").memory("2g").on_host("other");
    let mut alone = alone.boot().await?;
    let (mut answers, mut replays) = (Series::default(), Series::default());
    let mut fetched = Vec::new();
    for round in 0..options.rounds {
        // New ones: neither is where the other is, and what has just been made has nothing.
        let host = |kind| format!("{kind}-{round}");
        let (rehomed, flushed) = loses_nothing(alone, &host("other"), megabytes).await?;
        alone = rehomed;
        let to = host("one");
        let (rehomed, filled) = loses_all_but_its_sink(sunk, &to, &sink, megabytes).await?;
        sunk = rehomed;
        answers.push(filled.as_secs_f64(), flushed.as_secs_f64());

        let (of_sunk, of_alone) = (sunk.boot_record().await?, alone.boot_record().await?);
        replays.push(
            replayed(&of_sunk, megabytes)?,
            replayed(&of_alone, megabytes)?,
        );
        let segments = of_sunk.wal.fetched_segments.unwrap_or_default();
        ensure!(
            segments * 16 >= megabytes,
            "{segments} segments came from the sink, and {megabytes} MB were to be missing"
        );
        fetched.push(segments);
    }
    let what = format!("{megabytes} MB of WAL after the loss of a host");
    header(&what, "only its sink has it", "its volume has it");
    answers.print("from the loss to the first answer", seconds);
    replays.print("replayed", |bytes| format!("{:.0} MB", bytes / 1e6));
    println!("\nSegments that came from the sink: {fetched:?}.\n");
    Ok(())
}

/// All that it has to replay is at its flush point.
async fn loses_nothing(db: Vm, to: &str, megabytes: u64) -> Result<(Vm, Duration)> {
    db.begins_anew().await?;
    db.writes_wal(megabytes).await?;
    db.flush().await?;
    let (lost, losing) = db.timed_lose_host().await?;
    let (db, coming_back) = lost.timed_rehome_to(to).await?;
    Ok((db, losing + coming_back))
}

/// Its flush point is older than all that it has to replay.
async fn loses_all_but_its_sink(
    db: Vm,
    to: &str,
    sink: &Running,
    megabytes: u64,
) -> Result<(Vm, Duration)> {
    db.has_its_sink().await?;
    db.begins_anew().await?;
    db.flush().await?;
    let no_flush = db.flush_fails().await?;
    db.writes_wal(megabytes).await?;
    sink.flush().await?;
    let (lost, losing) = db.timed_lose_host().await?;
    no_flush.heal().await?;
    let (db, coming_back) = lost.timed_rehome_to(to).await?;
    Ok((db, losing + coming_back))
}

/// How much its last boot replayed, which is no less than was written.
fn replayed(boot: &BootRecord, megabytes: u64) -> Result<f64> {
    let replayed = boot.wal.replayed_bytes;
    ensure!(
        replayed >= megabytes << 20,
        "{replayed} bytes were replayed, and {megabytes} MB were to be"
    );
    Ok(replayed as f64)
}

/// From the kill to the first commit: of a primary whose synchronous replica takes over, beside a machine
/// that is started again and has to replay what the replica has replayed all along.
async fn failovers(world: &World, options: &Options, megabytes: u64) -> Result<()> {
    let primary = world.vm("one").memory("2g").primary_with(["other"])?;
    let mut primary = primary.on_host("host-1").boot().await?;
    let replica = world.vm("other").memory("2g").replica_of("one")?;
    let mut replica = replica.on_host("host-2").boot().await?;
    let mut alone = world
        .vm("alone")
        .memory("2g")
        .on_host("host-3")
        .boot()
        .await?;
    let mut writes = Series::default();
    for _round in 0..options.rounds {
        primary.has_its_commits_held_by(replica.name()).await?;
        primary.begins_anew().await?;
        primary.writes_wal(megabytes).await?;
        replica.has_caught_up_with(&primary).await?;
        let (killed, failover) = primary.timed_failover(&replica).await?;
        // It is the other's replica from here on.
        primary = replica;
        replica = killed.as_tier("replica").await?.boot().await?;
        primary.wait_for_standbys(&[replica.name()]).await?;

        alone.begins_anew().await?;
        alone.writes_wal(megabytes).await?;
        let (back, restart) = alone.timed_crash().await?;
        replayed(&back.boot_record().await?, megabytes)?;
        alone = back;
        writes.push(failover.as_secs_f64(), restart.as_secs_f64());
    }
    let what = format!("{megabytes} MB of WAL behind the last checkpoint");
    header(&what, "replica takes over", "crash and restart");
    writes.print("from the kill to the first commit", seconds);
    Ok(())
}
