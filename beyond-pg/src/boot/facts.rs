//! What is on disk before anything is changed. Looks, decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;
use wire::sink::Base;

use crate::boot::step::{Dir, DirOwner};
use crate::conf::ConfFile;
use crate::disk::{self, Volume, VolumeError};
use crate::fork;
use crate::hooks::{self, Hook, HookError, Stage};
use crate::layout::{Layout, MAJOR};
use crate::manifest::Manifest;
use crate::replication::marks::{self, MarkError};
use crate::replication::members::Members;
use crate::replication::seed::Rewind;
use crate::replication::standing::{Mark, Marks};
use crate::replication::upstream;
use crate::settings::Secret;
use crate::sys::user::Account;
use crate::tls;
use crate::tls::source::TlsFacts;

/// Everything the plan is made from, besides settings and machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) pgdata: Pgdata,
    /// What an initdb or the fetching of a backup left that was cut.
    pub(crate) staging: bool,
    pub(crate) wal_link: WalLink,
    pub(crate) wal_dir: WalDir,
    pub(crate) postmaster_pid: bool,
    /// A free name for a PGDATA that has to make room.
    pub(crate) aside: PathBuf,
    /// Folders that are there with the right mode and owner.
    pub(crate) dirs: BTreeSet<PathBuf>,
    /// Content of each configuration file that is there with the right mode and owner.
    pub(crate) files: BTreeMap<ConfFile, FileState>,
    pub(crate) tls: TlsFacts,
    /// The instance that this volume belongs to.
    pub(crate) stamp: Option<String>,
    pub(crate) volume: Volume,
    /// A fork that began to leave its parent and has not done so. One that is torn counts as none: the
    /// leaving begins again.
    pub(crate) fork: Option<fork::Journal>,
    /// The restore that this volume has behind it.
    pub(crate) restored: Option<fork::Restored>,
    /// The volume was made from a backup that is not recovered yet.
    pub(crate) fetched: bool,
    /// The volume was a copy once.
    pub(crate) forked: bool,
    /// A base backup began and was not published.
    pub(crate) seeding: bool,
    /// A rewind began. One whose journal is torn counts as begun.
    pub(crate) rewind: Option<Rewind>,
    /// What the volume says of this machine's standing.
    pub(crate) marks: Marks,
    /// Those of them that have had their time.
    pub(crate) stale_marks: Vec<Mark>,
    /// What the others say, where they had to be asked.
    pub(crate) members: Members,
    /// What a standby's Postgres logs in to its primary with, as the file has it.
    pub(crate) passfile: Option<Secret>,
    /// Libraries of the manifest's preload list that this image has.
    pub(crate) preload: Vec<String>,
    /// Extension name → the version that this image would install.
    pub(crate) extensions: BTreeMap<String, String>,
    /// Where there is no cluster: the one that the sink keeps a copy of. Asked for, not looked at.
    pub(crate) base: Option<Base>,
    /// What runs before Postgres starts, and after everything is made true.
    pub(crate) hooks: Vec<Hook>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pgdata {
    /// No folder, or an empty one.
    Absent {
        empty_dir: bool,
    },
    /// Something is there, but no `global/pg_control`: no cluster ever ran on it.
    HalfMade,
    Cluster,
    OtherMajor(String),
    /// A cluster whose `PG_VERSION` is gone.
    NoVersion,
}

/// `PGDATA/pg_wal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WalLink {
    Missing,
    /// A folder within PGDATA.
    Inside,
    Linked,
    /// A link to somewhere else.
    Elsewhere {
        target: PathBuf,
        exists: bool,
    },
}

/// The folder that `pg_wal` should point at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WalDir {
    Absent,
    Empty,
    Filled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileState {
    Present {
        text: String,
        right_mode_and_owner: bool,
    },
    Absent,
}

