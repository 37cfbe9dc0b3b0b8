//! A machine that clients get in to.

use std::ops::Deref;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fake_substrate::machine::metadata::Login;
use fake_substrate::ports::Ports;
use tokio_postgres::types::FromSqlOwned;

use crate::budget;
use crate::disk::PGDATA;
use crate::ledger::Ledger;
use crate::lost::Lost;
use crate::running::{POSTGRES, Running};
use crate::sql::{Door, Session};
use crate::stopped::Stopped;
use crate::until::{Look, until, until_true};

/// What a session says that does not care about the default.
const WRITE_REGARDLESS: &str = "SET default_transaction_read_only = off";

/// Two megabytes, and their WAL.
const A_MOUTHFUL: &str = "INSERT INTO hog SELECT repeat('x', 1000) FROM generate_series(1, 2000)";

/// A machine that clients get in to.
pub struct Vm {
    pub(crate) running: Running,
    pub(crate) ports: Ports,
    pub(crate) login: Login,
}

impl Deref for Vm {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Vm {
    /// The port of this host behind which a door is.
    pub fn port(&self, door: Door) -> u16 {
        match door {
            Door::Pooled => self.ports.pooler,
            Door::Direct => self.ports.direct,
        }
    }

    /// Where any client finds it, the superuser's password included.
    pub fn url(&self, door: Door) -> String {
        let Login { password, database } = &self.login;
        let (user, port) = (Login::USER, self.port(door));
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
    }

    /// Logs in as the superuser.
    pub async fn session(&self, door: Door) -> Result<Session> {
        Session::open(self.port(door), door, &self.login).await
    }

    /// Runs statements through the pooler.
    pub async fn sql(&self, statements: &str) -> Result<()> {
        self.session(Door::Pooled).await?.sql(statements).await
    }

    /// Asks for one value through the pooler.
    pub async fn ask<T: FromSqlOwned>(&self, query: &str) -> Result<T> {
        self.session(Door::Pooled).await?.ask(query).await
    }

    /// What a setting is.
    pub async fn shows(&self, setting: &str) -> Result<String> {
        self.ask(&format!("SELECT current_setting('{setting}')"))
            .await
    }

    /// Begins to write rows and to count which were acknowledged.
    pub async fn keep_writing(&self, door: Door) -> Result<Ledger> {
        Ledger::begin(self.session(door).await?).await
    }

    /// The same, in a session that writes where the default is to read only.
    pub async fn keep_writing_regardless(&self) -> Result<Ledger> {
        let session = self.session(Door::Direct).await?;
        session.sql(WRITE_REGARDLESS).await?;
        Ledger::begin(session).await
    }

    /// Writes into table `hog` as fast as it can, whatever the default is, until there is no room.
    pub async fn hog_the_volume(&self) -> Result<()> {
        let session = self.hogging().await?;
        loop {
            let Err(refused) = session.sql(A_MOUTHFUL).await else {
                continue;
            };
            let said = format!("{refused:?}");
            // A session that Postgres took along when it died learns no more than that.
            let no_room = said.contains("No space left on device") || said.contains("closed");
            ensure!(no_room, "stopped for another reason: {said}");
            return Ok(());
        }
    }

    /// The same, until no more than so many bytes are left, which is enough for Postgres to live on.
    pub async fn hog_the_volume_but_for(&self, bytes: u64) -> Result<()> {
        let session = self.hogging().await?;
        while self.room_on_volume().await? > bytes {
            session.sql(A_MOUTHFUL).await?;
        }
        Ok(())
    }

    async fn hogging(&self) -> Result<Session> {
        let session = self.session(Door::Direct).await?;
        session.sql(WRITE_REGARDLESS).await?;
        session
            .sql("CREATE TABLE IF NOT EXISTS hog (filler text)")
            .await?;
        Ok(session)
    }

    /// Makes Postgres begin one WAL segment after the other, until it cannot make the next one and dies
    /// of that.
    pub async fn exhaust_the_wal(&self) -> Result<()> {
        let Ok(session) = self.session(Door::Direct).await else {
            // Somebody else's commit was the first to find no room.
            return Ok(());
        };
        let next_segment = "SELECT pg_logical_emit_message(false, 'e2e', ''), pg_switch_wal()";
        while session.sql(next_segment).await.is_ok() {}
        Ok(())
    }

