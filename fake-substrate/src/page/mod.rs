//! The page on localhost: what stands in a substrate, live, and buttons that act on it.
//!
//! ```text
//!   Docker, admin API, health          browser
//!        │ once a second,                ▲  ▲ server-sent events: parts that changed
//!        │ while somebody watches   HTML │  │
//!        ▼                               │  │            ┌─ a form, POSTed
//!   collect ─► Snapshot ─► html ─► Vec<Fragment>         ▼
//!                            ▲                         gate ─► Deed ─► act
//!                            └───────── errands ◄──── progress, outcome ┘
//! ```
//!
//! A process of the host serves it, since the substrate's container has no access to Docker and must
//! not get any. `html`, `gate`, `action`, `fault` and `feed` are pure; `collect` and `peer` look, `act` does,
//! `process` is how the serving process lives and ends.

mod act;
mod action;
mod collect;
mod errands;
mod fault;
mod feed;
mod gate;
mod html;
#[cfg(test)]
mod http_tests;
mod live;
mod peer;
pub mod process;
mod routes;
mod snapshot;
mod stream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::docker::Docker;
use crate::machine::metadata::{NoRandomness, generated_password};
use crate::names::{MachineName, SubstrateName};
use crate::serve::clock::unix_ms;
use crate::telling::Told;

use act::Deed;
use errands::{Busy, Errands};
use gate::Token;
use html::Setting;
use live::Live;

/// The port of a substrate's page, when it is free.
pub const PREFERRED_PORT: u16 = 8430;

/// The page could not be served.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The port is not to be had.
    #[error("cannot listen on 127.0.0.1:{port}\nHINT: leave --port out and a free one is taken")]
    Listen {
        /// Which one.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// Serving ended by itself.
    #[error("the page cannot be served any more")]
    Serve(#[source] io::Error),
    /// No token could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// A page that listens and does not serve yet.
#[derive(Debug)]
pub struct Page {
    listener: TcpListener,
    site: Arc<Site>,
}

/// What the handlers share.
#[derive(Debug)]
struct Site {
    port: u16,
    live: Arc<Live>,
    closing: watch::Sender<bool>,
}

impl Page {
    /// Listens on loopback and nowhere else; 0 is any free port.
    pub async fn bind(
        docker: Docker,
        substrate: SubstrateName,
        port: u16,
    ) -> Result<Self, PageError> {
        let listening = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        };
        let (listener, port) = listening
            .await
            .map_err(|source| PageError::Listen { port, source })?;
        let setting = Setting {
            substrate: substrate.to_string(),
            token: Token::new()?,
            process: generated_password()?,
        };
        let live = Live::new(docker, substrate, setting, Errands::new(unix_ms));
        let site = Site {
            port,
            live: Arc::new(live),
            closing: watch::Sender::new(false),
        };
        Ok(Self {
            listener,
            site: Arc::new(site),
        })
    }

    /// Where it is found.
    pub fn url(&self) -> String {
        process::url(self.site.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.site.port
    }

    /// Serves until `ended` completes. What a button began and is not over then is cut short.
    pub async fn serve(
        self,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), PageError> {
        let Self { listener, site } = self;
        let mut looking = JoinSet::new();
        looking.spawn({
            let live = Arc::clone(&site.live);
            async move { live.run().await }
        });
        let closing = site.closing.clone();
        let ended = async move {
            ended.await;
            // Streams of events would keep their connections for ever.
            closing.send_replace(true);
        };
        let service = routes::router(site).into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service)
            .with_graceful_shutdown(ended)
            .await
            .map_err(PageError::Serve)
    }
}

impl Site {
    /// Begins what a button asks for, in the background.
    fn begin(&self, machine: MachineName, deed: Deed) -> Result<(), Busy> {
        let what = deed.what(&machine);
        let ticket = self
            .live
            .errands
            .begin(what.clone(), deed.machines(&machine))?;
        tracing::info!("{what}: begun");
        let live = Arc::clone(&self.live);
        let runtime = Handle::current();
        // Waiting in this crate is done by futures that stay on one thread.
        tokio::task::spawn_blocking(move || {
            let doing = deed.to(machine, &live.docker, &live.substrate, &ticket);
            let outcome = runtime.block_on(doing).map_err(|undone| Told::of(&undone));
            match &outcome {
                Ok(_) => tracing::info!("{what}: done"),
                Err(told) => tracing::warn!("{what}: {}", told.what),
            }
            ticket.end(outcome);
        });
        Ok(())
    }
}
