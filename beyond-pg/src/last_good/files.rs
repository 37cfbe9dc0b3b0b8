//! Reading what users wrote, remembering what worked, and laying it out for Postgres.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Configuration, UserFiles};
use crate::boot::facts::Owners;
use crate::conf::{self, ConfFile};
use crate::fx::fs::{self as files, FsError};
use crate::layout::Layout;

/// Of a file that was not the user's to write but is his to read (`conf.d` has the same).
const MODE: u32 = 0o640;

#[derive(Debug, Error)]
pub(crate) enum LastGoodError {
    #[error("reading {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} is not what this image writes\nHINT: remove it; the next boot that works writes it anew"
    )]
    Memory {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("packing the configuration that works")]
    Pack(#[source] serde_json::Error),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// What stands in the user's files now.
pub(crate) fn written(layout: &Layout) -> Result<UserFiles, LastGoodError> {
    let mut files = UserFiles {
        hba: text(&ConfFile::UserHba99.path(layout))?.unwrap_or_default(),
        auto: text(&layout.auto_conf())?,
        ..UserFiles::default()
    };
    let ours = conf::image_files_in_confd();
    for name in conf_names(layout)? {
        if ours.contains(&name.as_str()) {
            continue;
        }
        if let Some(text) = text(&layout.confd().join(&name))? {
            files.conf.insert(name, text);
        }
    }
    Ok(files)
}

/// What worked last; nothing of the user's when nothing is remembered.
pub(crate) fn remembered(layout: &Layout) -> Result<UserFiles, LastGoodError> {
    let path = layout.last_good();
    let Some(json) = text(&path)? else {
        return Ok(UserFiles::default());
    };
    serde_json::from_str(&json).map_err(|source| LastGoodError::Memory { path, source })
}

/// Keeps what stands in the user's files as what works. One file, so that no cut mixes two.
pub(crate) fn remember(layout: &Layout, owners: Owners) -> Result<(), LastGoodError> {
    let json = serde_json::to_string(&written(layout)?).map_err(LastGoodError::Pack)?;
    let path = layout.last_good();
    if text(&path)?.as_deref() == Some(json.as_str()) {
        return Ok(());
    }
    Ok(files::write_atomic(
        &path,
        json.as_bytes(),
        0o600,
        owners.postgres,
    )?)
}

/// Lays out what Postgres is to be started with. Repeatable.
pub(crate) fn lay_out(
    layout: &Layout,
    owners: Owners,
    configuration: Configuration,
    written: &UserFiles,
    good: &UserFiles,
) -> Result<(), LastGoodError> {
    if configuration == Configuration::Written {
        return Ok(());
    }
    let folder = layout.last_good_dir();
    files::make_dir(&folder, 0o750, owners.postgres)?;
    let put =
        |path: &Path, text: &str| files::write_atomic(path, text.as_bytes(), MODE, owners.postgres);
    for (name, text) in &good.conf {
        put(&folder.join(name), text)?;
    }
    put(&folder.join(ConfFile::UserHba99.name()), &good.hba)?;
    put(
        &folder.join(ConfFile::Hba.name()),
        &conf::last_good_hba(layout),
    )?;
    let image = conf_names(layout)?;
    let conf = conf::last_good(layout, &image, good.conf.keys());
    put(&layout.last_good_conf(), &conf)?;
    if let (Configuration::LastGoodAndAuto, Some(auto)) = (configuration, &good.auto) {
        let put = |path: &Path, text: &str| {
            files::write_atomic(path, text.as_bytes(), 0o600, owners.postgres)
        };
        // Kept before it is replaced; cut in between, the next boot comes here again.
        if let Some(refused) = &written.auto {
            put(&layout.refused_auto_conf(), refused)?;
        }
        put(&layout.auto_conf(), auto)?;
    }
    Ok(())
}

/// The files of `conf.d` that Postgres reads.
fn conf_names(layout: &Layout) -> Result<Vec<String>, LastGoodError> {
    let path = layout.confd();
    let failed = |source| LastGoodError::Read {
        path: path.clone(),
        source,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).map_err(failed)? {
        // A name that is no text cannot be written into a configuration either.
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string()
            && name.ends_with(".conf")
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn text(path: &Path) -> Result<Option<String>, LastGoodError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LastGoodError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests lay files out")]
mod tests {
    use super::*;
    use crate::sys::user::Account;

    fn owners() -> Owners {
        Owners {
            root: Account::current(),
            postgres: Account::current(),
        }
    }

    struct Volume {
        _dir: tempfile::TempDir,
        layout: Layout,
    }

    impl Volume {
        fn new() -> Volume {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path());
            for folder in [layout.confd(), layout.beyond_dir(), layout.run_dir()] {
                fs::create_dir_all(folder).unwrap();
            }
            let volume = Volume { _dir: dir, layout };
            volume.confd("00-beyond.conf", "port = 5433\n");
            volume.confd("99-user.conf", "work_mem = '8MB'\n");
            volume.confd("50-mine.conf", "jit = off\n");
            volume.confd("50-mine.conf~", "what an editor left");
            volume.put(&volume.layout.auto_conf(), "# auto\n");
            volume
        }

        fn confd(&self, name: &str, text: &str) {
            self.put(&self.layout.confd().join(name), text);
        }

        fn put(&self, path: &Path, text: &str) {
            fs::write(path, text).unwrap();
        }

        fn has(&self, path: PathBuf) -> String {
            fs::read_to_string(path).unwrap()
        }
    }

    #[test]
    fn what_worked_comes_back_beside_what_the_user_wrote() {
        let volume = Volume::new();
        let layout = &volume.layout;
        remember(layout, owners()).unwrap();
        volume.confd("99-user.conf", "work_men = '8MB'\n");
        volume.put(&layout.auto_conf(), "port = 'x'\n");

        let (now, good) = (written(layout).unwrap(), remembered(layout).unwrap());
        assert_eq!(
            good.conf.keys().collect::<Vec<_>>(),
            ["50-mine.conf", "99-user.conf"]
        );
        lay_out(layout, owners(), Configuration::LastGood, &now, &good).unwrap();
        let folder = layout.last_good_dir();
        assert_eq!(
            volume.has(folder.join("99-user.conf")),
            "work_mem = '8MB'\n"
        );
        assert_eq!(volume.has(folder.join("50-mine.conf")), "jit = off\n");
        assert_eq!(
            volume.has(layout.confd().join("99-user.conf")),
            "work_men = '8MB'\n"
        );
        assert_eq!(volume.has(layout.auto_conf()), "port = 'x'\n");

        lay_out(
            layout,
            owners(),
            Configuration::LastGoodAndAuto,
            &now,
            &good,
        )
        .unwrap();
        assert_eq!(volume.has(layout.auto_conf()), "# auto\n");
        assert_eq!(volume.has(layout.refused_auto_conf()), "port = 'x'\n");
    }

    #[test]
    fn a_memory_that_is_torn_is_an_error_and_no_empty_configuration() {
        let volume = Volume::new();
        volume.put(&volume.layout.last_good(), "\0\0\0");
        let error = remembered(&volume.layout).unwrap_err();
        assert!(matches!(error, LastGoodError::Memory { .. }), "{error}");
    }
}
