//! The figures of the log, each beside its baseline measured in the same run, rounds interleaved.
//! `cargo bench -p e2e --profile dev` prints the tables of `docs/performance.md`.
//!
//! The baseline of a machine is `postgres` on a copy of its volume, with `cat >/dev/null` at the
//! other end of its pipe.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::bench::{Series, header, whole};
use e2e::{Bare, Encrypted, Failed, LinkTrouble, Logging, Reader, Vm, World, scenario};

const ROUNDS: usize = 7;
const FLOOD: u32 = 60_000;
/// What a machine may send, sustained.
const OFFERED: u32 = 500;
const WATCHED: Duration = Duration::from_secs(8);
const BENCH_SECONDS: u64 = 4;
/// Lines a second of a machine whose auditor wants everything.
const BUSY: f64 = 10_000.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    scenario(throughput).await?;
    scenario(async |world| {
        let (db, bare) = pair(world, world.vm("db").on_folder().memory("2g").boot().await?).await?;
        processor(&db, &bare).await?;
        transactions(&db, &bare).await?;
        bare.stop().await
    })
    .await
}

/// The machine again, linked, and beside it a bare server on a copy of its volume.
async fn pair(world: &World, db: Vm) -> Result<(Vm, Bare<'_>)> {
    db.writer().prepare().await?;
    let stopped = db.stop().await?;
    let bare = world.bare_copy(&stopped, Reader::Cat).await?;
    let db = stopped.boot().await?;
    bare.first_answer(Encrypted::Yes).await?;
    db.link_is("ready for clients", |link| link.service_ready)
        .await?;
    Ok((db, bare))
}

/// Lines a second from one backend to the host with the limit lifted, beside the same backend's to
/// `cat`.
async fn throughput(world: &World) -> Result<()> {
    let db = world.vm("db").memory("2g").without_log_limit();
    let (db, bare) = pair(world, db.boot().await?).await?;
    let (mut written, mut arrived) = (Series::default(), Series::default());
    let mut dropped = 0;
    for round in 0..ROUNDS {
        let flood = bare.writer().flood(FLOOD).await?;
        let baseline = f64::from(FLOOD) / (flood.ended - flood.began);

        let already = db.link_is("still there", |_| true).await?.last_line;
        let flood = db.writer().flood(FLOOD).await?;
        let end = format!("the end of flood {round}");
        db.sql(&format!("DO $$ BEGIN RAISE WARNING '{end}'; END $$"))
            .await?;
        db.host_hears(&end).await?;
        let received = db.received_after(already).await?;
        let audit = received.lines_with("AUDIT: SESSION,");
        let last = audit.last().context("nothing of the flood arrived")?;
        let arrival = Duration::from_millis(last.arrived_unix_ms).as_secs_f64();
        let took = flood.ended - flood.began;
        written.push(f64::from(FLOOD) / took, baseline);
        let count = f64::from(u32::try_from(audit.len())?);
        arrived.push(count / (arrival - flood.began), baseline);
        dropped += received.dropped();
    }
    let offered = usize::try_from(FLOOD)? * ROUNDS;
    header(
        "lines a second, one backend, 300 bytes each, no limit",
        "machine",
        "`cat`",
    );
    written.print("taken from Postgres", whole);
    arrived.print("arrived at the host", whole);
    println!("\nOf {offered} lines {dropped} were dropped, each counted in a notice.\n");
    bare.stop().await
}

/// What PID 1 spends on the lines that it may send, beside what `cat` spends on as many.
async fn processor(db: &Vm, bare: &Bare<'_>) -> Result<()> {
    let mut series = Series::default();
    for _ in 0..ROUNDS {
        let baseline = bare.writer().cpu_at(OFFERED, WATCHED).await?;
        series.push(db.writer().cpu_at(OFFERED, WATCHED).await?, baseline);
    }
    header(
        "share of a processor that the reader takes",
        "PID 1",
        "`cat`",
    );
    let what = format!("at {OFFERED} lines a second");
    series.print(&what, |share| format!("{:.2} %", 100.0 * share));
    println!();
    Ok(())
}

/// What logging costs those who run statements: at [`BUSY`] lines a second, and at one line for each
/// statement, whatever that comes to. Each run stands beside one without logging.
async fn transactions(db: &Vm, bare: &Bare<'_>) -> Result<()> {
    let unlogged = db.writer().reads(Logging::Off, BENCH_SECONDS).await?;
    let share = (BUSY / unlogged).min(1.0);
    for (logging, share) in [(Logging::Share(share), share), (Logging::All, 1.0)] {
        let mut healthy = Series::default();
        let mut stalled = Series::default();
        let mut baseline = Series::default();
        for _ in 0..ROUNDS {
            let off = bare.writer().reads(Logging::Off, BENCH_SECONDS).await?;
            baseline.push(bare.writer().reads(logging, BENCH_SECONDS).await?, off);
            let logged = db.writer().reads(logging, BENCH_SECONDS).await?;
            let off = db.writer().reads(Logging::Off, BENCH_SECONDS).await?;
            let stall = db.link_trouble(LinkTrouble::Stalled).await?;
            let unread = db.writer().reads(logging, BENCH_SECONDS).await?;
            stall.heal().await?;
            healthy.push(logged, off);
            stalled.push(unread, off);
        }
        let lines = share * healthy.median_figure();
        let what = format!("transactions a second, {lines:.0} lines a second");
        header(&what, "logged", "not logged");
        healthy.print("machine, its host reads", whole);
        stalled.print("machine, its host is stalled", whole);
        baseline.print("bare, `cat` reads", whole);
        println!();
    }
    Ok(())
}
