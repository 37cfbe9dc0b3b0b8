//! Gives both servers a certificate: a folder of its own for each, and one link to the current one.
//!
//! ```text
//! /run/beyond-pg/tls/17/{cert.pem,key.pem,ca.pem,source}     postgres, key 0600
//! /run/beyond-pg/tls/current -> 17                           swapped by one rename
//! ```
//!
//! A server that starts in the middle of a rotation finds the old folder or the new one, and what
//! the platform or the user does to their own files reaches nobody before it was checked.

use std::fs as std_fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::boot::facts::Owners;
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::tls::pair::{self, Bundle, Flaw, Part};
use crate::tls::self_signed::{self, IssueError};
use crate::tls::source::TlsSource;

#[derive(Debug, Error)]
pub(crate) enum InstallError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("looking into {path}")]
    Look { path: PathBuf, source: io::Error },
    #[error("a certificate of our own making is not fit: {0}")]
    OwnUnfit(String),
}

/// Makes one of our own and installs it; `keep`: on the volume as well, for the boots to come.
///
/// Two files on the volume, so not atomic: cut between them, the key does not match and both are
/// made anew.
pub(crate) fn issue(
    layout: &Layout,
    owners: Owners,
    now: i64,
    keep: bool,
) -> Result<(), InstallError> {
    let issued = self_signed::issue(now)?;
    let bundle = pair::examine(issued.files()).map_err(|flaw| unfit(&flaw))?;
    if keep {
        let (cert, key) = (layout.self_signed_cert(), layout.self_signed_key());
        fs::write_atomic(&key, issued.key.as_bytes(), 0o600, owners.postgres)?;
        fs::write_atomic(&cert, issued.cert.as_bytes(), 0o644, owners.postgres)?;
    }
    install(layout, owners, TlsSource::SelfSigned, &bundle)
}

fn unfit(flaw: &Flaw) -> InstallError {
    let name = |part: Part| TlsSource::SelfSigned.file_name(part);
    InstallError::OwnUnfit(flaw.words(name))
}

/// Copies a checked pair where both servers read it. Cut anywhere, the link leads to the old folder
/// or to the whole new one; what is left over goes with the next installation.
pub(crate) fn install(
    layout: &Layout,
    owners: Owners,
    source: TlsSource,
    bundle: &Bundle,
) -> Result<(), InstallError> {
    let folder = layout.tls_dir();
    let before = generations(&folder)?;
    let generation = before.iter().max().map_or(1, |newest| newest + 1);
    let name = PathBuf::from(generation.to_string());
    let home = folder.join(&name);
    fs::make_dir(&home, 0o700, owners.postgres)?;
    let write = |name: &str, bytes: &[u8], mode| {
        fs::write_atomic(&home.join(name), bytes, mode, owners.postgres)
    };
    write(Layout::INSTALLED_KEY, bundle.key().pem(), 0o600)?;
    write(Layout::INSTALLED_CERT, bundle.chain(), 0o644)?;
    match bundle.ca() {
        Some(ca) => write(Layout::INSTALLED_CA, ca, 0o644)?,
        // PgBouncer needs one in any case (facts B 30); a certificate without a CA is its own. The
        // link is how we know later that there was none.
        None => fs::link(
            Path::new(Layout::INSTALLED_CERT),
            &home.join(Layout::INSTALLED_CA),
            owners.postgres,
        )?,
    }
    write(Layout::INSTALLED_SOURCE, source.word().as_bytes(), 0o644)?;
    fs::link(&name, &layout.installed_tls(), owners.postgres)?;
    // Nobody reads them any more: the servers keep what they read in memory, and whoever opens a
    // file now goes through the link.
    for old in before {
        fs::remove_tree_if_present(&folder.join(old.to_string()))?;
    }
    Ok(())
}

/// Numbers of the folders that are there.
fn generations(folder: &Path) -> Result<Vec<u64>, InstallError> {
    let look = |source| InstallError::Look {
        path: folder.to_owned(),
        source,
    };
    let names = std_fs::read_dir(folder)
        .map_err(look)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(look)?;
    Ok(names
        .iter()
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect())
}

#[cfg(test)]
#[path = "install_tests.rs"]
mod tests;
