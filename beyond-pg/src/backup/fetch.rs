//! Bringing a backup back: `beyond-pg fetch-backup FOLDER`, which PID 1 starts on a volume without a cluster.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Buf as _, Bytes};
use ring::digest::{Context, SHA256};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::archive::loan::{Loan, LoanError};
use crate::archive::object::{self, Damage};
use crate::archive::place::{BackupPart, Place};
use crate::archive::s3::S3;
use crate::archive::store::{Store as _, StoreError};
use crate::backup::manifest::{Manifest, ManifestError};
use crate::backup::record::{self, Record};
use crate::backup::unpack::{UnpackError, unpack};
use crate::fx::clock;
use crate::fx::fs::{self, FsError};
use crate::layout::MAJOR;
use crate::settings::{RestoreFrom, RestoreTarget};
use crate::sys::user::{self, AccountError};

/// Waits between tries that bring nothing; the client has tried several times in each.
const WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// Pieces of the object that wait to be unpacked.
const AHEAD: usize = 16;

/// Why nothing was brought back. The volume is as it was, but for a folder that nobody takes for a cluster.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("there is nothing to restore from\nHINT: set BEYOND_PG_RESTORE_FROM")]
    NoSource,
    #[error(
        "there is no whole backup {what}\n\
         HINT: those with a backup.json are; `fake-substrate rpc MACHINE backup` takes one"
    )]
    NoBackup { what: String },
    #[error(
        "the backup {name} is of PostgreSQL {found}, and this image is PostgreSQL {MAJOR}\n\
         HINT: boot an image of version {found}"
    )]
    OtherMajor { name: String, found: u32 },
    #[error(
        "the volume has room for {free} MB, and the backup {name} takes {needed} MB\nHINT: give the machine a larger volume"
    )]
    NoRoom {
        name: String,
        free: u64,
        needed: u64,
    },
    #[error(
        "{key} is damaged: {how}\nHINT: restore from another backup, named in BEYOND_PG_RESTORE_FROM"
    )]
    Damaged { key: String, how: String },
    #[error("asking for the room on the volume")]
    Room(#[from] nix::Error),
    #[error("unpacking the backup was cut off")]
    Cut(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Unpack(UnpackError),
    #[error("packing what is known of the backup")]
    Encode(#[from] serde_json::Error),
    #[error(transparent)]
    Loan(#[from] LoanError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// An archive with backups.
pub(crate) struct Source {
    pub(crate) store: S3,
    pub(crate) place: Place,
}

impl Source {
    pub(crate) fn of(from: &RestoreFrom) -> Source {
        Source {
            store: S3::new(&from.archive),
            place: Source::place_of(from),
        }
    }

    pub(crate) fn place_of(from: &RestoreFrom) -> Place {
        Place::new(&from.archive.prefix, None)
    }

    /// What is known of the backup that a restore to `target` begins with.
    pub(crate) async fn find(
        &self,
        name: Option<&str>,
        target: Option<&RestoreTarget>,
    ) -> Result<Record, FetchError> {
        let names = match name {
            Some(name) => vec![name.to_owned()],
            None => {
                let entries = self.store.list(&self.place.backups(), None).await?;
                let names = entries
                    .iter()
                    .filter_map(|entry| self.place.backup_of(&entry.key));
                names.collect()
            }
        };
        let mut records = Vec::new();
        for name in &names {
            records.extend(self.record(name).await?);
        }
        record::choose(&records, target).cloned().ok_or_else(|| {
            let all = self.place.backups();
            let what = name.map_or(format!("below {all}"), |name| format!("{name} below {all}"));
            FetchError::NoBackup { what }
        })
    }

    async fn record(&self, name: &str) -> Result<Option<Record>, FetchError> {
        let key = self.place.backup(name, BackupPart::Record);
        let Some(object) = self.store.get(&key).await? else {
            return Ok(None);
        };
        let damaged = |how: String| FetchError::Damaged {
            key: key.clone(),
            how,
        };
        let text = object.unpacked_content();
        let text = text.map_err(|damage: Damage| damaged(damage.to_string()))?;
        let record = serde_json::from_slice::<Record>(text);
        record.map(Some).map_err(|error| damaged(error.to_string()))
    }

    async fn manifest(&self, record: &Record) -> Result<Manifest, FetchError> {
        let key = self.place.backup(&record.name, BackupPart::Manifest);
        let object = self.store.get(&key).await?;
        let damaged = |how: String| FetchError::Damaged {
            key: key.clone(),
            how,
        };
        let object = object.ok_or_else(|| damaged("it is not there".to_owned()))?;
        let text = object
            .content()
            .map_err(|damage| damaged(damage.to_string()))?;
        if object::digest(&text) != record.manifest_sha256 {
            return Err(damaged("backup.json has another SHA-256 of it".to_owned()));
        }
        Manifest::parse(&text).map_err(|error: ManifestError| damaged(error.to_string()))
    }

    /// The whole object, in order. What breaks off is gone on with where it did.
    async fn download(
        &self,
        record: &Record,
        unpacking: mpsc::Sender<Bytes>,
    ) -> Result<String, FetchError> {
        let key = self.place.backup(&record.name, BackupPart::Base);
        let (mut digest, mut at) = (Context::new(&SHA256), 0_u64);
        let mut waits = WAITS.into_iter();
        while at < record.bytes {
            let before = at;
            let error = match self.store.open(&key, at).await {
                Ok(body) => match pass_on(body, &unpacking, &mut digest, &mut at).await {
                    // Whoever unpacks has ended, and says why.
                    Passed::NotTaken => return Ok(String::new()),
                    Passed::Ended => "it ended early".to_owned(),
                    Passed::Broken(words) => words,
                },
                Err(error) if error.why != crate::archive::store::Why::Trouble => {
                    return Err(error.into());
                }
                Err(error) => error.to_string(),
            };
            if at >= record.bytes {
                break;
            }
            if at > before {
                waits = WAITS.into_iter();
            }
            let Some(wait) = waits.next() else {
                let how = format!("only {at} of {} bytes came: {error}", record.bytes);
                return Err(FetchError::Damaged { key, how });
            };
            tracing::warn!("going on at byte {at} in {} s: {error}", wait.as_secs());
            clock::pause(wait).await;
        }
        Ok(object::hex(digest.finish().as_ref()))
    }
}

enum Passed {
    Ended,
    Broken(String),
    NotTaken,
}

async fn pass_on(
    mut body: ByteStream,
    to: &mpsc::Sender<Bytes>,
    digest: &mut Context,
    at: &mut u64,
) -> Passed {
    loop {
        match body.next().await {
            None => return Passed::Ended,
            Some(Err(error)) => {
                let words = aws_sdk_s3::error::DisplayErrorContext(error).to_string();
                return Passed::Broken(words);
            }
            Some(Ok(piece)) => {
                digest.update(&piece);
                *at += piece.len() as u64;
                if to.send(piece).await.is_err() {
                    return Passed::NotTaken;
                }
            }
        }
    }
}

/// Unpacks a backup into `folder`, which is empty and on the volume.
pub(crate) async fn fetch(loan: &Loan, folder: &Path) -> Result<Record, FetchError> {
    let from = loan.restore_from.as_ref().ok_or(FetchError::NoSource)?;
    let source = Source::of(from);
    let record = source
        .find(from.backup.as_deref(), loan.restore.as_ref())
        .await?;
    let found = record.postgres / 10_000;
    if found != MAJOR {
        let name = record.name.clone();
        return Err(FetchError::OtherMajor { name, found });
    }
    check_room(&record, folder)?;
    tracing::info!(
        "fetching the backup {} of {} MB, which ended at {}",
        record.name,
        record.file_bytes >> 20,
        record.end_lsn
    );
    let manifest = source.manifest(&record).await?;
    let (to, pieces) = mpsc::channel(AHEAD);
    let root = folder.to_owned();
    let unpacking =
        tokio::task::spawn_blocking(move || unpack(Pieces::new(pieces), &manifest, &root));
    let sha256 = source.download(&record, to).await;
    let unpacked = unpacking.await?;
    let key = source.place.backup(&record.name, BackupPart::Base);
    // What could not be downloaded could not be unpacked either.
    let sha256 = sha256?;
    match unpacked {
        Err(error @ UnpackError::Write { .. }) => return Err(FetchError::Unpack(error)),
        Err(error) => {
            let how = crate::supervise::chain(&error);
            return Err(FetchError::Damaged { key, how });
        }
        Ok(()) if sha256 != record.sha256 => {
            let how = format!("its SHA-256 is {sha256}, and should be {}", record.sha256);
            return Err(FetchError::Damaged { key, how });
        }
        Ok(()) => {}
    }
    note(&record, folder)?;
    Ok(record)
}

fn check_room(record: &Record, folder: &Path) -> Result<(), FetchError> {
    let stat = nix::sys::statvfs::statvfs(folder)?;
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    match record.file_bytes < free {
        true => Ok(()),
        false => Err(FetchError::NoRoom {
            name: record.name.clone(),
            free: free >> 20,
            needed: record.file_bytes >> 20,
        }),
    }
}

/// What the next boot goes by: that this is a backup that was not recovered yet, and whose.
fn note(record: &Record, folder: &Path) -> Result<(), FetchError> {
    let owner = user::postgres()?;
    let kept = folder.join("beyond");
    fs::make_dir(&kept, 0o700, owner)?;
    let stamp = kept.join("instance-id");
    if !stamp.exists() {
        let nobody = format!("cluster-{}\n", record.system_id);
        fs::write_atomic(&stamp, nobody.as_bytes(), 0o600, owner)?;
    }
    let text = serde_json::to_vec(record)?;
    fs::write_atomic(&kept.join(FETCHED), &text, 0o600, owner)?;
    Ok(())
}

/// Below `PGDATA/beyond`, while a backup is not recovered.
pub(crate) const FETCHED: &str = "fetched.json";

/// Pieces that another thread sends, as one reader.
struct Pieces {
    from: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Pieces {
    fn new(from: mpsc::Receiver<Bytes>) -> Pieces {
        Pieces {
            from,
            piece: Bytes::new(),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.from.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