    /// Both doors must refuse to write, in Postgres' words for a read-only transaction.
    pub async fn must_refuse_to_write(&self, statement: &str) -> Result<()> {
        for door in Door::ALL {
            let Err(refused) = self.session(door).await?.sql(statement).await else {
                bail!(
                    "{} wrote, which it must not ({door}): {statement}",
                    self.name()
                );
            };
            let said = format!("{refused:#} {refused:?}");
            let read_only = said.contains("in a read-only transaction");
            ensure!(read_only, "refused for another reason: {said}");
        }
        Ok(())
    }

    /// Whether the superuser's password opens that door.
    pub async fn lets_in(&self, door: Door, password: &str) -> Result<()> {
        self.lets_in_as(Login::USER, door, password).await
    }

    /// Whether a role's password opens that door.
    pub async fn lets_in_as(&self, role: &str, door: Door, password: &str) -> Result<()> {
        let login = Login {
            password: password.to_owned(),
            ..self.login.clone()
        };
        let session = Session::open_as(role, self.port(door), door, &login).await?;
        let user: String = session.ask("SELECT current_user::text").await?;
        ensure!(user == role, "{role} became {user}");
        Ok(())
    }

    /// That password must not let the superuser in, and for no other reason than that it is wrong.
    pub async fn turns_away(&self, door: Door, password: &str) -> Result<()> {
        self.turns_away_as(Login::USER, door, password, "authentication failed")
            .await
    }

    /// That role must not get in, and the refusal has these words.
    pub async fn turns_away_as(
        &self,
        role: &str,
        door: Door,
        password: &str,
        words: &str,
    ) -> Result<()> {
        let Err(refused) = self.lets_in_as(role, door, password).await else {
            bail!("{} let {role} in, which it must not ({door})", self.name());
        };
        let said = format!("{refused:#}");
        ensure!(said.contains(words), "refused for another reason: {said}");
        Ok(())
    }

    /// A backend that computes for ever and looks at nothing else: its process.
    pub async fn never_ending_statement(&self) -> Result<u32> {
        let session = self.session(Door::Direct).await?;
        let pid: i32 = session.ask("SELECT pg_backend_pid()").await?;
        // Ends with the backend.
        tokio::spawn(async move { session.sql("DO $$ BEGIN LOOP END LOOP; END $$").await });
        let query = format!(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE pid = {pid} AND state = 'active' AND query LIKE 'DO%'"
        );
        until_true(budget::SOON, "the statement runs", async || {
            Ok(self.ask::<i64>(&query).await? == 1)
        })
        .await?;
        Ok(u32::try_from(pid)?)
    }

    /// How large its volume is, as `df` has it in the machine.
    pub async fn volume_mb(&self) -> Result<u64> {
        let df = "df -m --output=size /var/lib/postgresql | tail -n 1";
        let size = self.shell(df).await?;
        size.trim()
            .parse()
            .with_context(|| format!("reading {size}"))
    }

    /// The process that all of Postgres hangs on.
    pub async fn postmaster(&self) -> Result<u32> {
        let file = self
            .shell(&format!("head -n 1 {PGDATA}/postmaster.pid"))
            .await?;
        file.trim()
            .parse()
            .with_context(|| format!("postmaster.pid begins with {file:?}"))
    }

    /// The process that archives ahead of Postgres' archiver.
    pub async fn archives_ahead(&self) -> Result<u32> {
        let processes = self.processes().await?;
        let ahead = processes
            .iter()
            .find(|process| process.argv.contains("archive-ahead"));
        ahead
            .map(|ahead| ahead.pid)
            .with_context(|| format!("nobody archives ahead among {processes:?}"))
    }

    /// The pooler's process.
    pub async fn pooler(&self) -> Result<u32> {
        let processes = self.processes().await?;
        let pooler = processes
            .iter()
            .find(|process| process.argv.contains("pgbouncer.ini"));
        pooler
            .map(|pooler| pooler.pid)
            .with_context(|| format!("no pooler among {processes:?}"))
    }

    /// SIGKILL of the postmaster alone. Its children notice, and PID 1 does.
    pub async fn crash_postgres(&self) -> Result<()> {
        self.kill(self.postmaster().await?).await
    }

    /// SIGKILL of the pooler.
    pub async fn crash_pooler(&self) -> Result<()> {
        self.kill(self.pooler().await?).await
    }

