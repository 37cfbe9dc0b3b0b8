//! The substrate's object storage, and what the substrate itself writes.

use anyhow::{Context as _, Result, ensure};
use fake_substrate::docker::logs;
use fake_substrate::substrate::S3;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::running::Running;
use crate::world::World;

const DELETED_AT_A_TIME: usize = 16;

impl World {
    /// Its object storage.
    pub async fn s3(&self) -> Result<S3> {
        Ok(self.site.substrate.s3().await?)
    }

    /// What the substrate's own process has written.
    pub async fn substrate_log(&self) -> Result<Vec<String>> {
        let container = self.site.substrate.name().container();
        let lines = logs::last_lines(&self.site.docker, &container, usize::MAX).await;
        lines.context("reading the substrate's log")
    }
}

/// The keys that begin so, in order: one page of them.
pub(crate) async fn keys(s3: &S3, prefix: &str) -> Result<Vec<String>> {
    let answer = s3.client()?.list(prefix).await?;
    ensure!(answer.status.is_success(), "{answer:?}");
    let text = String::from_utf8(answer.body).context("a listing that is no text")?;
    let keys = text.split("<Key>").skip(1);
    let key = |rest: &str| rest.split("</Key>").next().unwrap_or_default().to_owned();
    Ok(keys.map(key).collect())
}

/// Takes every object away whose key begins so.
pub(crate) async fn clear(s3: &S3, prefix: &str) -> Result<()> {
    let client = s3.client()?;
    loop {
        let page = keys(s3, prefix).await?;
        if page.is_empty() {
            return Ok(());
        }
        let deletions = stream::iter(page).map(async |key| {
            let deleted = client.delete(&key).await?;
            ensure!(deleted.status.is_success(), "{deleted:?}");
            anyhow::Ok(())
        });
        let deletions = deletions.buffer_unordered(DELETED_AT_A_TIME);
        deletions.try_collect::<()>().await?;
    }
}

/// A GET with nothing but the shell: the image has no HTTP client.
const FETCH: &str = r#"
    exec 3<>"/dev/tcp/$1/$2"
    printf 'GET %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n' "$3" "$1" "$2" >&3
    cat <&3"#;

impl Running {
    /// What the machine gets from a URL: the whole answer, with its head.
    pub async fn fetch(&self, url: &str) -> Result<String> {
        let rest = url.strip_prefix("http://");
        let (address, target) = rest
            .and_then(|rest| rest.split_once('/'))
            .with_context(|| format!("{url} is no URL"))?;
        let (host, port) = address
            .split_once(':')
            .with_context(|| format!("{url} has no port"))?;
        ensure!(!target.contains(' '), "{url} is not encoded");
        let target = format!("/{target}");
        let script = ["/bin/bash", "-c", FETCH, "bash", host, port, &target];
        self.run("postgres", &script).await
    }
}
