//! WAL that waits to be archived, and how fast somebody does it: for benchmarks alone.

use anyhow::{Context as _, Result, ensure};
use fake_substrate::substrate::S3;

use crate::budget;
use crate::disk::PGDATA;
use crate::object_storage::clear;
use crate::running::POSTGRES;
use crate::sql::{Door, Session};
use crate::stopwatch::timed;
use crate::until::{Look, until};
use crate::vm::Vm;

/// Bytes of a segment.
const SEGMENT: i64 = 16 << 20;
/// Where in the bucket the plain loop puts what it archives.
const PLAIN: &str = "plain";

/// One bout of an application: rows of some 250 bytes, half of it words and half of it random, come, change
/// and go.
const BOUT: &str = "
    INSERT INTO notes (author, body)
        SELECT (random() * 1000)::int,
               md5(random()::text) || ' was written by somebody who had something to say on ' || md5(random()::text)
        FROM generate_series(1, 20000);
    UPDATE notes SET author = author + 1, changed = clock_timestamp()
        WHERE id IN (SELECT (random() * 100000)::bigint + (SELECT max(id) FROM notes) - 100000
                     FROM generate_series(1, 20000));
    DELETE FROM notes WHERE id < (SELECT max(id) FROM notes) - 100000";
/// So many bouts after a checkpoint each page is in the WAL whole, the first time that it changes.
const BOUTS_A_CHECKPOINT: usize = 5;

/// What has been archived waits again.
const WAIT_AGAIN: &str = r#"
cd "$1/pg_wal/archive_status"
for done in *.done; do
    segment=${done%.done}
    case $segment in *.*) ;; *) if [ -f "../$segment" ]; then mv "$done" "$segment.ready"; fi ;; esac
done
"#;