#[derive(Debug, Error)]
pub(crate) enum FactsError {
    #[error("looking at {path}")]
    Look { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Hooks(#[from] HookError),
    #[error(transparent)]
    Marks(#[from] MarkError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

/// The folders this image needs.
pub(crate) fn wanted_dirs(layout: &Layout) -> Vec<Dir> {
    let dir = |path, mode, owner| Dir { path, mode, owner };
    vec![
        dir(layout.run_dir(), 0o755, DirOwner::Root),
        dir(layout.tls_dir(), 0o755, DirOwner::Root),
        dir(layout.socket_dir(), 0o775, DirOwner::Postgres),
        // A fresh volume's root belongs to root (facts C 47).
        dir(layout.volume(), 0o755, DirOwner::Postgres),
        dir(layout.major_dir(), 0o755, DirOwner::Postgres),
        dir(layout.confd(), 0o700, DirOwner::Postgres),
        dir(layout.beyond_dir(), 0o700, DirOwner::Postgres),
    ]
}

/// Whom the two owners are on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owners {
    pub(crate) root: Account,
    pub(crate) postgres: Account,
}

impl Owners {
    pub(crate) fn of(self, owner: DirOwner) -> Account {
        match owner {
            DirOwner::Root => self.root,
            DirOwner::Postgres => self.postgres,
        }
    }
}

pub(crate) fn observe(
    layout: &Layout,
    manifest: &Manifest,
    owners: Owners,
    now: i64,
) -> Result<Facts, FactsError> {
    Ok(Facts {
        pgdata: pgdata(layout)?,
        staging: layout.initdb_staging().exists() || layout.backup_staging().exists(),
        wal_link: wal_link(layout)?,
        wal_dir: wal_dir(&layout.wal())?,
        postmaster_pid: layout.postmaster_pid().exists(),
        aside: free_name(&layout.pgdata()),
        dirs: wanted_dirs(layout)
            .into_iter()
            .filter(|dir| is_right(&dir.path, dir.mode, owners.of(dir.owner)))
            .map(|dir| dir.path)
            .collect(),
        files: files(layout, owners)?,
        tls: tls::facts::observe(layout, now),
        stamp: read(&layout.stamp())?.map(|text| text.trim().to_owned()),
        volume: disk::observe(layout)?,
        fork: read(&layout.fork_journal())?.and_then(|text| serde_json::from_str(&text).ok()),
        restored: read(&layout.restored())?.and_then(|text| serde_json::from_str(&text).ok()),
        fetched: layout.fetched().exists(),
        forked: layout.forked_from().exists(),
        seeding: layout.seed_staging().exists(),
        rewind: read(&layout.rewind_journal())?
            .map(|text| serde_json::from_str(&text).unwrap_or(Rewind::Begun)),
        marks: marks::read(layout)?,
        stale_marks: Vec::new(),
        members: Members::default(),
        passfile: read(&layout.passfile(upstream::STANDBY))?.map(Secret::new),
        preload: manifest
            .preload
            .iter()
            .filter(|name| layout.pkglib().join(format!("{name}.so")).exists())
            .cloned()
            .collect(),
        extensions: extensions(layout, manifest)?,
        base: None,
        hooks: [Stage::PreStart, Stage::PostStart]
            .into_iter()
            .map(|stage| hooks::of(layout, stage))
            .collect::<Result<Vec<_>, _>>()?
            .concat(),
    })
}

fn pgdata(layout: &Layout) -> Result<Pgdata, FactsError> {
    let path = layout.pgdata();
    let Some(entries) = entries(&path)? else {
        return Ok(Pgdata::Absent { empty_dir: false });
    };
    if entries == 0 {
        return Ok(Pgdata::Absent { empty_dir: true });
    }
    let version = read(&path.join("PG_VERSION"))?.map(|text| text.trim().to_owned());
    let control = path.join("global/pg_control").exists();
    Ok(match (version, control) {
        (Some(version), _) if version != MAJOR.to_string() => Pgdata::OtherMajor(version),
        (Some(_), true) => Pgdata::Cluster,
        (None, true) => Pgdata::NoVersion,
        (_, false) => Pgdata::HalfMade,
    })
}

fn wal_link(layout: &Layout) -> Result<WalLink, FactsError> {
    let path = layout.pgdata().join("pg_wal");
    match fs::symlink_metadata(&path) {
        Err(error) if is_absent(&error) => Ok(WalLink::Missing),
        Err(source) => Err(FactsError::Look { path, source }),
        Ok(meta) if meta.is_symlink() => {
            let target = fs::read_link(&path).map_err(|source| FactsError::Look {
                path: path.clone(),
                source,
            })?;
            if target == layout.wal() {
                return Ok(WalLink::Linked);
            }
            Ok(WalLink::Elsewhere {
                exists: path.exists(),
                target,
            })
        }
        Ok(_) => Ok(WalLink::Inside),
    }
}

fn wal_dir(path: &Path) -> Result<WalDir, FactsError> {
    Ok(match entries(path)? {
        None => WalDir::Absent,
        Some(0) => WalDir::Empty,
        Some(_) => WalDir::Filled,
    })
}

fn files(layout: &Layout, owners: Owners) -> Result<BTreeMap<ConfFile, FileState>, FactsError> {
    ConfFile::ALL
        .into_iter()
        .map(|file| Ok((file, look_at(layout, owners, file)?)))
        .collect()
}

/// How one of our files is now.
pub(crate) fn look_at(
    layout: &Layout,
    owners: Owners,
    file: ConfFile,
) -> Result<FileState, FactsError> {
    let path = file.path(layout);
    Ok(match read(&path)? {
        None => FileState::Absent,
        Some(text) => FileState::Present {
            text,
            right_mode_and_owner: is_right(&path, file.mode(), owners.postgres),
        },
    })
}

fn extensions(
    layout: &Layout,
    manifest: &Manifest,
) -> Result<BTreeMap<String, String>, FactsError> {
    let mut found = BTreeMap::new();
    for extension in &manifest.extensions {
        let path = layout
            .sharedir_extension()
            .join(format!("{}.control", extension.name));
        if let Some(version) = read(&path)?.as_deref().and_then(default_version) {
            found.insert(extension.name.clone(), version);
        }
    }
    Ok(found)
}

/// `default_version = '0.8.1'` of a control file.
pub(crate) fn default_version(control: &str) -> Option<String> {
    control.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "default_version").then(|| value.trim().trim_matches('\'').to_owned())
    })
}

