//! The checkout that the image is built from: where it is, which revision, and its lock.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::error::ImageError;
use crate::command::Program;
use crate::progress::{Progress, Quiet};

/// The root of the workspace this crate was compiled in.
pub(super) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where archives and staged binaries are put on their way.
pub(super) fn scratch() -> Result<PathBuf, ImageError> {
    let folder = root().join("target/fake-substrate");
    std::fs::create_dir_all(&folder).map_err(ImageError::file("make", &folder))?;
    Ok(folder)
}

/// Waits until no other process builds images here. Test processes start together and `up` beside
/// them; the first builds, the others then find what it built. Ends when dropped, or with the process.
pub(super) async fn lock(progress: &dyn Progress) -> Result<Flock<File>, ImageError> {
    let path = scratch()?.join("image.lock");
    let open = |path: &Path| {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
    };
    let file = open(&path).map_err(ImageError::file("open", &path))?;
    let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => return Ok(lock),
        Err((file, _taken)) => file,
    };
    progress.detail("waiting for another process that builds images");
    let waited = tokio::task::spawn_blocking(|| Flock::lock(file, FlockArg::LockExclusive)).await;
    let waited = waited
        .map_err(std::io::Error::other)
        .and_then(|locked| locked.map_err(|(_file, errno)| std::io::Error::from(errno)));
    waited.map_err(ImageError::file("lock", &path))
}

/// The commit, with `-dirty` when the checkout differs from it; `unknown` outside of git.
pub(super) async fn revision(progress: &dyn Progress) -> String {
    let git = || Program::named("git").in_folder(root());
    let commit = git()
        .args(["rev-parse", "--short=12", "HEAD"])
        .run(&Quiet)
        .await;
    let changes = git().args(["status", "--porcelain"]).run(&Quiet).await;
    match (commit, changes) {
        (Ok(commit), Ok(changes)) if changes.trim().is_empty() => commit.trim().to_owned(),
        (Ok(commit), Ok(_)) => format!("{}-dirty", commit.trim()),
        (Err(error), _) | (_, Err(error)) => {
            progress.detail(&format!("the image gets no revision: {error}"));
            "unknown".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::root;

    #[test]
    fn the_root_holds_what_the_image_is_built_from() {
        assert!(root().join("extensions.toml").is_file());
        assert!(root().join("packer/Dockerfile").is_file());
    }
}
