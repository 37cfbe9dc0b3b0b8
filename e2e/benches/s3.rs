//! The object storage of a substrate beside moto, the double of S3 that many projects test with:
//! one client, one run, rounds interleaved. `cargo bench -p e2e --profile dev --bench s3` prints
//! the table of `docs/performance.md`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::until::{Look, until};
use e2e::{Failed, World, budget, scenario, timed};
use fake_substrate::command::{CommandError, Program};
use fake_substrate::progress::Quiet;
use fake_substrate::s3::client::{Call, Client, Method};
use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const MOTO: &str = "moto[server,s3]==5.2.5";
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

async fn put(client: &Client, key: &str, size: usize) -> Result<()> {
    let put = client.put(key, vec![b'w'; size]).await?;
    ensure!(put.status.is_success(), "{put:?}");
    Ok(())
}

async fn get(client: &Client, key: &str, size: usize) -> Result<()> {
    let got = client.get(key).await?;
    ensure!(
        got.status.is_success() && got.body.len() == size,
        "{:?}",
        got.headers
    );
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// moto's server, for as long as this is kept.
struct Moto {
    client: Client,
    serving: JoinHandle<Result<String, CommandError>>,
}

impl Moto {
    /// In a virtual environment under `target/`, made when it is missing; with the bucket and the keys
    /// that `like` has.
    async fn start(like: &Client) -> Result<Self> {
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("s3-bench");
        let python = venv.join("bin/python");
        let works = Program::named(&python).args(["-c", "import moto.server"]);
        if works.run(&Quiet).await.is_err() {
            let make = Program::named("python3").args(["-m", "venv", "--clear"]);
            let made = make.arg(&venv).run(&Quiet).await;
            made.context("the benchmark takes python3 with venv")?;
            let install = Program::named(&python).args(["-m", "pip", "install", "-q", MOTO]);
            install.run(&Quiet).await.context("installing moto")?;
        }
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let server = Program::named(&python).args(["-m", "moto.server", "-H", "127.0.0.1", "-p"]);
        let server = server.arg(port.to_string());
        let serving = tokio::spawn(async move { server.run(&Quiet).await });
        let client = like.at(&format!("http://127.0.0.1:{port}"));
        let moto = Self { client, serving };
        until(budget::READY, "moto makes a bucket", async || {
            let made = moto.client.send(Call::new(Method::PUT, "")).await;
            Ok(match made {
                Ok(answer) if answer.status.is_success() => Look::Found(()),
                Ok(answer) => Look::NotYet(format!("{answer:?}")),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
        .await?;
        Ok(moto)
    }
}

impl Drop for Moto {
    /// Ends the server with it.
    fn drop(&mut self) {
        self.serving.abort();
    }
}
