//! The figures of a boot, each beside its baseline measured in the same run, rounds interleaved.
//! `cargo bench -p e2e --profile dev` prints the tables of `docs/performance.md`.

use std::time::Duration;

use anyhow::Result;
use e2e::{Encrypted, Failed, Reader, World, scenario};

const EXISTING_ROUNDS: usize = 9;
const EMPTY_ROUNDS: usize = 5;
const WATCHED: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    scenario(async |world| {
        println!("| | machine, median | bare, median | ratio of medians | rounds | aim |");
        println!("|---|---|---|---|---|---|");
        existing_volume(world).await?;
        empty_volume(world).await
    })
    .await?;
    scenario(idle).await
}

/// A machine's start to the first answered query, beside `postgres` on a copy of the volume.
async fn existing_volume(world: &World) -> Result<()> {
    let mut machine = world
        .vm("db")
        .on_folder()
        .memory("2g")
        .boot()
        .await?
        .stop()
        .await?;
    let bare = world.bare_copy(&machine, Reader::Docker).await?;
    let mut series = Series::default();
    for _ in 0..EXISTING_ROUNDS {
        let (running, took) = machine.timed_boot().await?;
        machine = running.stop().await?;
        let baseline = bare.first_answer(Encrypted::Yes).await?;
        bare.stop().await?;
        series.push(took, baseline);
    }
    series.print(
        "start on an existing volume, to the first answered query",
        "≤ 1.5",
    );
    Ok(())
}

/// The same on an empty volume, beside `initdb` and `postgres`.
async fn empty_volume(world: &World) -> Result<()> {
    let mut series = Series::default();
    for round in 0..EMPTY_ROUNDS {
        let spec = world.vm(&format!("empty-{round}")).memory("2g");
        let (running, took) = spec.timed_boot().await?;
        running.stop().await?.remove().await?;
        let bare = world.bare_empty(round).await?;
        let baseline = bare.first_answer(Encrypted::No).await?;
        bare.stop().await?;
        series.push(took, baseline);
    }
    series.print(
        "start on an empty volume, to the first answered query",
        "≤ 1.2",
    );
    Ok(())
}

/// What PID 1 costs while nothing happens.
async fn idle(world: &World) -> Result<()> {
    let idle = world
        .vm("db")
        .memory("2g")
        .boot()
        .await?
        .idle(WATCHED)
        .await?;
    println!(
        "\n| PID 1, idle for {} s | figure | aim |",
        WATCHED.as_secs()
    );
    println!("|---|---|---|");
    println!(
        "| resident memory (of it anonymous) | {:.1} MB ({:.1} MB) | ≤ 8 MB |",
        mb(idle.resident_kb),
        mb(idle.anonymous_kb)
    );
    println!("| wake-ups | {:.2} /s | ≤ 1 /s |", idle.wakeups_per_second);
    println!(
        "| executable | {:.1} MB | ≤ 10 MB |",
        mb(idle.binary_bytes / 1024)
    );
    Ok(())
}

fn mb(kb: u64) -> f64 {
    f64::from(u32::try_from(kb).unwrap_or(u32::MAX)) / 1024.0
}

/// Pairs of one round each.
#[derive(Debug, Default)]
struct Series {
    machine: Vec<Duration>,
    bare: Vec<Duration>,
}

impl Series {
    fn push(&mut self, machine: Duration, bare: Duration) {
        self.machine.push(machine);
        self.bare.push(bare);
    }

    fn print(self, what: &str, aim: &str) {
        let rounds = self.machine.len();
        let (machine, bare) = (median(self.machine), median(self.bare));
        println!(
            "| {what} | {:.2} s | {:.2} s | **{:.2}** | {rounds} | {aim} |",
            machine.as_secs_f64(),
            bare.as_secs_f64(),
            machine.as_secs_f64() / bare.as_secs_f64()
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
