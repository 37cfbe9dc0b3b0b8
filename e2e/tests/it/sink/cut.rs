//! Boots that end while they fetch from the sink.

use anyhow::{Result, ensure};
use e2e::{Cut, Door, Outcome, Promise, Records, Stopped, scenario};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// How many boots are cut and completed at a time.
const AT_A_TIME: usize = 3;

/// What a volume that lacks WAL has to have again, however often its boot is cut.
struct Loss {
    volume: Stopped,
    acknowledged: Promise,
    /// Where the volume ends, and where the sink does.
    lacks: (String, String),
    records: Records,
}

/// A volume fell back to a clean stop, and lacks several segments. Wherever the boot that fetches them is cut, after
/// a step of its plan or at a moment within the fetching, the next one has all that was acknowledged and the WAL
/// that the sink has, record for record. Each try begins with a copy of the volume, as the same instance.
#[tokio::test]
async fn a_boot_that_fetches_is_cut_at_every_step_and_moment_and_completed_by_the_next() -> Outcome
{
    scenario(async |world| {
        let sink = world.vm("sink").sink_of("db")?.boot_sink().await?;
        let db = world.vm("db").on_block_volume().with_sink("sink")?;
        let db = db.instance("db").boot().await?;
        db.has_its_sink().await?;
        let db = db.stop().await?;
        db.flush().await?;
        let no_flush = world.flushes_fail().await?;
        let db = db.boot().await?;
        let from = db.ask("SELECT redo_lsn::text FROM pg_control_checkpoint()");
        let from: String = from.await?;
        db.has_its_sink().await?;
        let mut ledger = db.keep_writing(Door::Direct).await?;
        for rows in [20, 40, 60] {
            ledger.reaches(rows).await?;
            db.sql("SELECT pg_switch_wal()").await?;
        }
        ledger.reaches(80).await?;
        let lost = db.lose_host().await?;
        let acknowledged = ledger.cut_off().await?;
        no_flush.heal().await?;
        let to = sink.wal_ends().await?;
        let loss = Loss {
            volume: lost.rehome().await?,
            acknowledged,
            records: sink.wal_received(&from, &to).await?,
            lacks: (from, to),
        };

        ensure!(loss.records.number > 80, "{:?}", loss.records);
        let log = loss.uncut().await?;
        let cuts = Cut::everywhere_in(&log)?;
        let moments = cuts.iter().filter(|cut| matches!(cut, Cut::At(_)));
        let fetched = log.iter().filter(|line| line.contains("fetched 0"));
        let (moments, fetched) = (moments.count(), fetched.count());
        eprintln!(
            "{} records, {fetched} segments are missing: {moments} moments, {} cuts in all",
            loss.records.number,
            cuts.len()
        );
        // Before the first, after each, when all is whole, behind the backup label.
        ensure!(fetched > 3 && moments == fetched + 3, "{cuts:?}");
        stream::iter(cuts)
            .map(|cut| loss.cut_and_complete(cut))
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>()
            .await
    })
    .await
}

impl Loss {
    /// The log of a boot that nobody cuts.
    async fn uncut(&self) -> Result<Vec<String>> {
        let spec = self.volume.fork("uncut").with_sink("sink")?;
        let db = spec.instance("db").with_failpoints().boot().await?;
        self.is_made_good(&db).await?;
        let log = db.log().await?;
        db.crash().await?.remove().await?;
        Ok(log)
    }

    async fn cut_and_complete(&self, cut: Cut) -> Result<()> {
        let name = cut.to_string().replace(' ', "-");
        let spec = self.volume.fork(&name).with_sink("sink")?;
        let db = spec.instance("db").cut(cut).start().await?.ended().await?;
        db.must_have_been_cut(cut).await?;
        let db = db.with_the_released_image().boot().await?;
        self.is_made_good(&db).await?;
        db.must_have_an_empty_plan().await?;
        db.crash().await?.remove().await
    }

    async fn is_made_good(&self, db: &e2e::Vm) -> Result<()> {
        self.acknowledged.is_kept_by(db).await?;
        let (from, to) = &self.lacks;
        let records = db.wal_written(from, to).await?;
        ensure!(
            records == self.records,
            "{}: {records:?} between {from} and {to}, of which the sink has {:?}",
            db.name(),
            self.records
        );
        Ok(())
    }
}
