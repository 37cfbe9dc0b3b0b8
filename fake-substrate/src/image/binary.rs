//! The Linux executables that go into images.
//!
//! On Linux cargo builds them on the host, whose caches make a small change a matter of seconds.
//! Elsewhere, and on a Linux whose C library is newer than the image's, cargo runs in a container
//! of the same base with Debian's Rust, on the same checkout, with a target folder of its own.

use std::path::Path;

use serde::Deserialize;

use super::base::Base;
use super::build::{self, Recipe};
use super::context::Context;
use super::digest::{sha256, short};
use super::error::ImageError;
use super::glibc::{self, Version};
use super::throwaway::{self, Task};
use super::{tags, workspace};
use crate::command::{CommandError, Program};
use crate::docker::Docker;
use crate::progress::{Progress, Quiet};

/// An executable to build.
#[derive(Debug, Clone, Copy)]
pub(super) struct Executable {
    /// The package, which is also the executable's name.
    pub(super) package: &'static str,
    /// What cargo is told beside the package.
    pub(super) options: &'static [&'static str],
}

impl Executable {
    fn arguments(self) -> impl Iterator<Item = &'static str> {
        let fixed = [
            "build",
            "--message-format=json-render-diagnostics",
            "--package",
            self.package,
        ];
        fixed.into_iter().chain(self.options.iter().copied())
    }
}

/// Builds it and returns its bytes, without debug information.
pub(super) async fn build(
    docker: &Docker,
    base: &Base,
    glibc: Option<Version>,
    wanted: Executable,
    progress: &dyn Progress,
) -> Result<Vec<u8>, ImageError> {
    progress.step(&format!(
        "Building {} {}",
        wanted.package,
        wanted.options.join(" ")
    ));
    if cfg!(target_os = "linux") {
        let bytes = on_host(wanted, progress).await?;
        match (glibc::needed(&bytes), glibc) {
            (Some(needed), Some(offered)) if needed > offered => {
                progress.detail(&format!("it needs glibc {needed}, the image has {offered}"));
            }
            _ => return Ok(bytes),
        }
    }
    in_container(docker, base, wanted, progress).await
}

async fn on_host(wanted: Executable, progress: &dyn Progress) -> Result<Vec<u8>, ImageError> {
    let package = wanted.package;
    let cargo = Program::cargo()
        .args(wanted.arguments())
        .in_folder(workspace::root());
    let messages = cargo.run(progress).await.map_err(|error| match error {
        CommandError::NotInstalled { .. } => ImageError::NoCargo { package },
        source => ImageError::Compile { package, source },
    })?;
    let path = executable(&messages, package).ok_or(ImageError::NoExecutable { package })?;
    stripped(Path::new(&path), progress).await
}

/// A dev build carries line tables that nobody reads in an image and that are most of its size.
/// Without binutils it goes in as it is.
async fn stripped(path: &Path, progress: &dyn Progress) -> Result<Vec<u8>, ImageError> {
    let staged = workspace::scratch()?.join("stripped");
    let strip = Program::named("strip")
        .args(["--strip-debug", "-o"])
        .arg(&staged)
        .arg(path);
    let source = match strip.run(&Quiet).await {
        Ok(_) => staged.as_path(),
        Err(error) => {
            progress.detail(&format!("debug information stays in: {error}"));
            path
        }
    };
    std::fs::read(source).map_err(ImageError::file("read", source))
}

/// One of cargo's messages, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Artifact {
    executable: Option<String>,
    target: Target,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

/// Where cargo put the executable: it knows about target folders set in ways that we do not.
fn executable(messages: &str, package: &str) -> Option<String> {
    let artifacts = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    artifacts
        .filter(|artifact| artifact.target.name == package)
        .find_map(|found| found.executable)
}

const IN_CONTAINER: &str = "/workspace";

async fn in_container(
    docker: &Docker,
    base: &Base,
    wanted: Executable,
    progress: &dyn Progress,
) -> Result<Vec<u8>, ImageError> {
    let package = wanted.package;
    progress.step(&format!("Building {package} in a container"));
    let root = workspace::root();
    let task = Task {
        image: builder(docker, base, progress).await?,
        command: std::iter::once("cargo")
            .chain(wanted.arguments())
            .map(str::to_owned)
            .collect(),
        environment: vec![
            format!("CARGO_HOME={IN_CONTAINER}/target/linux/cargo-home"),
            format!("CARGO_TARGET_DIR={IN_CONTAINER}/target/linux"),
        ],
        binds: vec![format!("{}:{IN_CONTAINER}", root.display())],
        folder: Some(IN_CONTAINER.to_owned()),
        user: Some(owner(root)?),
    };
    let outcome = throwaway::run(docker, task, progress).await?;
    if outcome.code != 0 {
        let (code, tail) = (outcome.code, outcome.tail);
        return Err(ImageError::CompileInContainer {
            package,
            code,
            tail,
        });
    }
    let inside =
        executable(&outcome.answer, package).ok_or(ImageError::NoExecutable { package })?;
    let path = root.join(
        inside
            .trim_start_matches(IN_CONTAINER)
            .trim_start_matches('/'),
    );
    std::fs::read(&path).map_err(ImageError::file("read", &path))
}

/// Whoever owns the checkout shall own what is built in it.
fn owner(root: &Path) -> Result<String, ImageError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(root).map_err(ImageError::file("read", root))?;
    Ok(format!("{}:{}", metadata.uid(), metadata.gid()))
}

/// The base with Debian's Rust in it.
async fn builder(
    docker: &Docker,
    base: &Base,
    progress: &dyn Progress,
) -> Result<String, ImageError> {
    let digest = sha256(format!("{} {BUILDER}", base.id).as_bytes());
    let name = format!("beyond-builder:{}", short(&digest));
    if tags::id_of(docker, &name).await?.is_some() {
        return Ok(name);
    }
    progress.step(&format!("Building {name}: Debian with Rust"));
    let mut context = Context::default();
    context.add("Dockerfile", BUILDER.as_bytes().to_vec(), false);
    let tar = context
        .tar()
        .map_err(ImageError::file("pack", Path::new("Dockerfile")))?;
    let arguments = [("BASE", base.name.as_str())].into();
    let recipe = Recipe {
        name: &name,
        dockerfile: "Dockerfile",
        tar,
        arguments,
    };
    build::build(docker, recipe, progress).await?;
    Ok(name)
}

const BUILDER: &str = "\
ARG BASE
FROM ${BASE}
RUN apt-get update -qq -o Acquire::Check-Valid-Until=false \\
    && apt-get install -qq --yes --no-install-recommends cargo rustc gcc libc6-dev ca-certificates \\
    && rm -rf /var/lib/apt/lists/*
";

#[cfg(test)]
mod tests {
    use super::{Executable, executable};

    #[test]
    fn the_executable_is_the_one_that_cargo_names() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"wire"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"build-script"},"executable":"/t/x"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"beyond-pg"},"executable":"/t/release/beyond-pg"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(
            executable(messages, "beyond-pg").as_deref(),
            Some("/t/release/beyond-pg")
        );
        assert_eq!(executable(messages, "fake-substrate"), None);
    }

    #[test]
    fn cargo_is_told_the_package_and_the_options() {
        let wanted = Executable {
            package: "beyond-pg",
            options: &["--features", "failpoints"],
        };
        let line = wanted.arguments().collect::<Vec<_>>().join(" ");
        assert!(
            line.ends_with("--package beyond-pg --features failpoints"),
            "{line}"
        );
    }
}
