//! What a volume of the double costs beside a plain disk, a rehome beside a restart, and the object storage
//! with objects of the size of a pack beside moto. `cargo bench -p e2e --profile dev --bench volumes` prints
//! the tables of `docs/performance.md`; behind `--`, `--rounds`, `--seconds` and `--megabytes` make a run
//! shorter.

use anyhow::Result;
use e2e::bench::{Options, Series, header, seconds, whole};
use e2e::moto::{Moto, get, put};
use e2e::{Encrypted, Failed, Reader, World, scenario, timed};
use fake_substrate::s3::client::Client;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// What is rehomed.
const MEGABYTES: [u64; 1] = [100];
const OBJECT: usize = 8 << 20;
const OBJECTS: usize = 16;
const AT_A_TIME: usize = 4;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let options = Options::read();
    scenario(async |world| transactions(world, &options).await).await?;
    for megabytes in options.megabytes_or(&MEGABYTES) {
        scenario(async |world| rehomes(world, &options, megabytes).await).await?;
    }
    scenario(async |world| objects(world, &options).await).await
}

/// Commits on a disk of a block store and on a folder, beside `postgres` alone on a folder.
async fn transactions(world: &World, options: &Options) -> Result<()> {
    let block = world.vm("block").memory("2g").on_block_volume();
    let block = block.boot().await?;
    let copy = world.vm("copy").memory("2g").boot().await?;
    block.writer().prepare().await?;
    copy.writer().prepare().await?;
    let copy = copy.stop().await?;
    let bare = world.bare_copy(&copy, Reader::Docker).await?;
    let copy = copy.boot().await?;
    bare.first_answer(Encrypted::Yes).await?;
    let (mut on_block, mut on_copy) = (Series::default(), Series::default());
    for _round in 0..options.rounds {
        let baseline = bare.writer().commits(options.seconds).await?;
        on_block.push(block.writer().commits(options.seconds).await?, baseline);
        on_copy.push(copy.writer().commits(options.seconds).await?, baseline);
    }
    header(
        "commits a second, `pgbench` with 4 clients",
        "machine",
        "bare, Docker volume",
    );
    on_block.print("block volume", whole);
    on_copy.print("copy volume", whole);
    println!();
    bare.stop().await
}

/// On a host that has nothing of it, beside a start where it is.
async fn rehomes(world: &World, options: &Options, megabytes: u64) -> Result<()> {
    let mut db = world.vm("db").memory("2g").on_block_volume().boot().await?;
    db.fill(megabytes).await?;
    let (mut answers, mut all) = (Series::default(), Series::default());
    for _round in 0..options.rounds {
        let (there, start) = db.crash().await?.timed_boot().await?;
        let read = there.reads_it_all().await?;
        there.flush().await?;
        let (rehomed, rehome) = there.lose_host().await?.timed_rehome().await?;
        answers.push(rehome.as_secs_f64(), start.as_secs_f64());
        let cold = rehomed.reads_it_all().await?;
        all.push(cold.as_secs_f64(), read.as_secs_f64());
        db = rehomed;
    }
    let what = format!("{megabytes} MB after the loss of a host");
    header(&what, "rehomed", "started where it was");
    answers.print("to the first answer", seconds);
    all.print("then reading all of it once", seconds);
    println!();
    Ok(())
}

/// Objects of 8 MiB, four at a time.
async fn objects(world: &World, options: &Options) -> Result<()> {
    let ours = world.s3().await?.client()?;
    let moto = Moto::start(&ours).await?;
    let (mut puts, mut gets) = (Series::default(), Series::default());
    let rate = |took: std::time::Duration| (OBJECTS * OBJECT) as f64 / 1e6 / took.as_secs_f64();
    for _round in 0..options.rounds {
        let (here, there) = (
            timed(all_put(&ours)).await?,
            timed(all_put(&moto.client)).await?,
        );
        puts.push(rate(here), rate(there));
        let (here, there) = (
            timed(all_got(&ours)).await?,
            timed(all_got(&moto.client)).await?,
        );
        gets.push(rate(here), rate(there));
    }
    let what = format!("{OBJECTS} objects of 8 MiB, {AT_A_TIME} at a time");
    header(&what, "this one", "moto");
    let megabytes = |rate: f64| format!("{rate:.0} MB/s");
    puts.print("puts", megabytes);
    gets.print("gets", megabytes);
    Ok(())
}

async fn all_put(client: &Client) -> Result<()> {
    let puts = stream::iter(0..OBJECTS).map(async |n| put(client, &key(n), OBJECT).await);
    puts.buffer_unordered(AT_A_TIME).try_collect().await
}

async fn all_got(client: &Client) -> Result<()> {
    let gets = stream::iter(0..OBJECTS).map(async |n| get(client, &key(n), OBJECT).await);
    gets.buffer_unordered(AT_A_TIME).try_collect().await
}

fn key(number: usize) -> String {
    format!("packs/{number:04}")
}
