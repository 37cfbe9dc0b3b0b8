//! How fast a machine archives what waits, beside a plain loop and pgBackRest; and how fast it replays that again,
//! beside a bare Postgres. `cargo bench -p e2e --profile dev --bench archive` prints the tables of
//! `docs/performance.md`; behind `--`, `--rounds` and `--segments` make a run shorter.

use anyhow::{Result, ensure};
use e2e::bench::{Options, Series, header, megabytes_a_second};
use e2e::{
    Archiver, Backlog, Encrypted, Failed, PgBackRest, Spec, Stopped, Vm, WalOf, World,
    forget_archived, scenario,
};
use fake_substrate::s3::faults::Operation;
use fake_substrate::substrate::S3;

const SEGMENTS: u64 = 200;
const INSTANCE: &str = "db";
/// Later by so much everything is answered whose object storage is not on the same host.
const AWAY_MS: u64 = 50;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let options = Options::read();
    scenario(async |world| compare(world, &options).await).await
}

/// Everything that is measured.
struct Stage<'a> {
    world: &'a World,
    s3: S3,
    /// The one that is shipped, with pgBackRest.
    image: String,
    pgbackrest: PgBackRest,
    db: &'a Vm,
    rounds: usize,
}

async fn compare(world: &World, options: &Options) -> Result<()> {
    let s3 = world.s3().await?;
    let image = world.image_with_pgbackrest().await?;
    let db = world.vm("db").memory("2g").on_folder().of_image(&image);
    let db = db.archived(&s3).instance(INSTANCE).boot().await?;
    db.archives_over_tls(&s3).await?;
    let stage = Stage {
        world,
        pgbackrest: PgBackRest::new(&s3),
        s3,
        image,
        db: &db,
        rounds: options.rounds,
    };
    stage.pgbackrest.install(&db).await?;
    let mut backlog = db.backlog().await?;
    let base = stage.base().await?;
    let begin = backlog.lsn().await?;
    let end = backlog.grow_by(options.segments_or(SEGMENTS)).await?;
    let bytes = backlog.bytes_since(&begin).await?;

    stage.archives(&backlog, "answers at once").await?;
    let away = stage.s3.delay(None::<Operation>, AWAY_MS).start().await?;
    let answers = format!("answers {AWAY_MS} ms later");
    stage.archives(&backlog, &answers).await?;
    away.heal().await?;
    stage.restores(&base, &end, bytes as f64).await
}

impl Stage<'_> {
    /// A machine that is off, on a copy of the volume as it is now.
    async fn base(&self) -> Result<Stopped> {
        let base = self.db.fork("base").memory("2g");
        // A target that no volume can be restored to: it is refused, and nothing is changed.
        let refused = restored_to(base, &self.s3, "base", "0/1").start().await?;
        let base = refused.ended().await?;
        base.must_have_said("LSN 0/1 lies before the end of this volume")
            .await?;
        Ok(base)
    }

    /// The same segments by each in turn. What they have put at last stays.
    async fn archives(&self, backlog: &Backlog<'_>, answers: &str) -> Result<()> {
        let theirs = Archiver::Command(self.pgbackrest.archive_command());
        let (mut beside_loop, mut beside_pgbackrest) = (Series::default(), Series::default());
        let mut packed = 0.0;
        for _round in 0..self.rounds {
            forget_archived(&self.s3, INSTANCE).await?;
            let ours = backlog.archived_by(&Archiver::Machine).await?;
            backlog.waits_again().await?;

            let plainly = backlog.archived_one_after_the_other(&self.s3).await?;
            packed = plainly.packed;

            self.pgbackrest.forget(self.db, &self.s3).await?;
            let pgbackrest = backlog.archived_by(&theirs).await?;
            backlog.waits_again().await?;

            beside_loop.push(ours, plainly.rate);
            beside_pgbackrest.push(ours, pgbackrest);
        }
        let segments = backlog.segments();
        let what = format!("{segments} segments archived, object storage {answers}");
        header(&what, "machine", "beside it");
        beside_loop.print("`lz4` and `curl`, one after the other", megabytes_a_second);
        beside_pgbackrest.print("pgBackRest, asynchronous", megabytes_a_second);
        println!(
            "\nPacked they have {:.0} % of their size.\n",
            100.0 * packed
        );
        Ok(())
    }

    /// That much WAL replayed on the base, from the start to the first answer.
    async fn restores(&self, base: &Stopped, end: &str, bytes: f64) -> Result<()> {
        let (mut beside_cp, mut beside_pgbackrest) = (Series::default(), Series::default());
        let rows = "SELECT count(*) FROM notes";
        let expected: i64 = self.db.ask(rows).await?;
        for round in 0..self.rounds {
            let name = format!("restored-{round}");
            let spec = restored_to(base.fork(&name).memory("2g"), &self.s3, &name, end);
            let (restored, ours) = spec.timed_boot().await?;
            let found: i64 = restored.ask(rows).await?;
            ensure!(found == expected, "{found} rows instead of {expected}");
            restored.crash().await?.remove().await?;

            let writer = self.replayed(base, WalOf::Writer, end).await?;
            let repository = WalOf::Repository(&self.pgbackrest, &self.image);
            let repository = self.replayed(base, repository, end).await?;
            let ours = bytes / ours.as_secs_f64();
            beside_cp.push(ours, bytes / writer);
            beside_pgbackrest.push(ours, bytes / repository);
        }
        let what = format!("{:.0} MB of WAL replayed, to the first answer", bytes / 1e6);
        header(&what, "machine", "bare");
        beside_cp.print("local files, `cp`", megabytes_a_second);
        beside_pgbackrest.print("pgBackRest, asynchronous", megabytes_a_second);
        println!();
        Ok(())
    }

    /// By a bare server; how many seconds it took.
    async fn replayed(&self, base: &Stopped, wal: WalOf<'_>, end: &str) -> Result<f64> {
        let bare = self.world.bare_recovery(base, self.db, wal, end).await?;
        let took = bare.first_answer(Encrypted::Yes).await?;
        bare.stop().await?;
        bare.remove().await?;
        Ok(took.as_secs_f64())
    }
}

fn restored_to(spec: Spec, s3: &S3, instance: &str, lsn: &str) -> Spec {
    spec.archived(s3)
        .instance(instance)
        .metadata("BEYOND_PG_RESTORE_TARGET_LSN", lsn)
}
