//! How fast a machine archives what waits, beside a plain loop and pgBackRest; and how fast it replays that again,
//! beside a bare Postgres. `cargo bench -p e2e --profile dev --bench archive` prints the tables of
//! `docs/performance.md`; behind `--`, `--rounds` and `--segments` make a run shorter, and `--part archive` or
//! `--part restore` measures one half.

use anyhow::{Result, ensure};
use e2e::bench::{Options, Series, header, megabytes_a_second, seconds};
use e2e::{
    Archiver, Backlog, Encrypted, Failed, PgBackRest, Spec, Stopped, Vm, WalOf, World,
    forget_archived, scenario,
};
use fake_substrate::s3::faults::Operation;
use fake_substrate::substrate::S3;

const SEGMENTS: u64 = 200;
const INSTANCE: &str = "db";
const ROWS: &str = "SELECT count(*) FROM notes";
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
    let little = stage.replay(&mut backlog, &begin, 1).await?;
    let much = options.segments_or(SEGMENTS);
    let much = stage.replay(&mut backlog, &begin, much).await?;

    if options.has_part("archive") {
        stage.archives(&backlog, "answers at once").await?;
        let away = stage.s3.delay(None::<Operation>, AWAY_MS).start().await?;
        let answers = format!("answers {AWAY_MS} ms later");
        stage.archives(&backlog, &answers).await?;
        away.heal().await?;
    } else {
        stage.archived(&backlog).await?;
    }
    if options.has_part("restore") {
        let took = |_bytes, took| took;
        stage.restores(&base, &little, took, seconds).await?;
        let rate = |bytes, took| bytes / took;
        let shown = megabytes_a_second;
        stage.restores(&base, &much, rate, shown).await?;
    }
    Ok(())
}

/// WAL from the base's end on.
struct Replay {
    /// The LSN where it ends.
    end: String,
    bytes: f64,
    /// How many rows there are at its end.
    rows: i64,
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

    /// So many segments more.
    async fn replay(
        &self,
        backlog: &mut Backlog<'_>,
        begin: &str,
        segments: u64,
    ) -> Result<Replay> {
        let end = backlog.grow_by(segments).await?;
        let bytes = backlog.bytes_since(begin).await? as f64;
        let rows = self.db.ask(ROWS).await?;
        Ok(Replay { end, bytes, rows })
    }

    /// What is replayed has to be in both archives.
    async fn archived(&self, backlog: &Backlog<'_>) -> Result<()> {
        let theirs = Archiver::Command(self.pgbackrest.archive_command());
        backlog.archived_by(&Archiver::Machine).await?;
        backlog.waits_again().await?;
        self.pgbackrest.forget(self.db, &self.s3).await?;
        backlog.archived_by(&theirs).await?;
        backlog.waits_again().await
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

    /// That WAL replayed on the base, from the start to the first answer; `figure` makes one of bytes and seconds.
    async fn restores(
        &self,
        base: &Stopped,
        replay: &Replay,
        figure: impl Fn(f64, f64) -> f64,
        shown: fn(f64) -> String,
    ) -> Result<()> {
        let Replay { end, bytes, rows } = replay;
        let megabytes = bytes / 1e6;
        let (mut beside_cp, mut beside_pgbackrest) = (Series::default(), Series::default());
        for round in 0..self.rounds {
            let name = format!("restored-{megabytes:.0}-{round}");
            let spec = restored_to(base.fork(&name).memory("2g"), &self.s3, &name, end);
            let (restored, ours) = spec.timed_boot().await?;
            let found: i64 = restored.ask(ROWS).await?;
            ensure!(found == *rows, "{found} rows instead of {rows}");
            restored.crash().await?.remove().await?;

            let writer = self.replayed(base, WalOf::Writer, end).await?;
            let repository = WalOf::Repository(&self.pgbackrest, &self.image);
            let repository = self.replayed(base, repository, end).await?;
            let ours = figure(*bytes, ours.as_secs_f64());
            beside_cp.push(ours, figure(*bytes, writer));
            beside_pgbackrest.push(ours, figure(*bytes, repository));
        }
        let what = format!("{megabytes:.0} MB of WAL replayed, to the first answer");
        header(&what, "machine", "bare");
        beside_cp.print("local files, `cp`", shown);
        beside_pgbackrest.print("pgBackRest, asynchronous", shown);
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
