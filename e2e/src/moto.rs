//! moto, the double of S3 that many projects test with: what benchmarks measure object storage against.

use anyhow::{Context as _, Result, ensure};
use fake_substrate::command::{CommandError, Program};
use fake_substrate::progress::Quiet;
use fake_substrate::s3::client::{Call, Client, Method};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::budget;
use crate::keep;
use crate::until::{Look, until};

const MOTO: &str = "moto[server,s3]==5.2.5";

/// moto's server, for as long as this is kept.
pub struct Moto {
    /// A client of it.
    pub client: Client,
    serving: JoinHandle<Result<String, CommandError>>,
}

impl Moto {
    /// In a virtual environment under `target/`, made when it is missing; with the bucket and the keys
    /// that `like` has.
    pub async fn start(like: &Client) -> Result<Self> {
        let venv = keep::root().with_file_name("tmp").join("s3-bench");
        let python = venv.join("bin/python");
        let works = Program::named(&python).args(["-c", "import moto.server"]);
        if works.run(&Quiet).await.is_err() {
            let make = Program::named("python3").args(["-m", "venv", "--clear"]);
            let made = make.arg(&venv).run(&Quiet).await;
            made.context("the benchmark takes python3 with venv (Debian: python3-venv)")?;
            let install = Program::named(&python).args(["-m", "pip", "install", "-q", MOTO]);
            let installed = install.run(&Quiet).await;
            installed.with_context(|| {
                format!("installing {MOTO}: the benchmark takes PyPI once; without it there is no baseline")
            })?;
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

/// Puts an object of that many bytes.
pub async fn put(client: &Client, key: &str, size: usize) -> Result<()> {
    let put = client.put(key, vec![b'w'; size]).await?;
    ensure!(put.status.is_success(), "{put:?}");
    Ok(())
}

/// Gets an object that must have that many bytes.
pub async fn get(client: &Client, key: &str, size: usize) -> Result<()> {
    let got = client.get(key).await?;
    ensure!(
        got.status.is_success() && got.body.len() == size,
        "{:?}",
        got.headers
    );
    Ok(())
}
