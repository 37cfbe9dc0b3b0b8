//! The base image: Debian's own where a registry answers, else the same packages put together by
//! mmdebstrap. Either is used as found when it is already here.

use std::path::Path;
use std::time::Duration;

use bollard::body_try_stream;
use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::io::AsyncReadExt as _;

use super::digest::{sha256, short};
use super::error::ImageError;
use super::tags;
use crate::command::{CommandError, Program};
use crate::docker::{Docker, DockerError};
use crate::progress::Progress;

/// A name that does not resolve fails at once; a firewall that swallows packets does not fail at
/// all, and a newcomer behind one should not wait for it.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(15);

/// Between two messages of a pull that has begun.
const PULL_STALLED: Duration = Duration::from_secs(60);

/// An image that everything else is built on.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// What `FROM` is told.
    pub(super) name: String,
    /// Which one that is; part of the digest of all that is built on it.
    pub(super) id: String,
}

/// Finds or makes the base of a suite. `scratch` is a folder for the archive on its way.
pub(super) async fn ensure(
    docker: &Docker,
    suite: &str,
    scratch: &Path,
    progress: &dyn Progress,
) -> Result<Base, ImageError> {
    let official = format!("debian:{suite}-slim");
    let ours = bootstrapped_name(suite);
    for name in [&official, &ours] {
        if let Some(base) = present(docker, name).await? {
            return Ok(base);
        }
    }
    progress.step(&format!("Pulling {official}"));
    let name = match pull(docker, &official, progress).await {
        Ok(()) => official,
        Err(refusal) => {
            progress.detail(&format!("{official}: {refusal}"));
            progress.step(&format!(
                "No registry answered: bootstrapping Debian {suite} with mmdebstrap"
            ));
            bootstrap(docker, suite, &ours, &official, refusal, scratch, progress).await?;
            ours
        }
    };
    present(docker, &name)
        .await?
        .ok_or_else(|| ImageError::NoBase {
            image: name,
            refusal: "it was there, and is not any more".to_owned(),
        })
}

async fn present(docker: &Docker, name: &str) -> Result<Option<Base>, ImageError> {
    let id = tags::id_of(docker, name).await?;
    Ok(id.map(|id| Base {
        name: name.to_owned(),
        id,
    }))
}

/// Why a pull did not happen is a sentence for a person, never a reason to stop.
async fn pull(docker: &Docker, image: &str, progress: &dyn Progress) -> Result<(), String> {
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    let mut messages = docker.create_image(Some(options), None, None);
    let mut patience = REGISTRY_DEADLINE;
    loop {
        let message = tokio::time::timeout(patience, messages.next()).await;
        match message.map_err(|_elapsed| format!("no answer within {patience:?}"))? {
            None => return Ok(()),
            Some(Err(error)) => return Err(error.to_string()),
            Some(Ok(message)) => progress.detail(&message.status.unwrap_or_default()),
        }
        patience = PULL_STALLED;
    }
}

async fn bootstrap(
    docker: &Docker,
    suite: &str,
    name: &str,
    official: &str,
    refusal: String,
    scratch: &Path,
    progress: &dyn Progress,
) -> Result<(), ImageError> {
    let archive = scratch.join("base.tar");
    let made = Program::named("mmdebstrap")
        .args(recipe(suite))
        .arg(&archive)
        .arg(MIRROR);
    made.run(progress).await.map_err(|error| match error {
        CommandError::NotInstalled { .. } => ImageError::NoBase {
            image: official.to_owned(),
            refusal,
        },
        source => ImageError::Bootstrap {
            suite: suite.to_owned(),
            source,
        },
    })?;
    import(docker, &archive, name).await?;
    std::fs::remove_file(&archive).map_err(ImageError::file("remove", &archive))
}

async fn import(docker: &Docker, archive: &Path, name: &str) -> Result<(), ImageError> {
    let file = tokio::fs::File::open(archive)
        .await
        .map_err(ImageError::file("read", archive))?;
    let (repository, tag) = tags::parts(name);
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(repository)
        .tag(tag)
        .build();
    let mut messages =
        docker.create_image(Some(options), Some(body_try_stream(chunks(file))), None);
    while let Some(message) = messages.next().await {
        message.map_err(DockerError::from_request(format!(
            "import {}",
            archive.display()
        )))?;
    }
    Ok(())
}

fn chunks(file: tokio::fs::File) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; 1 << 20];
        let read = file.read(&mut chunk).await?;
        chunk.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(chunk), file)))
    })
}

const MIRROR: &str = "http://deb.debian.org/debian";

/// The arguments before archive and mirror. What Debian's slim images leave out is left out here;
/// a Release file past its Valid-Until is accepted, since a mirror may be frozen and the
/// signature is still checked.
fn recipe(suite: &str) -> Vec<String> {
    let fixed = [
        "--variant=minbase",
        "--quiet",
        "--aptopt=Acquire::Check-Valid-Until \"false\"",
        "--aptopt=Apt::Install-Recommends \"false\"",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/info/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--format=tar",
    ];
    fixed
        .into_iter()
        .chain([suite])
        .map(str::to_owned)
        .collect()
}

/// Changes with the recipe, so that a changed recipe makes a new base.
fn bootstrapped_name(suite: &str) -> String {
    let digest = sha256(recipe(suite).join("\n").as_bytes());
    format!("beyond-base:{suite}-{}", short(&digest))
}

#[cfg(test)]
mod tests {
    use super::{bootstrapped_name, recipe};

    #[test]
    fn the_bootstrapped_base_is_named_after_its_suite_and_recipe() {
        let name = bootstrapped_name("forky");
        assert!(name.starts_with("beyond-base:forky-"), "{name}");
        assert_ne!(name, bootstrapped_name("trixie"));
        assert_eq!(recipe("forky").last().map(String::as_str), Some("forky"));
    }
}
