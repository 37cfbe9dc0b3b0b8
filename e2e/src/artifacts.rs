//! What the scenarios run, built once for each test process: the images.

use anyhow::{Context as _, Result, anyhow};
use fake_substrate::docker::Docker;
use fake_substrate::image::{self, Variant};
use fake_substrate::progress::Lines;
use testcontainers::GenericImage;
use tokio::sync::OnceCell;

/// The images, by id: a name would move under a run when somebody builds meanwhile.
#[derive(Debug, Clone)]
pub struct Images {
    /// What is shipped.
    pub release: String,
    /// The same sources, with a boot that can be stopped after any step.
    pub failpoints: String,
    /// The substrate's own process.
    pub substrate: String,
}

impl Images {
    /// Builds what is missing. A failure is remembered: every scenario would only repeat it.
    pub async fn ensure(docker: &Docker) -> Result<&'static Self> {
        static IMAGES: OnceCell<Result<Images, String>> = OnceCell::const_new();
        let images = IMAGES.get_or_init(|| async {
            Self::build(docker)
                .await
                .map_err(|error| format!("{error:#}"))
        });
        images.await.as_ref().map_err(|error| anyhow!("{error}"))
    }

    async fn build(docker: &Docker) -> Result<Self> {
        let progress = Lines::to_stderr();
        let release = image::ensure_postgres(docker, Variant::Release, &progress).await;
        let failpoints = image::ensure_postgres(docker, Variant::Failpoints, &progress).await;
        let substrate = image::ensure_substrate(docker, &progress).await;
        Ok(Self {
            release: release.context("building the image of a machine")?.id,
            failpoints: failpoints.context("building the image with failpoints")?.id,
            substrate: substrate.context("building the image of the substrate")?.id,
        })
    }
}

/// An image for testcontainers, which knows images as `name:tag`; an id has that shape as well.
pub(crate) fn by_id(id: &str) -> Result<GenericImage> {
    let (name, tag) = id
        .split_once(':')
        .with_context(|| format!("{id} is not an image id"))?;
    Ok(GenericImage::new(name, tag))
}
