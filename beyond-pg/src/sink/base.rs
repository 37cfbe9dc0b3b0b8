//! A cluster does not begin with WAL: what initdb makes is on its volume alone, and a host that is lost
//! before that volume was flushed leaves nothing which WAL could be replayed on. So a sink takes a base
//! backup of a young cluster *before* it acknowledges anything, and keeps it for as long as the WAL that
//! makes every later state of it (docs/decisions.md).
//!
//! ```text
//!  base.new/ ── pg_basebackup, flushed ── base.json ── rename ──► base/ ── a gibibyte of WAL later ──► gone
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use ring::digest::{self, SHA256};
use thiserror::Error;
use wire::lsn::Lsn;
use wire::sink::{Base, PIECE};

use crate::fx::exec::ExecError;
use crate::fx::fs::{self as files, FsError};
use crate::layout::Layout;
use crate::sink::primary::{Look, Primary, PrimaryError};
use crate::sink::store::BEFORE_REDO;

const PROGRAM: &str = "pg_basebackup";
const CHUNK: usize = 1 << 20;

#[derive(Debug, Error)]
pub(crate) enum BaseError {
    #[error("taking a copy of the primary, which is too young to be on a flushed volume for sure")]
    Take(#[from] ExecError),
    #[error("{tried} {}", path.display())]
    Io {
        tried: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} does not say whose base this is\nHINT: the file is damaged; remove {}, and another one is taken from the primary", path.display(), folder.display())]
    Description {
        path: PathBuf,
        folder: PathBuf,
        source: serde_json::Error,
    },
    #[error(
        "the primary has a tablespace ({}), and a base is one folder: a loss of its host before its volume was flushed would lose it. Nothing was taken from it.\n\
         HINT: drop the tablespace, or flush the primary's volume and write a gibibyte there before the sink is added", name.display()
    )]
    Tablespace { name: PathBuf },
    #[error(transparent)]
    Primary(#[from] PrimaryError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// The one that is here.
pub(crate) fn held(layout: &Layout) -> Result<Option<Base>, BaseError> {
    let path = layout.sink_base_description();
    match fs::read(&path) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(base) => Ok(Some(base)),
            Err(source) => Err(BaseError::Description {
                path,
                folder: layout.sink_base(),
                source,
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("reading", &path)(source)),
    }
}

/// A volume that is flushed is up to 512 MiB of writes older than its machine; a cluster that wrote less
/// than twice that since initdb may be on no flushed volume.
pub(crate) fn is_young(look: &Look) -> bool {
    look.redo_lsn < Lsn::new(BEFORE_REDO)
}

/// Takes one. Its WAL comes with it: the archive is consistent by itself, whatever comes in behind it.
pub(crate) async fn take(primary: &Primary<'_>, look: &Look) -> Result<(), BaseError> {
    let Primary { layout, owner, .. } = *primary;
    let staging = layout.sink_base_staging();
    files::remove_tree_if_present(&staging)?;
    files::make_dir(&staging, 0o700, owner)?;
    {
        let _pass = primary.passfile(PROGRAM)?;
        let program = primary
            .program(PROGRAM)
            .args(["--format=tar", "--wal-method=fetch", "--checkpoint=fast"])
            .args(["--no-password", "--no-manifest", "-D"])
            .arg(&staging)
            .arg("-d")
            .arg(primary.observing());
        program.run().await?;
    }
    let tar = staging.join(Layout::BASE_TAR);
    only(&staging, &tar)?;
    let (bytes, sha256) = fingerprint(&tar).map_err(failed("reading", &tar))?;
    let base = Base {
        system_id: look.system_id.clone(),
        instance_id: look.instance_id.clone(),
        redo_lsn: look.redo_lsn,
        bytes,
        sha256,
    };
    let path = staging.join("base.json");
    let text = serde_json::to_vec(&base).map_err(|source| BaseError::Description {
        path: path.clone(),
        folder: staging.clone(),
        source,
    })?;
    files::write_atomic(&path, &text, 0o600, owner)?;
    files::remove_tree_if_present(&layout.sink_base())?;
    files::rename(&staging, &layout.sink_base())?;
    tracing::info!(
        "took a copy of the young primary: {bytes} bytes, from {}",
        base.redo_lsn
    );
    Ok(())
}

/// That there is nothing but the archive: each tablespace would be another one.
fn only(staging: &Path, tar: &Path) -> Result<(), BaseError> {
    let list = || -> io::Result<Vec<OsString>> {
        let entries = fs::read_dir(staging)?;
        entries.map(|entry| Ok(entry?.file_name())).collect()
    };
    let names = list().map_err(failed("listing", staging))?;
    match names
        .into_iter()
        .find(|name| Some(name.as_os_str()) != tar.file_name())
    {
        Some(name) => Err(BaseError::Tablespace { name: name.into() }),
        None => Ok(()),
    }
}

/// The bytes from there on; `None` when there is no base.
pub(crate) fn piece(layout: &Layout, from: u64) -> Result<Option<Vec<u8>>, BaseError> {
    let path = layout.sink_base_tar();
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("opening", &path)(source)),
    };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))
        .and_then(|_| file.take(PIECE).read_to_end(&mut bytes))
        .map_err(failed("reading", &path))?;
    Ok(Some(bytes))
}

/// Forgets one whose WAL is about to be forgotten.
pub(crate) fn forget_before(layout: &Layout, floor: Lsn) -> Result<(), BaseError> {
    if held(layout)?.is_some_and(|base| base.redo_lsn < floor) {
        files::remove_tree_if_present(&layout.sink_base())?;
        tracing::info!("the copy of the young primary is not needed any more: removed");
    }
    Ok(())
}

/// Hexadecimal digits.
pub(crate) fn hex(digest: &digest::Digest) -> String {
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn fingerprint(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut context = digest::Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut chunk)?;
        let Some(read @ [_, ..]) = chunk.get(..read) else {
            return Ok((bytes, hex(&context.finish())));
        };
        context.update(read);
        bytes += read.len() as u64;
    }
}

fn failed(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BaseError {
    let path = path.to_owned();
    move |source| BaseError::Io {
        tried,
        path,
        source,
    }
}
