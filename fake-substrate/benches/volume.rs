//! How long a fork stops its parent, beside how long a write takes anyway, in one run.
//! `cargo bench -p fake-substrate` prints the table of `docs/performance.md`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark measures time, and a step of it that fails ends it"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fake_substrate::volume::backing::folder::{self, FolderObjects};
use fake_substrate::volume::host::{Host, NewFork};
use fake_substrate::volume::store::Handle;
use fake_substrate::volume::store::decide::NewVolume;
use fake_substrate::volume::store::map::{BLOCK, BLOCK_BYTES};

const FORKS: usize = 50;
const MIB: u64 = 1 << 20;

fn main() {
    println!(
        "| volume | blocks written | fork, median | slowest | a writer's slowest write during a fork, median | slowest | a write otherwise, median | 99.9 % |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (bytes, blocks) in [(100 * MIB, 20_000), (16 << 30, 20_000), (16 << 30, 100_000)] {
        forks(bytes, blocks);
    }
}

fn forks(bytes: u64, blocks: u64) {
    let folder = tempfile::tempdir().unwrap();
    let local = folder::open(&folder.path().join("host")).unwrap();
    let objects = FolderObjects::open(&folder.path().join("objects")).unwrap();
    let host = Host::open(
        Box::new(local.arena),
        Box::new(local.journal),
        Arc::new(objects),
        1,
    );
    let host = Arc::new(host.unwrap());
    let new = NewVolume {
        name: "db".parse().unwrap(),
        bytes,
        ephemeral: true,
        expires_ms: None,
    };
    host.create(new, 0).unwrap();
    let handle = host.attach(&"db".parse().unwrap()).unwrap();
    // Spread evenly: every part of the map is there.
    let stride = bytes / BLOCK_BYTES / blocks;
    for at in 0..blocks {
        host.write(&handle, at * stride * BLOCK_BYTES, &[1; BLOCK], false)
            .unwrap();
    }
    host.flush(&handle).unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (host, handle, stop) = (Arc::clone(&host), handle, Arc::clone(&stop));
        std::thread::spawn(move || write_until(&host, &handle, bytes, &stop))
    };
    let mut spans = Vec::new();
    for number in 0..FORKS {
        pause(Duration::from_millis(40));
        let fork = NewFork {
            parent: "db".parse().unwrap(),
            child: format!("fork-{number}").parse().unwrap(),
            ephemeral: true,
            expires_ms: None,
        };
        let begin = Instant::now();
        host.fork(&fork, 0).unwrap();
        spans.push((begin, Instant::now()));
    }
    stop.store(true, Ordering::Relaxed);
    let writes = writer.join().unwrap();

    let overlaps = |begin: Instant, end: Instant| {
        spans
            .iter()
            .position(|(fork, forked)| begin < *forked && end > *fork)
    };
    let mut during = vec![Duration::ZERO; FORKS];
    let mut otherwise = Vec::new();
    for (begin, end) in writes {
        match overlaps(begin, end) {
            Some(fork) => during[fork] = during[fork].max(end - begin),
            None => otherwise.push(end - begin),
        }
    }
    let mut forks: Vec<_> = spans.iter().map(|(begin, end)| *end - *begin).collect();
    println!(
        "| {} MiB | {blocks} | {} | {} | {} | {} | {} | {} |",
        bytes / MIB,
        at(&mut forks, 500),
        at(&mut forks, 1000),
        at(&mut during, 500),
        at(&mut during, 1000),
        at(&mut otherwise, 500),
        at(&mut otherwise, 999),
    );
}

/// 8 KiB anywhere, a flush after each 64th: Postgres in a hurry.
fn write_until(
    host: &Host,
    handle: &Handle,
    bytes: u64,
    stop: &AtomicBool,
) -> Vec<(Instant, Instant)> {
    let mut writes = Vec::new();
    let mut place = 1u64;
    while !stop.load(Ordering::Relaxed) {
        place = place
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let offset = (place >> 20) % (bytes / 8192) * 8192;
        let begin = Instant::now();
        host.write(handle, offset, &[2; 8192], false).unwrap();
        if writes.len() % 64 == 0 {
            host.flush(handle).unwrap();
        }
        writes.push((begin, Instant::now()));
        // A guest thinks between its writes; without that the arena grows by gigabytes.
        std::thread::yield_now();
        pause(Duration::from_micros(200));
    }
    writes
}

fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The value below which so many of a thousand lie.
fn at(values: &mut [Duration], per_mille: usize) -> String {
    values.sort_unstable();
    let place = (values.len() * per_mille / 1000).min(values.len().saturating_sub(1));
    values.get(place).map_or("-".to_owned(), |value| {
        format!("{:.2} ms", value.as_secs_f64() * 1000.0)
    })
}
