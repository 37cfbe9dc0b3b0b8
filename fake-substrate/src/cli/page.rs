//! `page`: the process that serves the page on localhost.

use clap::Args;

use crate::page::process::{self, ProcessError, Turn};
use crate::page::{Page, PageError};
use crate::progress::Progress as _;
use crate::substrate;
use crate::substrate::SubstrateError;

use super::{CliError, Site, terminal};

#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Where on 127.0.0.1; the port of last time or 8430 unless given, or else a free one
    #[arg(long)]
    port: Option<u16>,
    /// As `up` starts it: in a session of its own, which no terminal ends
    #[arg(long, hide = true)]
    detached: bool,
}

impl PageArgs {
    pub(super) async fn run(self, site: &Site) -> Result<(), CliError> {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .init();
        if self.detached
            && let Err(error) = nix::unistd::setsid()
        {
            tracing::warn!("no session of its own, so the terminal may end it: {error}");
        }
        let Site {
            docker, substrate, ..
        } = site;
        if !substrate::exists(docker, substrate).await? {
            return Err(SubstrateError::Absent(substrate.clone()).into());
        }
        let mut turn = Turn::take(substrate).await?;
        let ports = match self.port {
            Some(port) => vec![port],
            None => process::ports(turn.last_port()),
        };
        let page = listening(site, &ports).await?;
        turn.tell(page.port())?;
        site.progress.step(&format!("Page: {}", page.url()));
        let gone = process::gone(docker.clone(), substrate.clone());
        let forget = substrate.clone();
        let ended = async move {
            tokio::select! {
                () = terminal::interrupted() => {}
                () = gone => {
                    tracing::info!("substrate {forget} is gone");
                    process::forget(&forget);
                }
            }
        };
        Ok(page.serve(ended).await?)
    }
}

async fn listening(site: &Site, ports: &[u16]) -> Result<Page, CliError> {
    let bind = |port| Page::bind(site.docker.clone(), site.substrate.clone(), port);
    let (last, others) = ports.split_last().unwrap_or((&0, &[]));
    for port in others {
        match bind(*port).await {
            Err(PageError::Listen { .. }) => {}
            bound => return Ok(bound?),
        }
    }
    Ok(bind(*last).await?)
}

/// Starts it for `up`. A page that does not come is told and stands in nobody's way.
pub(super) async fn ensure(site: &Site) {
    if let Err(error) = process::ensure(&site.substrate).await {
        let why = error.to_string().replace('\n', "; ");
        site.progress
            .step(&format!("The page was not started: {why}"));
    }
}

/// Where it is served, for whoever tells how a machine is reached.
pub(super) fn url(site: &Site) -> Option<String> {
    process::serving(&site.substrate).map(|record| record.url())
}

/// Ends it for `down`.
pub(super) async fn end(site: &Site) -> Result<(), ProcessError> {
    process::end(&site.substrate).await
}