    /// Kills the pooler and takes its port before it is back: answers who has it now.
    pub async fn squat(&self, door: Door) -> Result<u32> {
        let port = door.port();
        let pooler = self.pooler().await?;
        // Taken as soon as it is free: the pooler is started again within a tenth of a second.
        let program = format!(
            "import os, socket, time\n\
             squatter = socket.socket(socket.AF_INET6)\n\
             squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
             os.kill({pooler}, 9)\n\
             while True:\n    \
                 try: squatter.bind(('::', {port})); break\n    \
                 except OSError: pass\n\
             squatter.listen()\n\
             print(os.getpid(), flush=True)\n\
             os.close(1)\n\
             time.sleep(100000)\n"
        );
        self.shell(&format!("cat > /tmp/squat <<'END'\n{program}END"))
            .await?;
        let began = self
            .shell("mkfifo /tmp/squatter; python3 /tmp/squat >/tmp/squatter 2>/tmp/squat.err & cat /tmp/squatter")
            .await?;
        began.trim().parse().context("nobody took the port")
    }

    /// How long the machine said each time that it waits before it starts a server again.
    pub async fn restarts(&self, server: &str) -> Result<Vec<Duration>> {
        let begin = format!("{server} is started again in ");
        let log = self.log().await?;
        let wait = |line: &String| {
            let (_, rest) = line.split_once(&begin)?;
            Some(Duration::from_millis(
                rest.strip_suffix(" ms")?.parse().ok()?,
            ))
        };
        Ok(log.iter().filter_map(wait).collect())
    }

    /// Waits until clients of the pooled door meet another pooler than that one.
    pub async fn has_another_pooler_than(&self, old: u32) -> Result<()> {
        let awaited = format!("{} has a fresh pooler", self.name());
        until(budget::COMES_BACK, awaited, async || {
            Ok(match self.pooler().await {
                Ok(pid) if pid != old => Look::Found(()),
                Ok(_) => Look::NotYet(format!("still {old}")),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await?;
        self.says_health("ready").await.map(drop)
    }

    /// Waits until a client gets in again, and until the machine has noticed.
    pub async fn is_back(&self) -> Result<()> {
        self.answers_again().await?;
        self.expect_log("ready again").await.map(drop)
    }

    /// Waits until somebody archives ahead, as after a kill.
    pub async fn comes_to_archive_ahead(&self) -> Result<()> {
        let awaited = format!("{} archives ahead", self.name());
        until(budget::COMES_BACK, awaited, async || {
            Ok(match self.archives_ahead().await {
                Ok(_pid) => Look::Found(()),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await
    }

    /// Waits until a client gets in again.
    pub async fn answers_again(&self) -> Result<()> {
        let awaited = format!("clients get in to {} again", self.name());
        until(budget::COMES_BACK, awaited, async || {
            Ok(match self.ask::<i32>("SELECT 1").await {
                Ok(_one) => Look::Found(()),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await
    }

    /// Runs a program in it as the server's own account, which the socket lets in.
    pub async fn as_postgres(&self, argv: &[&str]) -> Result<String> {
        self.run(POSTGRES, argv).await
    }

    /// Shuts it down as the platform does. It must end by itself, cleanly, and in time.
    pub async fn stop(self) -> Result<Stopped> {
        self.running.stop().await
    }

    /// SIGKILL of the whole machine.
    pub async fn crash(self) -> Result<Stopped> {
        self.running.crash().await
    }

    /// Its power goes: what its disk had not flushed is lost, or a part of it that the seed chooses.
    pub async fn power_cut(self, seed: u64) -> Result<Stopped> {
        self.running.power_cut(seed).await
    }

    /// Its host is lost.
    pub async fn lose_host(self) -> Result<Lost> {
        self.running.lose_host().await
    }

    /// Every page of it is as it was written: heaps against their indexes, and what Postgres counts of
    /// checksums.
    pub async fn is_intact(&self) -> Result<()> {
        let check = [
            "pg_amcheck",
            "--all",
            "--install-missing",
            "--heapallindexed",
            "-p",
            "5433",
        ];
        self.as_postgres(&check).await?;
        self.as_postgres(&["sh", "-c", "pg_dumpall -p 5433 >/dev/null"])
            .await?;
        let failures: i64 = self
            .ask("SELECT coalesce(sum(checksum_failures), 0)::bigint FROM pg_stat_database")
            .await?;
        ensure!(failures == 0, "{failures} pages with a wrong checksum");
        Ok(())
    }

    /// Shuts it down and boots it again.
    pub async fn restart(self) -> Result<Self> {
        self.stop().await?.boot().await
    }
}
