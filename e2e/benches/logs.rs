//! The figures of the log, each beside its baseline measured in the same run, rounds interleaved.
//! `cargo bench -p e2e --profile dev` prints the tables of `docs/performance.md`.
//!
//! The baseline of a machine is `postgres` on a copy of its volume, with `cat >/dev/null` at the
//! other end of its pipe.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::{Bare, Encrypted, Failed, LinkMode, Logging, Reader, Vm, World, scenario};

const ROUNDS: usize = 9;
const FLOOD: u32 = 60_000;
/// What a machine may send, sustained.
const OFFERED: u32 = 500;
const WATCHED: Duration = Duration::from_secs(10);
const BENCH_SECONDS: u64 = 4;
/// Lines a second of a machine whose auditor wants everything.
const BUSY: f64 = 10_000.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    scenario(throughput).await?;
    scenario(async |world| {
        let (db, bare) = pair(world, world.vm("db").memory("2g").boot().await?).await?;
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
    let (mut written, mut arrived, mut baseline) = (Vec::new(), Vec::new(), Vec::new());
    let mut dropped = 0;
    for round in 0..ROUNDS {
        let flood = bare.writer().flood(FLOOD).await?;
        baseline.push(f64::from(FLOOD) / (flood.ended - flood.began));

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
        written.push(f64::from(FLOOD) / (flood.ended - flood.began));
        arrived.push(f64::from(u32::try_from(audit.len())?) / (arrival - flood.began));
        dropped += received.dropped();
    }
    let offered = usize::try_from(FLOOD)? * ROUNDS;
    println!(
        "| lines a second, one backend, 300 bytes each, no limit | machine | `cat` | ratio | rounds |"
    );
    println!("|---|---|---|---|---|");
    let (written, arrived, baseline) = (median(written), median(arrived), median(baseline));
    row("taken from Postgres", written, baseline);
    row("arrived at the host", arrived, baseline);
    println!("\nOf {offered} lines {dropped} were dropped, each counted in a notice.\n");
    bare.stop().await
}

fn row(what: &str, machine: f64, baseline: f64) {
    let ratio = machine / baseline;
    println!("| {what} | {machine:.0} | {baseline:.0} | **{ratio:.2}** | {ROUNDS} |");
}

/// What PID 1 spends on the lines that it may send, beside what `cat` spends on as many.
async fn processor(db: &Vm, bare: &Bare<'_>) -> Result<()> {
    let (mut machine, mut baseline) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        machine.push(db.writer().cpu_at(OFFERED, WATCHED).await?);
        baseline.push(bare.writer().cpu_at(OFFERED, WATCHED).await?);
    }
    let (machine, baseline) = (median(machine), median(baseline));
    println!("| processor time of the reader | PID 1 | `cat` | ratio | rounds |");
    println!("|---|---|---|---|---|");
    println!(
        "| at {OFFERED} lines a second | {:.2} % | {:.2} % | **{:.1}** | {ROUNDS} |",
        100.0 * machine,
        100.0 * baseline,
        machine / baseline
    );
    Ok(())
}

/// What logging costs those who run statements: at [`BUSY`] lines a second, and at one line for each
/// statement, whatever that comes to.
async fn transactions(db: &Vm, bare: &Bare<'_>) -> Result<()> {
    let unlogged = db.writer().reads(Logging::Off, BENCH_SECONDS).await?;
    let share = (BUSY / unlogged).min(1.0);
    for logging in [Logging::Share(share), Logging::All] {
        let (mut off, mut healthy, mut stalled) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bare_off, mut bare_on) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            off.push(db.writer().reads(Logging::Off, BENCH_SECONDS).await?);
            healthy.push(db.writer().reads(logging, BENCH_SECONDS).await?);
            db.link_mode(LinkMode::Stalled).await?;
            stalled.push(db.writer().reads(logging, BENCH_SECONDS).await?);
            db.link_mode(LinkMode::Normal).await?;
            bare_off.push(bare.writer().reads(Logging::Off, BENCH_SECONDS).await?);
            bare_on.push(bare.writer().reads(logging, BENCH_SECONDS).await?);
        }
        let healthy = median(healthy);
        let lines = match logging {
            Logging::Share(share) => share * healthy,
            Logging::All | Logging::Off => healthy,
        };
        println!(
            "\n| transactions a second, {lines:.0} lines a second | logged | not logged | ratio | rounds |"
        );
        println!("|---|---|---|---|---|");
        let (off, bare_off) = (median(off), median(bare_off));
        row("machine, its host reads", healthy, off);
        row("machine, its host is stalled", median(stalled), off);
        row("bare, `cat` reads", median(bare_on), bare_off);
    }
    Ok(())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
