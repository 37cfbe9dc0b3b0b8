//! The machine's image with more Debian packages on it: what benchmarks stand a machine beside.

use std::collections::HashMap;

use super::base::Base;
use super::context::Context;
use super::error::ImageError;
use super::{ImageRef, Source, workspace};
use crate::docker::Docker;
use crate::progress::Progress;

const DOCKERFILE: &str = "Dockerfile";

/// `image` with these packages of its own suite, built when there is none yet.
pub async fn with_packages(
    docker: &Docker,
    image: &str,
    packages: &[&str],
    progress: &dyn Progress,
) -> Result<ImageRef, ImageError> {
    let lock = workspace::lock(progress).await?;
    let mut context = Context::default();
    context.add(DOCKERFILE, dockerfile(packages).into_bytes(), false);
    let tar = context
        .tar()
        .map_err(ImageError::file("pack", workspace::root()))?;
    let source = Source {
        repository: "beyond-bench",
        kind: "extended",
        dockerfile: DOCKERFILE,
        arguments: HashMap::new(),
    };
    let base = Base {
        name: image.to_owned(),
        id: image.to_owned(),
    };
    let made = source.ensure(docker, &base, tar, progress).await?;
    drop(lock);
    Ok(made)
}

fn dockerfile(packages: &[&str]) -> String {
    format!(
        "ARG BASE\n\
         FROM ${{BASE}}\n\
         RUN apt-get update -qq -o Acquire::Check-Valid-Until=false \\\n    \
             && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends {} \\\n    \
             && rm -rf /var/lib/apt/lists/* /var/cache/apt\n",
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::dockerfile;

    #[test]
    fn packages_are_put_onto_the_image_that_is_said() {
        let text = dockerfile(&["one", "two"]);
        assert!(text.starts_with("ARG BASE\nFROM ${BASE}\n"), "{text}");
        assert!(text.contains("--no-install-recommends one two "), "{text}");
    }
}
