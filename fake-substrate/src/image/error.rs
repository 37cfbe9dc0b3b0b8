//! What can go wrong on the way to an image. Each says what was tried, on what, and what to do.

use std::path::{Path, PathBuf};

use super::pins::ManifestError;
use crate::command::CommandError;
use crate::docker::DockerError;

/// No image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Docker refused something other than a build step.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A program of the host failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// extensions.toml is not what it should be.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file of the workspace cannot be read or written.
    #[error("cannot {attempted} {}\nHINT: the image is built from a checkout of the repository; is it whole and writable?", path.display())]
    File {
        /// "read", "write", …
        attempted: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Neither a registry nor a bootstrap gave a base.
    #[error(
        "no base image: {image} could not be pulled ({refusal}), and mmdebstrap, which would make one from Debian packages, is not installed\nHINT: sudo apt-get install mmdebstrap debian-archive-keyring arch-test, or make `docker pull {image}` work"
    )]
    NoBase {
        /// What was asked of the registry.
        image: String,
        /// What came back.
        refusal: String,
    },
    /// mmdebstrap ran and failed.
    #[error(
        "cannot bootstrap a base image of Debian {suite}\nHINT: does http://deb.debian.org answer from here, and is debian-archive-keyring recent enough to know the suite?"
    )]
    Bootstrap {
        /// The suite.
        suite: String,
        /// What it said.
        source: CommandError,
    },
    /// There is no cargo to build the binary with.
    #[error(
        "cannot build {package}: cargo is not installed\nHINT: https://rustup.rs, then run this again"
    )]
    NoCargo {
        /// The package.
        package: &'static str,
    },
    /// The Rust code does not build.
    #[error(
        "cannot build {package}\nHINT: `cargo build -p {package}` shows all of what the compiler says"
    )]
    Compile {
        /// The package.
        package: &'static str,
        /// What cargo said.
        source: CommandError,
    },
    /// A build in a container failed.
    #[error("cannot build {package} in a container: exit {code}\n{tail}")]
    CompileInContainer {
        /// The package.
        package: &'static str,
        /// The exit code of cargo.
        code: i64,
        /// Its last lines.
        tail: String,
    },
    /// cargo succeeded and left nothing to run.
    #[error(
        "cargo built {package} without naming an executable\nHINT: does {package}/src/main.rs exist?"
    )]
    NoExecutable {
        /// The package.
        package: &'static str,
    },
    /// A step of the image's build failed.
    #[error("cannot build {image}: {step} failed: {reason}\n{tail}\nHINT: {}", build_hint(.reason, .tail))]
    Build {
        /// The tag that it would have had.
        image: String,
        /// The step, as Docker prints it.
        step: String,
        /// Why.
        reason: String,
        /// The last lines before.
        tail: String,
    },
    /// The suite could not be asked what it carries.
    #[error(
        "cannot ask Debian {suite} which versions it carries: exit {code}\n{tail}\nHINT: does http://deb.debian.org answer from a container?"
    )]
    Candidates {
        /// The suite.
        suite: String,
        /// apt's exit code.
        code: i64,
        /// Its last lines.
        tail: String,
    },
}

impl ImageError {
    /// `attempted` completes "cannot … PATH".
    pub(super) fn file(
        attempted: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File {
            attempted,
            path,
            source,
        }
    }
}

/// What to do about a failed build, from what it said: three causes cover most of them.
fn build_hint(reason: &str, tail: &str) -> &'static str {
    let said = |words: &str| reason.contains(words) || tail.contains(words);
    if said("no space left on device") {
        "Docker's disk is full: see `docker system df`, free some with `docker system prune`"
    } else if said("pin is gone") {
        "write what the suite carries into extensions.toml: cargo run -p fake-substrate -- image pins --update"
    } else if said("Temporary failure resolving") || said("Failed to fetch") {
        "does http://deb.debian.org answer from a container?"
    } else {
        "the script that failed stands in packer/scripts; run this again once it is mended, finished steps are kept"
    }
}

#[cfg(test)]
mod tests {
    use super::ImageError;

    fn broken(reason: &str, tail: &str) -> String {
        let step = "Step 10/16 : RUN set -e; …".to_owned();
        let image = "beyond-postgres:latest".to_owned();
        ImageError::Build {
            image,
            step,
            reason: reason.to_owned(),
            tail: tail.to_owned(),
        }
        .to_string()
    }

    #[test]
    fn a_failed_build_names_image_step_reason_and_the_last_lines() {
        assert_eq!(
            broken(
                "returned a non-zero code: 1",
                "pin is gone: pgbouncer 1.0-1 (exists: 1.26.1-1)"
            ),
            "cannot build beyond-postgres:latest: Step 10/16 : RUN set -e; … failed: returned a non-zero code: 1\n\
             pin is gone: pgbouncer 1.0-1 (exists: 1.26.1-1)\n\
             HINT: write what the suite carries into extensions.toml: cargo run -p fake-substrate -- image pins --update"
        );
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_script() {
        assert!(broken("write /x: no space left on device", "").ends_with("`docker system prune`"));
        assert!(broken("returned a non-zero code: 2", "").contains("packer/scripts"));
    }

    #[test]
    fn a_missing_bootstrap_tool_comes_with_the_command_that_installs_it() {
        let error = ImageError::NoBase {
            image: "debian:forky-slim".to_owned(),
            refusal: "no such host".to_owned(),
        };
        let text = error.to_string();
        assert!(
            text.contains("could not be pulled (no such host)"),
            "{text}"
        );
        assert!(
            text.contains("apt-get install mmdebstrap debian-archive-keyring arch-test"),
            "{text}"
        );
    }
}
