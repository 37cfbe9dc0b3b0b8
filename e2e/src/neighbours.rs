//! Machines that talk to each other over the substrate's network, and how a network that is cut looks to
//! them.

use std::pin::pin;

use anyhow::{Context as _, Result, bail, ensure};
use fake_substrate::docker::exec::{Program, Session};
use futures_util::TryStreamExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::budget;
use crate::running::{POSTGRES, Running};
use crate::sql::Door;
use crate::until::{Look, until, until_true, within};
use crate::vm::Vm;

/// Knocks at a pooler for so long that the kernel has knocked three times: at once, after 1 s, after 3 s.
const KNOCK: &str = r#"timeout 4 bash -c "exec 3<>/dev/tcp/$1/$2""#;
/// What `timeout` says of a program that it had to end.
const RAN_OUT: i64 = 124;

/// Counts what the kernel tells of connections with the pooler, by state (proc(5), /proc/net/tcp): those
/// that are half open, and the most often that anything was sent again over one that is open.
const CONNECTIONS: &str = r#"
awk '$4 == "03" { half++ } $4 == "01" && $3 ~ /:1538$/ && $7 > again { again = $7 }
     END { print half + 0, again + 0 }' /proc/net/tcp"#;

impl Running {
    /// Whether a neighbour's pooler lets itself be called, and how that ended.
    async fn knocks_at(&self, address: &str) -> Result<i64> {
        let port = Door::Pooled.port().to_string();
        let argv = ["/bin/bash", "-c", KNOCK, "knock", address, &port];
        Ok(self.exec(POSTGRES, &argv).await?.exit_code)
    }

    /// Under its name, which is Docker's address, and under the platform's own.
    async fn addresses(&self) -> Result<[String; 2]> {
        let link_local = self.machine.view().await?.link_local;
        Ok([self.name().to_owned(), link_local.to_string()])
    }

    /// It must get through to that machine.
    pub async fn reaches(&self, other: &Self) -> Result<()> {
        for address in other.addresses().await? {
            let ended = self.knocks_at(&address).await?;
            let (me, it) = (self.name(), other.name());
            ensure!(ended == 0, "{me} does not reach {it} at {address}: {ended}");
        }
        Ok(())
    }

    /// It must hear nothing at all from that machine: neither an answer nor a refusal.
    pub async fn gets_no_answer_from(&self, other: &Self) -> Result<()> {
        for address in other.addresses().await? {
            let ended = self.knocks_at(&address).await?;
            let (me, it) = (self.name(), other.name());
            ensure!(ended == RAN_OUT, "{me} knocked at {it}, {address}: {ended}");
        }
        Ok(())
    }

    /// Whether what that machine sends arrives, answered or not: while it knocks, a connection is half
    /// open here.
    pub async fn hears_from(&self, other: &Self) -> Result<bool> {
        let knocking = pin!(other.knocks_at(self.name()));
        let half_open = until_true(budget::SOON, "a knock arrives", async || {
            Ok(self.connections().await?.0 > 0)
        });
        tokio::select! {
            ended = knocking => Ok(ended? == 0),
            seen = half_open => seen.map(|()| true),
        }
    }

    async fn connections(&self) -> Result<(u32, u32)> {
        let told = self.shell(CONNECTIONS).await?;
        let counts = told.trim().split_once(' ').context("two counts")?;
        // The kernel counts in hexadecimal what it sent again.
        Ok((counts.0.parse()?, u32::from_str_radix(counts.1, 16)?))
    }

    /// A session from it to a neighbour.
    pub async fn opens_a_session_to(&self, other: &Vm) -> Result<Neighbourly> {
        let argv = [
            "psql",
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            other.name(),
            "-U",
            "postgres",
            "-d",
            "postgres",
        ];
        let program = Program {
            argv: argv.map(str::to_owned).to_vec(),
            env: vec![
                ("PGPASSWORD".to_owned(), other.login.password.clone()),
                ("PGSSLMODE".to_owned(), "require".to_owned()),
            ],
            user: Some(POSTGRES.to_owned()),
            ..Program::default()
        };
        let session = self.machine.session(program).await?;
        Ok(Neighbourly {
            from: self.clone(),
            session,
        })
    }

    /// Waits until it has given its link up, as a host sees it that is not cut off: by its own words.
    pub async fn gives_up_its_link(&self) -> Result<()> {
        let awaited = format!("{} gives its link up", self.name());
        until(budget::SPEAKS, awaited, async || {
            let lines = self.output().await?;
            let broke = lines
                .iter()
                .any(|line| line.contains("the link to the host broke"));
            Ok(match broke {
                true => Look::Found(()),
                false => Look::NotYet(lines.last().cloned().unwrap_or_default()),
            })
        })
        .await
    }
}

/// A session between two machines.
pub struct Neighbourly {
    from: Running,
    session: Session,
}

impl Neighbourly {
    /// Asks, and waits for the answer.
    pub async fn ask(&mut self, query: &str) -> Result<String> {
        self.asks(query).await?;
        self.answer().await
    }

    /// Asks.
    pub async fn asks(&mut self, query: &str) -> Result<()> {
        let asked = format!("{query};\n");
        self.session.input.write_all(asked.as_bytes()).await?;
        Ok(self.session.input.flush().await?)
    }

    /// Waits until the question has been sent again three times: nobody answers, and nobody says that the
    /// connection is over.
    pub async fn is_not_answered(&mut self) -> Result<()> {
        let awaited = format!("{} asks in vain", self.from.name());
        let in_vain = until_true(budget::SOON, awaited, async || {
            Ok(self.from.connections().await?.1 >= 3)
        });
        tokio::select! {
            in_vain = in_vain => in_vain,
            told = self.session.output.try_next() => bail!("it was told {told:?}"),
        }
    }

    /// What it is told.
    pub async fn answer(&mut self) -> Result<String> {
        let coming = within(budget::SPEAKS, "an answer", self.session.output.try_next());
        let piece = coming.await??.context("the session ended")?;
        Ok(String::from_utf8_lossy(&piece.bytes).trim().to_owned())
    }
}