fn free_name(path: &Path) -> PathBuf {
    let mut name = path.to_owned();
    for number in 1_u32.. {
        name.set_file_name(format!(
            "{}.half-made.{number}",
            path.file_name().unwrap_or_default().to_string_lossy()
        ));
        if !name.exists() {
            break;
        }
    }
    name
}

fn is_right(path: &Path, mode: u32, owner: Account) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| {
        meta.mode() & 0o7777 == mode
            && meta.uid() == owner.uid.as_raw()
            && meta.gid() == owner.gid.as_raw()
    })
}

fn entries(path: &Path) -> Result<Option<usize>, FactsError> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(Some(entries.count())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(FactsError::Look {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Bytes that are not UTF-8 (a torn file) come back as a text that equals nothing we would write.
fn read(path: &Path) -> Result<Option<String>, FactsError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(FactsError::Look {
            path: path.to_owned(),
            source,
        }),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_a_control_file_would_install_is_read() {
        let control = "comment = 'x'\ndefault_version = '0.8.7'\nrelocatable = true\n";
        assert_eq!(default_version(control).as_deref(), Some("0.8.7"));
        assert_eq!(default_version("comment = 'x'\n"), None);
    }

    #[test]
    fn a_name_that_is_taken_is_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main");
        assert_eq!(free_name(&path), dir.path().join("main.half-made.1"));
        fs::create_dir(dir.path().join("main.half-made.1")).unwrap();
        assert_eq!(free_name(&path), dir.path().join("main.half-made.2"));
    }

    fn layout_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        fs::create_dir_all(layout.major_dir()).unwrap();
        for (path, text) in files {
            let path = layout.pgdata().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            #[expect(clippy::disallowed_methods, reason = "the test lays out a PGDATA")]
            fs::write(path, text).unwrap();
        }
        (dir, layout)
    }

    #[test]
    fn what_is_called_main_is_told_apart() {
        let of = |files: &[(&str, &str)]| pgdata(&layout_with(files).1).unwrap();
        let is = |files: &[(&str, &str)], expected: Pgdata| {
            let (_dir, layout) = layout_with(files);
            assert_eq!(pgdata(&layout).unwrap(), expected, "{files:?}");
        };
        assert_eq!(of(&[]), Pgdata::Absent { empty_dir: false });
        is(
            &[("PG_VERSION", "18\n"), ("global/pg_control", "x")],
            Pgdata::Cluster,
        );
        is(
            &[("PG_VERSION", "17\n"), ("global/pg_control", "x")],
            Pgdata::OtherMajor("17".into()),
        );
        is(&[("PG_VERSION", "17\n")], Pgdata::OtherMajor("17".into()));
        is(&[("PG_VERSION", "18\n")], Pgdata::HalfMade);
        is(&[("base/1/1", "x")], Pgdata::HalfMade);
        is(&[("global/pg_control", "x")], Pgdata::NoVersion);
    }
}
