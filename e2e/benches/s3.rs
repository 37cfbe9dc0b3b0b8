//! The object storage of a substrate beside moto, the double of S3 that many projects test with:
//! one client, one run, rounds interleaved. `cargo bench -p e2e --profile dev --bench s3` prints
//! the table of `docs/performance.md`.

use std::time::Duration;

use anyhow::Result;
use e2e::moto::{Moto, get, put};
use e2e::{Failed, World, scenario, timed};
use fake_substrate::s3::client::Client;
use futures_util::future::try_join_all;

const ROUNDS: usize = 7;
/// A WAL segment.
const SEGMENT: usize = 16 << 20;
const SEGMENTS: usize = 4;
const SMALL: usize = 1 << 10;
const SMALL_ONES: usize = 200;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    scenario(compare).await
}

async fn compare(world: &World) -> Result<()> {
    let ours = world.s3().await?.client()?;
    let moto = Moto::start(&ours).await?;
    println!("| | this one, median | moto, median | ratio | rounds |");
    println!("|---|---|---|---|---|");
    let mb = (SEGMENTS * SEGMENT) as f64 / 1e6;
    let count = SMALL_ONES as f64;
    for (what, work, amount, unit) in [
        ("16 MB puts, one after another", Work::Puts, mb, "MB/s"),
        ("16 MB puts, 4 at a time", Work::ParallelPuts, mb, "MB/s"),
        ("16 MB gets, one after another", Work::Gets, mb, "MB/s"),
        ("1 kB puts, one after another", Work::SmallPuts, count, "/s"),
        ("1 kB gets, one after another", Work::SmallGets, count, "/s"),
    ] {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for _round in 0..ROUNDS {
            here.push(timed(work.done_by(&ours)).await?);
            there.push(timed(work.done_by(&moto.client)).await?);
        }
        let rate = |times: Vec<Duration>| amount / median(times).as_secs_f64();
        let (here, there) = (rate(here), rate(there));
        let ratio = here / there;
        println!("| {what} | {here:.0} {unit} | {there:.0} {unit} | **{ratio:.1}** | {ROUNDS} |");
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Work {
    Puts,
    ParallelPuts,
    Gets,
    SmallPuts,
    SmallGets,
}

impl Work {
    async fn done_by(self, client: &Client) -> Result<()> {
        let keys = |count: usize| (0..count).map(|number| format!("wal/{number:04}"));
        match self {
            Self::Puts => {
                for key in keys(SEGMENTS) {
                    put(client, &key, SEGMENT).await?;
                }
            }
            Self::ParallelPuts => {
                let puts = keys(SEGMENTS).map(async |key| put(client, &key, SEGMENT).await);
                try_join_all(puts).await?;
            }
            Self::Gets => {
                for key in keys(SEGMENTS) {
                    get(client, &key, SEGMENT).await?;
                }
            }
            Self::SmallPuts => {
                for key in keys(SMALL_ONES) {
                    put(client, &format!("small/{key}"), SMALL).await?;
                }
            }
            Self::SmallGets => {
                for key in keys(SMALL_ONES) {
                    get(client, &format!("small/{key}"), SMALL).await?;
                }
            }
        }
        Ok(())
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
