//! The images: what `up`, the command line and the scenarios run.
//!
//! Everything is made from a checkout and named after a digest of what went into it, so asking
//! for an image that exists costs a look at the sources and one question to Docker.
//!
//! ```text
//! extensions.toml ─┐
//! packer/ ─────────┼─► context ──┐
//! cargo build ─────┘             ├─► source digest ─► beyond-postgres:release-<digest>
//! debian:forky-slim │ mmdebstrap ┘                    = :latest = :<git revision>
//! ```
//!
//! Not here: starting containers from them (`docker`, `substrate`).

mod base;
mod binary;
mod build;
mod candidates;
mod context;
pub(crate) mod digest;
mod error;
mod extended;
mod glibc;
mod pins;
mod tags;
mod throwaway;
mod workspace;

use std::collections::HashMap;
use std::path::Path;

pub use error::ImageError;
pub use extended::with_packages;
pub use pins::{ManifestError, PinChange, Pins};

use self::base::Base;
use self::binary::Executable;
use self::build::Recipe;
use self::context::{Context, source_digest};
use crate::docker::Docker;
use crate::progress::Progress;

const POSTGRES: &str = "beyond-postgres";
const SUBSTRATE: &str = "beyond-substrate";
const MANIFEST: &str = "extensions.toml";

/// Which build of the machine's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// What is shipped: `beyond-postgres:latest`.
    Release,
    /// The same with options that no shipped build has: it stops where a scenario tells it to, and
    /// sends as many lines as it can for a benchmark. `beyond-postgres:failpoints`.
    Failpoints,
}

impl Variant {
    fn executable(self) -> Executable {
        let options: &[&str] = match self {
            Self::Release => &["--release"],
            Self::Failpoints => &["--release", "--features", "failpoints"],
        };
        Executable {
            package: "beyond-pg",
            options,
        }
    }

    /// Before the digest in the tag that tells whether a source has been built.
    const fn kind(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Failpoints => "failpoints",
        }
    }

    /// The tags that move along with each build.
    fn moving_tags(self, revision: &str) -> Vec<String> {
        match self {
            Self::Release => vec!["latest".to_owned(), revision.to_owned()],
            Self::Failpoints => vec!["failpoints".to_owned()],
        }
    }
}

/// An image that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// The name that a person knows it by; moves with the next build.
    pub name: String,
    /// What to run: this one and no other.
    pub id: String,
    /// It was built just now.
    pub built: bool,
}

/// An image of ours, as `image ls` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its names.
    pub names: Vec<String>,
    /// Its id.
    pub id: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The git revision it was made from.
    pub revision: Option<String>,
    /// The digest of its extensions.toml.
    pub pins: Option<String>,
}

/// The machine's image, built when there is none of the present sources.
pub async fn ensure_postgres(
    docker: &Docker,
    variant: Variant,
    progress: &dyn Progress,
) -> Result<ImageRef, ImageError> {
    let lock = workspace::lock(progress).await?;
    let (pins, base) = pins_and_base(docker, progress).await?;
    let glibc = glibc_of(&pins);
    let binary = binary::build(docker, &base, glibc, variant.executable(), progress).await?;
    let tar = packed(&["packer", MANIFEST], "bin/beyond-pg", binary)?;
    let revision = workspace::revision(progress).await;
    let source = Source {
        repository: POSTGRES,
        kind: variant.kind(),
        dockerfile: "packer/Dockerfile",
        arguments: HashMap::from([
            ("REVISION", revision.as_str()),
            ("PINS", pins.digest.as_str()),
        ]),
    };
    let mut image = source.ensure(docker, &base, tar, progress).await?;
    for tag in variant.moving_tags(&revision) {
        tags::add(docker, &image.id, &format!("{POSTGRES}:{tag}")).await?;
    }
    image.name = format!("{POSTGRES}:{}", variant.moving_tags(&revision)[0]);
    drop(lock);
    Ok(image)
}

/// The image that the substrate's own process runs in.
pub async fn ensure_substrate(
    docker: &Docker,
    progress: &dyn Progress,
) -> Result<ImageRef, ImageError> {
    let lock = workspace::lock(progress).await?;
    let (pins, base) = pins_and_base(docker, progress).await?;
    let glibc = glibc_of(&pins);
    let wanted = Executable {
        package: "fake-substrate",
        options: &[],
    };
    let binary = binary::build(docker, &base, glibc, wanted, progress).await?;
    let tar = packed(
        &["packer/substrate.Dockerfile"],
        "bin/fake-substrate",
        binary,
    )?;
    let source = Source {
        repository: SUBSTRATE,
        kind: "dev",
        dockerfile: "packer/substrate.Dockerfile",
        arguments: HashMap::new(),
    };
    let image = source.ensure(docker, &base, tar, progress).await?;
    drop(lock);
    Ok(image)
}

