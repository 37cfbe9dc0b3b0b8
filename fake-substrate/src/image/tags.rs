//! Names of images in Docker: which exist, what they point at, which may go.

use std::collections::HashMap;

use bollard::models::ImageSummary;
use bollard::query_parameters::{
    ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};

use super::error::ImageError;
use crate::docker::{Docker, DockerError};
use crate::progress::Progress;

/// How many builds of one image stay: enough for a few branches at a time, and for what runs now.
const KEPT: usize = 8;

/// The id behind a name, if there is one.
pub(super) async fn id_of(docker: &Docker, name: &str) -> Result<Option<String>, ImageError> {
    let found = docker.inspect_image(name).await;
    let found = found.map_err(DockerError::from_request(format!("look for image {name}")));
    match found {
        Ok(image) => Ok(image.id),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives an image one more name.
pub(super) async fn add(docker: &Docker, id: &str, name: &str) -> Result<(), ImageError> {
    let (repository, tag) = parts(name);
    let options = TagImageOptionsBuilder::new()
        .repo(repository)
        .tag(tag)
        .build();
    let tagged = docker.tag_image(id, Some(options)).await;
    Ok(tagged.map_err(DockerError::from_request(format!("name image {id} {name}")))?)
}

/// All images of a repository, the newest first.
pub(super) async fn of(docker: &Docker, repository: &str) -> Result<Vec<ImageSummary>, ImageError> {
    let only = HashMap::from([("reference", vec![repository])]);
    let options = ListImagesOptionsBuilder::new().filters(&only).build();
    let found = docker.list_images(Some(options)).await;
    let mut found = found.map_err(DockerError::from_request(format!(
        "list the images of {repository}"
    )))?;
    found.sort_by_key(|image| std::cmp::Reverse(image.created));
    Ok(found)
}

/// Removes the oldest builds whose tag starts with `prefix`. One that a container still uses is
/// refused by Docker and stays; its turn comes again with the next build.
pub(super) async fn prune(
    docker: &Docker,
    repository: &str,
    prefix: &str,
    progress: &dyn Progress,
) {
    let images = match of(docker, repository).await {
        Ok(images) => images,
        Err(error) => return progress.detail(&format!("old images stay: {error}")),
    };
    for name in surplus(&images, repository, prefix) {
        // noprune: the steps below it are the cache of the next build.
        let options = RemoveImageOptionsBuilder::new().noprune(true).build();
        match docker.remove_image(&name, Some(options), None).await {
            Ok(_) => progress.detail(&format!("removed {name}")),
            Err(error) => progress.detail(&format!("{name} stays: {error}")),
        }
    }
}

/// The names beyond the [`KEPT`] newest.
fn surplus(newest_first: &[ImageSummary], repository: &str, prefix: &str) -> Vec<String> {
    let wanted = format!("{repository}:{prefix}");
    let names = newest_first.iter().flat_map(|image| &image.repo_tags);
    names
        .filter(|name| name.starts_with(&wanted))
        .skip(KEPT)
        .cloned()
        .collect()
}

/// Repository and tag of a name that has both.
pub(super) fn parts(name: &str) -> (&str, &str) {
    name.rsplit_once(':').unwrap_or((name, "latest"))
}

#[cfg(test)]
mod tests {
    use bollard::models::ImageSummary;

    use super::{KEPT, parts, surplus};

    #[test]
    fn only_the_oldest_builds_of_the_same_kind_go() {
        let images: Vec<_> = (0..KEPT + 2)
            .map(|n| ImageSummary {
                repo_tags: vec![
                    format!("beyond-postgres:release-{n}"),
                    format!("beyond-postgres:sha{n}"),
                ],
                ..ImageSummary::default()
            })
            .collect();
        let gone = surplus(&images, "beyond-postgres", "release-");
        assert_eq!(
            gone,
            ["beyond-postgres:release-8", "beyond-postgres:release-9"]
        );
        assert!(surplus(&images, "beyond-postgres", "failpoints-").is_empty());
    }

    #[test]
    fn a_name_without_a_tag_is_the_latest() {
        assert_eq!(parts("debian:forky-slim"), ("debian", "forky-slim"));
        assert_eq!(parts("beyond-postgres"), ("beyond-postgres", "latest"));
    }
}
