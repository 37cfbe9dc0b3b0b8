//! A fork of a disk beside the two ways that Postgres has to copy a database, and what it costs the
//! parent. `cargo bench -p e2e --profile dev --bench fork` prints the tables of `docs/performance.md`;
//! behind `--`, `--rounds`, `--seconds` and `--megabytes` make a run shorter.

use std::time::Duration;

use anyhow::Result;
use e2e::bench::{Options, Series, header, milliseconds, seconds, whole};
use e2e::{Encrypted, Failed, Vm, World, scenario};

/// A small database, and one that does not fit into the machine's memory.
const MEGABYTES: [u64; 2] = [100, 4096];

/// Room for the larger one and for its clone.
const DISK: &str = "32g";

/// On several threads: the parent's client must not wait for whoever makes the fork.
#[tokio::main]
async fn main() -> Result<(), Failed> {
    let options = Options::read();
    for megabytes in options.megabytes_or(&MEGABYTES) {
        scenario(async |world| {
            let db = world.vm("db").memory("2g").on_block_volume();
            let db = db.boot().await?;
            db.resize_disk(DISK).await?;
            let db = db.restart().await?;
            db.fill(megabytes).await?;
            copies(world, &db, &options, megabytes).await?;
            parent(&db, &options, megabytes).await
        })
        .await?;
    }
    Ok(())
}

/// From the order to the first answer of the copy.
async fn copies(world: &World, db: &Vm, options: &Options, megabytes: u64) -> Result<()> {
    let (mut backups, mut clones) = (Series::default(), Series::default());
    for round in 0..options.rounds {
        let fork = db.fork(&format!("fork-{round}")).memory("2g");
        let (fork, took) = fork.timed_from_the_order().await?;
        fork.crash().await?.remove().await?;
        let fork = took.as_secs_f64();

        let bare = world.bare_backup(db).await?;
        let backup = bare.first_answer(Encrypted::Yes).await?;
        bare.stop().await?;
        bare.remove().await?;
        backups.push(fork, backup.as_secs_f64());

        let clone = db.copies_the_database().await?;
        clones.push(fork, clone.as_secs_f64());
    }
    let what = format!("a copy of {megabytes} MB, to its first answer");
    header(&what, "fork", "beside it");
    backups.print("`pg_basebackup` and `postgres`", seconds);
    clones.print("`CREATE DATABASE … STRATEGY FILE_COPY`, `clone`", seconds);
    println!();
    Ok(())
}

/// What one client of the parent has of it, from the order until the fork is made: its checkpoint is in it,
/// its boot is not.
async fn parent(db: &Vm, options: &Options, megabytes: u64) -> Result<()> {
    let (mut stall, mut commits) = (Series::default(), Series::default());
    // The copies have left much to put into object storage, and writes wait for that.
    db.flush().await?;
    for round in 0..options.rounds {
        let client = db.acknowledgements().await?;
        db.lets_pass(1).await?;
        let quiet = client.now();
        db.lets_pass(options.seconds).await?;
        let ordered = client.now();
        let fork = db.fork(&format!("made-{round}")).make().await?;
        let made = client.now();
        let second = ordered + Duration::from_secs(1);
        db.lets_pass(2).await?;

        let before = client.between(quiet, ordered);
        let during = client.between(ordered, made);
        let gap = |gap: Duration| gap.as_secs_f64();
        stall.push(gap(during.longest_gap), gap(before.longest_gap));
        let dip = client.between(ordered, second).per_second;
        commits.push(dip, before.per_second);
        drop(client);
        fork.remove().await?;
    }
    let what = format!("one client of the parent, {megabytes} MB");
    header(&what, "fork", "before it");
    stall.print("longest time between two commits", milliseconds);
    commits.print("commits a second, in the second from the order on", whole);
    println!();
    Ok(())
}