/// As a plain script archives: one segment after the other is packed and put. Prints how many bytes were put.
const ONE_AFTER_THE_OTHER: &str = r#"
set -eu
cd "$1/pg_wal"
put=0
for ready in archive_status/*.ready; do
    name=${ready#archive_status/}
    name=${name%.ready}
    lz4 -q -f "$name" /dev/shm/packed
    curl --config /tmp/curl.conf --upload-file /dev/shm/packed "$2/$name.lz4"
    put=$((put + $(stat -c %s /dev/shm/packed)))
done
rm /dev/shm/packed
echo "$put"
"#;

/// The WAL of a machine, archived when it is said and by whom it is said.
pub struct Backlog<'a> {
    db: &'a Vm,
    session: Session,
    segments: i64,
}

/// Who archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archiver {
    /// The machine, as it was booted.
    Machine,
    /// Whoever that command is.
    Command(String),
    /// For now, nobody.
    Nobody,
}

impl Archiver {
    fn statement(&self) -> String {
        match self {
            Self::Machine => "ALTER SYSTEM RESET archive_command".to_owned(),
            Self::Command(command) => {
                let quoted = command.replace('\'', "''");
                format!("ALTER SYSTEM SET archive_command TO '{quoted}'")
            }
            Self::Nobody => Self::Command(String::new()).statement(),
        }
    }
}

/// What the plain loop did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plainly {
    /// Bytes of WAL a second.
    pub rate: f64,
    /// How large what was put is, beside the WAL that it is of.
    pub packed: f64,
}

impl Vm {
    /// From now on nobody archives its WAL, and none of it is removed.
    pub async fn backlog(&self) -> Result<Backlog<'_>> {
        let session = self.session(Door::Direct).await?;
        for kept in [
            "ALTER SYSTEM SET wal_keep_size TO '64GB'",
            // Or one more segment waits than a moment ago.
            "ALTER SYSTEM SET archive_timeout TO 0",
        ] {
            session.sql(kept).await?;
        }
        let backlog = Backlog {
            db: self,
            session,
            segments: 0,
        };
        backlog.archiver_is(&Archiver::Nobody).await?;
        Ok(backlog)
    }
}

impl Backlog<'_> {
    /// So many segments are written, by an application that inserts, changes and deletes; answers the LSN at
    /// their end.
    pub async fn grow_by(&mut self, segments: u64) -> Result<String> {
        // What a vacuum writes comes when it likes, as a segment more than were counted.
        let table = "CREATE TABLE IF NOT EXISTS notes (id bigserial PRIMARY KEY, author int, body text, \
                     changed timestamptz DEFAULT now()) WITH (autovacuum_enabled = off)";
        self.session.sql(table).await?;
        let bytes = i64::try_from(segments)? * SEGMENT;
        let begin = self.lsn().await?;
        for bout in 1.. {
            self.session.sql(BOUT).await?;
            if bout % BOUTS_A_CHECKPOINT == 0 {
                self.session.sql("CHECKPOINT").await?;
            }
            if self.bytes_since(&begin).await? >= bytes {
                break;
            }
        }
        let end = "SELECT pg_create_restore_point('end')::text";
        let end = self.session.ask(end).await?;
        self.session.sql("SELECT pg_switch_wal()").await?;
        // Those among them that were archived before nobody did.
        self.waits_again().await?;
        self.segments = self.waiting().await?;
        let wanted = i64::try_from(segments)?;
        ensure!(
            self.segments >= wanted,
            "{} segments wait instead of {wanted}",
            self.segments
        );
        Ok(end)
    }

    /// How many segments there are.
    pub fn segments(&self) -> i64 {
        self.segments
    }

    /// Where its WAL ends now.
    pub async fn lsn(&self) -> Result<String> {
        self.session.ask("SELECT pg_current_wal_lsn()::text").await
    }

    /// How much WAL was written since.
    pub async fn bytes_since(&self, lsn: &str) -> Result<i64> {
        let since = format!("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '{lsn}')::bigint");
        self.session.ask(&since).await
    }

    /// All of it is archived, from the order on until Postgres knows of the last segment; answers bytes of WAL
    /// a second, by the server's own clock. A try that failed is no figure.
    pub async fn archived_by(&self, archiver: &Archiver) -> Result<f64> {
        let (waiting, expected) = (self.waiting().await?, self.segments);
        ensure!(
            waiting == expected,
            "{waiting} segments wait instead of {expected}"
        );
        let before = self.counted("archived_count").await?;
        let failed = self.counted("failed_count").await?;
        let began = self.archiver_is(archiver).await?;
        let awaited = format!("{expected} segments are archived by {archiver:?}");
        until(budget::STORY, awaited, async || {
            let failures = self.counted("failed_count").await? - failed;
            ensure!(failures == 0, "{failures} tries failed");
            let archived = self.counted("archived_count").await? - before;
            Ok(if archived >= expected {
                Look::Found(())
            } else {
                Look::NotYet(format!("{archived} are"))
            })
        })
        .await?;
        let ended = "SELECT extract(epoch FROM last_archived_time)::float8 FROM pg_stat_archiver";
        let ended: f64 = self.session.ask(ended).await?;
        self.archiver_is(&Archiver::Nobody).await?;
        Ok(self.bytes() / (ended - began))
    }

    /// The same by a loop in a shell beside Postgres.
    pub async fn archived_one_after_the_other(&self, s3: &S3) -> Result<Plainly> {
        let keys = format!("{}:{}", s3.keys.access_key, s3.keys.secret_key);
        let configuration = format!(
            "silent\nshow-error\nfail\nuser = \"{keys}\"\naws-sigv4 = \"aws:amz:{}:s3\"\n",
            s3.region
        );
        let write = "umask 077; cat >/tmp/curl.conf";
        self.db
            .shell_reading(POSTGRES, write, &configuration)
            .await?;
        let folder = format!("{}/{}/{PLAIN}", s3.machine_tls_endpoint, s3.bucket);
        let script = ["sh", "-c", ONE_AFTER_THE_OTHER, "sh", PGDATA, &folder];
        let mut put = String::new();
        let took = timed(async {
            put = self.db.as_postgres(&script).await?;
            Ok(())
        })
        .await?;
        clear(s3, &format!("{PLAIN}/")).await?;
        let put: f64 = put
            .trim()
            .parse()
            .with_context(|| format!("reading {put}"))?;
        Ok(Plainly {
            rate: self.bytes() / took.as_secs_f64(),
            packed: put / self.bytes(),
        })
    }

    /// What has been archived waits again.
    pub async fn waits_again(&self) -> Result<()> {
        let script = ["sh", "-ec", WAIT_AGAIN, "sh", PGDATA];
        self.db.as_postgres(&script).await.map(drop)
    }

    fn bytes(&self) -> f64 {
        (self.segments * SEGMENT) as f64
    }

    /// Answers when that was, in seconds of the Unix epoch.
    async fn archiver_is(&self, archiver: &Archiver) -> Result<f64> {
        self.session.sql(&archiver.statement()).await?;
        // Wakes the archiver, however long it meant to rest.
        let reload = "SELECT extract(epoch FROM clock_timestamp())::float8, pg_reload_conf()";
        self.session.ask(reload).await
    }

    async fn waiting(&self) -> Result<i64> {
        let waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
        self.session.ask(waiting).await
    }

    async fn counted(&self, counter: &str) -> Result<i64> {
        let query = format!("SELECT {counter} FROM pg_stat_archiver");
        self.session.ask(&query).await
    }
}
