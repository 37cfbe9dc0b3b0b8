//! The page of a world, served in this process.

use anyhow::{Context as _, Result};
use fake_substrate::page::Page;
use tokio::sync::oneshot;

use crate::world::World;

/// A page that is served until it is dropped.
#[derive(Debug)]
pub struct Served {
    /// Where.
    pub url: String,
    _until_dropped: oneshot::Sender<()>,
}

impl World {
    /// Serves its page on a free port.
    pub async fn page(&self) -> Result<Served> {
        let (docker, name) = (self.site.docker.clone(), self.site.substrate.name().clone());
        let page = Page::bind(docker, name, 0).await;
        let page = page.context("serving the page")?;
        let url = page.url();
        let (until_dropped, dropped) = oneshot::channel::<()>();
        tokio::spawn(page.serve(async move {
            // That the sender is gone is the signal.
            drop(dropped.await);
        }));
        Ok(Served {
            url,
            _until_dropped: until_dropped,
        })
    }
}
