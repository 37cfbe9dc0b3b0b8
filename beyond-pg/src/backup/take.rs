//! Taking a backup: `beyond-pg backup NAME`, which PID 1 starts.

use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::mpsc;

use crate::archive::file::{Segment, WalFile};
use crate::archive::loan::{Loan, LoanError};
use crate::archive::object::{self, Object};
use crate::archive::place::{BackupPart, Place};
use crate::archive::push::{self, PushError};
use crate::archive::s3::S3;
use crate::archive::store::{Parts as _, Put, Store as _, StoreError};
use crate::backup::Says;
use crate::backup::pack::{Packed, Packer, part_bytes};
use crate::backup::record::{self, Record};
use crate::backup::upload::{self, Uploading};
use crate::backup::witness::{Finding, Witness, Witnessed};
use crate::fx::clock;
use crate::fx::exec::{self, ExecError, Output, Running};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::postgres::controldata::{ControlData, ControlDataError};
use crate::settings::Archive;
use crate::supervise::chain;
use crate::sys::user::{self, AccountError};

/// What is read of `pg_basebackup` at once.
const PIECE: usize = 256 << 10;
/// So many of its last lines an error carries.
const LAST_LINES: usize = 20;

/// Why there is no backup.
#[derive(Debug, Error)]
pub(crate) enum TakeError {
    #[error("{0:?} is no name of a backup\nHINT: letters, digits, `.`, `_` and `-`, 64 at most")]
    Name(String),
    #[error("there is no archive to put a backup into\nHINT: set BEYOND_PG_ARCHIVE_TARGET")]
    NoTarget,
    #[error("it was called off")]
    CalledOff,
    #[error("pg_basebackup ended with {status}: {said}")]
    Ended { status: String, said: String },
    #[error(
        "the stream of pg_basebackup is no whole backup: {0}\nHINT: ask again; it says so each time: look at the volume with pg_amcheck"
    )]
    NotWhole(Finding),
    #[error(
        "{segment} is not in the archive, and the backup is none without it\n\
         HINT: somebody removes what is archived; ask again"
    )]
    WalMissing { segment: String },
    #[error("the archive has a backup {0} already\nHINT: ask again")]
    Taken(String),
    #[error("packing the stream")]
    Pack(#[from] std::io::Error),
    #[error("packing what is known of the backup")]
    Encode(#[from] serde_json::Error),
    #[error(transparent)]
    Loan(#[from] LoanError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    ControlData(#[from] ControlDataError),
}

impl From<Finding> for TakeError {
    fn from(finding: Finding) -> TakeError {
        TakeError::NotWhole(finding)
    }
}

/// What is to be backed up, and where to.
struct Taking<'a> {
    layout: &'a Layout,
    store: S3,
    place: Place,
    instance: Option<String>,
    name: &'a str,
    /// About how long the stream will be.
    expected: u64,
    /// Version of the server, as a number.
    postgres: u32,
    system_id: u64,
}

/// The stream as it came out of the machine.
struct Streamed {
    witnessed: Witnessed,
    packed: Packed,
    ended: i64,
}

/// Takes the backup `name`, tells how far it is, and leaves it whole or not at all.
pub(crate) async fn take(
    layout: &Layout,
    name: &str,
    expected: u64,
    postgres: u32,
    mut says: impl FnMut(&Says),
) -> Result<Record, TakeError> {
    if !Record::is_name(name) {
        return Err(TakeError::Name(name.to_owned()));
    }
    let loan = Loan::ask(layout).await?;
    let Archive::S3(target) = &loan.archive else {
        return Err(TakeError::NoTarget);
    };
    let control = cluster::controldata(layout, user::postgres()?)
        .run()
        .await?;
    let taking = Taking {
        layout,
        store: S3::new(target),
        place: Place::new(&target.prefix, loan.instance.as_deref()),
        instance: loan.instance.clone(),
        name,
        expected,
        postgres,
        system_id: ControlData::parse(&control)?.system_id,
    };
    let called_off = called_off()?;
    let taken = tokio::select! {
        taken = taking.run(&mut says) => taken,
        () = called_off => Err(TakeError::CalledOff),
    };
    match &taken {
        Ok(_) | Err(TakeError::Taken(_)) => {}
        Err(_) => taking.leave_nothing().await,
    }
    taken
}

/// Comes back when PID 1 wants no backup any more.
fn called_off() -> Result<impl Future<Output = ()>, std::io::Error> {
    let kind = tokio::signal::unix::SignalKind::terminate();
    let mut signal = tokio::signal::unix::signal(kind)?;
    Ok(async move {
        signal.recv().await;
    })
}

impl Taking<'_> {
    async fn run(&self, says: &mut impl FnMut(&Says)) -> Result<Record, TakeError> {
        let started = clock::unix_seconds();
        push::claim(&self.store, &self.place, self.system_id).await?;
        // What a backup left that was killed is paid for until somebody gives it up.
        upload::give_up_all(&self.store, &self.place.backups()).await?;
        let there = format!("{}{}/", self.place.backups(), self.name);
        if !self.store.list(&there, None).await?.is_empty() {
            return Err(TakeError::Taken(self.name.to_owned()));
        }
        let key = self.key(BackupPart::Base);
        let mut uploading = Uploading::begin(&self.store, &key, &token(self.name)).await?;
        let (parts, mut filled) = mpsc::channel(1);
        let stream = self.stream(parts, says);
        let upload = async {
            while let Some(part) = filled.recv().await {
                uploading.put(part).await?;
            }
            Ok::<_, TakeError>(())
        };
        let (streamed, ()) = tokio::try_join!(stream, upload)?;
        uploading.complete().await?;
        self.publish(started, streamed).await
    }

    /// From the server through the check and the packing into parts.
    async fn stream(
        &self,
        parts: mpsc::Sender<Vec<u8>>,
        says: &mut impl FnMut(&Says),
    ) -> Result<Streamed, TakeError> {
        let account = user::postgres()?;
        let program = cluster::basebackup(self.layout, account, self.name);
        let mut server = Server(program.start(Output::Piped)?);
        let Some((stdout, stderr)) = server.0.take_pipes() else {
            return Err(TakeError::CalledOff);
        };
        let read = self.read(stdout, parts, says);
        let (streamed, said) = tokio::join!(read, last_lines(stderr));
        let (witness, packed, ended) = streamed?;
        let status = server.0.wait().await?;
        if !status.success() {
            let status = status.to_string();
            return Err(TakeError::Ended { status, said });
        }
        Ok(Streamed {
            witnessed: witness.finish()?,
            packed,
            ended,
        })
    }

    async fn read(
        &self,
        mut stdout: ChildStdout,
        parts: mpsc::Sender<Vec<u8>>,
        says: &mut impl FnMut(&Says),
    ) -> Result<(Witness, Packed, i64), TakeError> {
        let (mut witness, mut packer) = (Witness::new(), Packer::new(part_bytes(self.expected)));
        let (mut piece, mut bytes, mut ended) = (vec![0; PIECE], 0, None);
        loop {
            let read = stdout.read(&mut piece).await?;
            if read == 0 {
                break;
            }
            let piece = &piece[..read];
            bytes += read as u64;
            witness.push(piece)?;
            if witness.sees_manifest() {
                // No earlier than the end of the backup, which no transaction after it may have ended before.
                ended.get_or_insert_with(clock::unix_seconds);
            }
            if let Some(part) = packer.push(piece)? {
                says(&Says::Bytes(bytes));
                if parts.send(part).await.is_err() {
                    // The upload has failed, and says why.
                    return std::future::pending().await;
                }
            }
        }
        let (last, packed) = packer.finish()?;
        for part in last {
            if parts.send(part).await.is_err() {
                return std::future::pending().await;
            }
        }
        says(&Says::Bytes(bytes));
        // A second that has begun counts as over.
        let ended = ended.unwrap_or_else(clock::unix_seconds) + 1;
        Ok((witness, packed, ended))
    }

    /// The small objects, the record last: a backup that has it is whole.
    async fn publish(&self, started: i64, streamed: Streamed) -> Result<Record, TakeError> {
        let Streamed {
            witnessed: Witnessed { manifest, text },
            packed,
            ended,
        } = streamed;
        let (first, last) = record::segments(manifest.timeline, manifest.start, manifest.end);
        for number in first.number..=last.number {
            let file = WalFile::from(Segment { number, ..first });
            if self.store.head(&self.place.file(&file)).await?.is_none() {
                let segment = file.name().to_owned();
                return Err(TakeError::WalMissing { segment });
            }
        }
        let record = Record {
            name: self.name.to_owned(),
            system_id: manifest.system_id,
            instance: self.instance.clone(),
            postgres: self.postgres,
            timeline: manifest.timeline,
            start_lsn: manifest.start,
            end_lsn: manifest.end,
            started,
            ended,
            files: manifest.files.len() as u64,
            file_bytes: manifest.bytes(),
            bytes: packed.bytes,
            sha256: packed.sha256,
            manifest_sha256: object::digest(&text),
            first_segment: first.to_string(),
            last_segment: last.to_string(),
        };
        let text = Object::of(&text, self.system_id)?;
        self.put(BackupPart::Manifest, &text).await?;
        let known = serde_json::to_vec_pretty(&record)?;
        let known = Object::unpacked(known, self.system_id);
        self.put(BackupPart::Record, &known).await?;
        Ok(record)
    }

    fn key(&self, part: BackupPart) -> String {
        self.place.backup(self.name, part)
    }

    /// What is there already is ours whose answer was lost, or another's.
    async fn put(&self, part: BackupPart, object: &Object) -> Result<(), TakeError> {
        let key = self.key(part);
        match self.store.put_if_absent(&key, object).await? {
            Put::Stored => return Ok(()),
            Put::Taken => {}
        }
        match self.store.head(&key).await? {
            Some(there) if there == object.label => Ok(()),
            Some(_) | None => Err(TakeError::Taken(self.name.to_owned())),
        }
    }

    /// Best effort: without its record nobody takes for a backup what stays behind, and the next one gives up
    /// the upload. The record goes first: its PUT may have worked and lost its answer.
    async fn leave_nothing(&self) {
        let parts = [BackupPart::Record, BackupPart::Manifest, BackupPart::Base];
        for part in parts {
            let key = self.key(part);
            if let Err(error) = self.store.remove(&key).await {
                tracing::warn!(
                    "a backup that failed leaves {key} behind: {}",
                    chain(&error)
                );
                // With the record there, what it speaks of has to be.
                break;
            }
        }
        let prefix = self.place.backups();
        if let Err(error) = upload::give_up_all(&self.store, &prefix).await {
            tracing::warn!(
                "a backup that failed leaves its upload behind: {}",
                chain(&error)
            );
        }
    }
}

/// Ends with whoever reads it.
struct Server(Running);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = self.0.pid()
            && let Err(errno) = exec::signal(pid, nix::sys::signal::Signal::SIGTERM)
        {
            tracing::warn!("ending pg_basebackup ({pid}) failed: {errno}");
        }
    }
}

/// Known to nobody else.
fn token(name: &str) -> String {
    let mut random = [0; 16];
    match ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random) {
        Ok(()) => object::hex(&random),
        // Names are one for each second of a machine.
        Err(_unspecified) => format!("{name}-{}", std::process::id()),
    }
}

/// What it said last; each line is logged as it comes.
async fn last_lines(stderr: ChildStderr) -> String {
    let mut last = std::collections::VecDeque::new();
    let mut lines = BufReader::new(stderr).lines();
    // Its words are for people: one that cannot be read ends them.
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!("{line}");
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    Vec::from(last).join("\n")
}