/// Our images, the newest first.
pub async fn list(docker: &Docker) -> Result<Vec<Listed>, ImageError> {
    let mut images = tags::of(docker, POSTGRES).await?;
    images.extend(tags::of(docker, SUBSTRATE).await?);
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let listed = images.into_iter().map(|image| Listed {
        revision: image
            .labels
            .get("org.opencontainers.image.revision")
            .cloned(),
        pins: image.labels.get("dev.beyond.pins").cloned(),
        names: image.repo_tags,
        id: image.id,
        size: u64::try_from(image.size).unwrap_or_default(),
        created: image.created,
    });
    Ok(listed.collect())
}

/// The pins that differ from what the suite carries now; with `write`, extensions.toml is changed
/// accordingly.
pub async fn pins_update(
    docker: &Docker,
    write: bool,
    progress: &dyn Progress,
) -> Result<Vec<PinChange>, ImageError> {
    let lock = workspace::lock(progress).await?;
    let (pins, base) = pins_and_base(docker, progress).await?;
    let carried = candidates::carried(docker, &base, &pins, progress).await?;
    let changes = pins.against(&carried);
    if write && !changes.is_empty() {
        let path = workspace::root().join(MANIFEST);
        let text = pins::rewritten(&read_text(&path)?, &changes)?;
        replace(&path, &text).map_err(ImageError::file("write", &path))?;
    }
    drop(lock);
    Ok(changes)
}

/// The C library of every image here; without a pin nothing is known and nothing refused.
fn glibc_of(pins: &Pins) -> Option<glibc::Version> {
    pins.versions
        .get("libc6")
        .and_then(|version| glibc::version(version))
}

async fn pins_and_base(
    docker: &Docker,
    progress: &dyn Progress,
) -> Result<(Pins, Base), ImageError> {
    let pins = Pins::parse(&read_text(&workspace::root().join(MANIFEST))?)?;
    let base = base::ensure(docker, &pins.suite, &workspace::scratch()?, progress).await?;
    Ok((pins, base))
}

fn packed(paths: &[&str], name: &str, binary: Vec<u8>) -> Result<Vec<u8>, ImageError> {
    let root = workspace::root();
    let mut context = Context::default();
    for path in paths {
        context.add_from(root, path)?;
    }
    context.add(name, binary, true);
    context.tar().map_err(ImageError::file("pack", root))
}

fn read_text(path: &Path) -> Result<String, ImageError> {
    std::fs::read_to_string(path).map_err(ImageError::file("read", path))
}

/// By a rename: a reader sees the old pins or the new ones.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("toml.new");
    std::io::Write::write_all(&mut std::fs::File::create(&beside)?, text.as_bytes())?;
    std::fs::rename(&beside, path)
}

/// How an image is made, apart from the bytes that go in.
#[derive(Debug)]
struct Source<'s> {
    repository: &'static str,
    kind: &'static str,
    dockerfile: &'s str,
    arguments: HashMap<&'s str, &'s str>,
}

impl Source<'_> {
    /// The image of exactly this source. It is found again by a tag and not by a label: a label
    /// would be one more step after the binary, and a step is what a rebuild waits for.
    async fn ensure(
        self,
        docker: &Docker,
        base: &Base,
        tar: Vec<u8>,
        progress: &dyn Progress,
    ) -> Result<ImageRef, ImageError> {
        let digest = source_digest(&base.id, &tar);
        let name = format!(
            "{}:{}-{}",
            self.repository,
            self.kind,
            digest::short(&digest)
        );
        if let Some(id) = tags::id_of(docker, &name).await? {
            return Ok(ImageRef {
                name,
                id,
                built: false,
            });
        }
        progress.step(&format!("Building {name}"));
        let mut arguments = self.arguments;
        arguments.insert("BASE", &base.name);
        let recipe = Recipe {
            name: &name,
            dockerfile: self.dockerfile,
            tar,
            arguments,
        };
        let id = build::build(docker, recipe, progress).await?;
        tags::prune(
            docker,
            self.repository,
            &format!("{}-", self.kind),
            progress,
        )
        .await;
        Ok(ImageRef {
            name,
            id,
            built: true,
        })
    }
}
