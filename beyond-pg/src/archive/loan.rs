//! How the commands that Postgres runs come to know the archive target, and how what became of them gets
//! into `health`.
//!
//! The keys stand in the metadata document or in the environment of PID 1, and may be in no file, no
//! argument and no child's environment (contract 4). So PID 1 lends them over a socket on tmpfs to
//! processes of the OS users `postgres` and `root`, who could read its WAL anyway. The document is read
//! anew each time: keys that were replaced count at the next segment.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::fx::{clock, fs};
use crate::layout::Layout;
use crate::metadata;
use crate::rpc::Desk;
use crate::settings::{Archive, RestoreFrom, RestoreTarget, S3Keys, S3Target, Secret, Settings};
use crate::sys::user::{self, Account};

/// How long PID 1 looks for a newer document before it lends what it booted with.
const FRESH: Duration = Duration::from_secs(3);
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// No question and no answer is longer.
const LONGEST: u64 = 64 * 1024;

/// What PID 1 is asked or told, one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Message {
    Lend,
    /// What became of a file; `None`: it is in the archive.
    Outcome(Option<String>),
}

/// What is lent, as it crosses the socket.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lent {
    target: Option<LentTarget>,
    instance: Option<String>,
    restore_from: Option<(LentTarget, Option<String>)>,
    restore: Option<RestoreTarget>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LentTarget {
    bucket: String,
    prefix: String,
    region: Option<String>,
    endpoint: Option<String>,
    keys: Option<(String, String, Option<String>)>,
}

/// Where this machine's WAL goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loan {
    pub(crate) archive: Archive,
    pub(crate) instance: Option<String>,
    /// What an empty volume is filled with, and how far it goes from there.
    pub(crate) restore_from: Option<RestoreFrom>,
    pub(crate) restore: Option<RestoreTarget>,
}

#[derive(Debug, Error)]
pub(crate) enum LoanError {
    #[error(
        "asking PID 1 for the archive target at {path}\n\
         HINT: `beyond-pg archive` and `restore` work within a machine whose supervisor runs"
    )]
    Ask { path: PathBuf, source: io::Error },
    #[error("PID 1 did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("what PID 1 said of the archive target cannot be understood")]
    Garbled(#[from] serde_json::Error),
}

impl Loan {
    pub(crate) fn of(settings: &Settings) -> Loan {
        let instance = settings.instance_id.as_ref();
        Loan {
            archive: settings.archive.clone(),
            instance: instance.map(|id| id.as_str().to_owned()),
            restore_from: settings.restore_from.clone(),
            restore: settings.restore.clone(),
        }
    }

    /// Asks PID 1.
    pub(crate) async fn ask(layout: &Layout) -> Result<Loan, LoanError> {
        let answer = converse(layout, &Message::Lend).await?;
        let lent: Lent = serde_json::from_str(&answer)?;
        Ok(Loan::from(lent))
    }

    /// Lent by the document as it is now, or else as it was at boot. Who this database is was decided
    /// then: a document that says otherwise is for the next boot.
    async fn fresh(&self) -> Loan {
        let read = clock::within(FRESH, metadata::read()).await;
        let settings = read.and_then(|document| Settings::from_metadata(&document).ok());
        match settings {
            Some((settings, _warnings)) => Loan {
                archive: settings.archive,
                restore_from: settings.restore_from,
                ..self.clone()
            },
            None => self.clone(),
        }
    }
}

/// Tells PID 1 what became of a file.
pub(crate) async fn tell(layout: &Layout, failure: Option<String>) -> Result<(), LoanError> {
    converse(layout, &Message::Outcome(failure)).await.map(drop)
}

async fn converse(layout: &Layout, message: &Message) -> Result<String, LoanError> {
    let path = layout.archive_socket();
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    let talk = async {
        let mut stream = UnixStream::connect(&path).await?;
        stream.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer).await?;
        Ok(answer)
    };
    match clock::within(PATIENCE, talk).await {
        Some(answer) => answer.map_err(|source| LoanError::Ask { path, source }),
        None => Err(LoanError::Silent),
    }
}

/// Lends, for as long as the machine lives. Best effort: without the socket nothing is archived, which
/// shows in `health`, and Postgres keeps what waits.
pub(crate) fn open(desk: &Arc<Desk>, layout: &Layout, loan: Loan) {
    let listener = match listen(layout) {
        Ok(listener) => listener,
        Err(error) => {
            let path = layout.archive_socket();
            tracing::error!(
                "nothing can be archived or restored: listening at {} failed: {error}",
                path.display()
            );
            return;
        }
    };
    tokio::spawn(serve(listener, Arc::clone(desk), Arc::new(loan)));
}

fn listen(layout: &Layout) -> io::Result<UnixListener> {
    let path = layout.archive_socket();
    // A backup is fetched before the boot makes its folders.
    if !layout.run_dir().exists() {
        fs::make_dir(&layout.run_dir(), 0o755, Account::root()).map_err(io::Error::other)?;
    }
    fs::remove_if_present(&path).map_err(io::Error::other)?;
    let listener = UnixListener::bind(&path)?;
    // Who may ask is decided by who asks.
    std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

async fn serve(listener: UnixListener, desk: Arc<Desk>, loan: Arc<Loan>) {
    loop {
        match listener.accept().await {
            Ok((stream, _address)) => {
                let (desk, loan) = (Arc::clone(&desk), Arc::clone(&loan));
                tokio::spawn(async move {
                    match clock::within(PATIENCE, answer(stream, &desk, &loan)).await {
                        Some(Ok(())) | None => {}
                        Some(Err(error)) => {
                            tracing::warn!("a command of the archive was not answered: {error}");
                        }
                    }
                });
            }
            Err(error) => {
                tracing::warn!("a command of the archive could not get through: {error}");
                clock::pause(FRESH).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, desk: &Desk, loan: &Loan) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let postgres = user::postgres().map_err(io::Error::other)?;
    let may = [Account::root(), postgres].map(|account| account.uid.as_raw());
    if !may.contains(&peer) {
        return Err(io::Error::other(format!("OS user {peer} may not ask")));
    }
    let (from, mut to) = stream.into_split();
    let mut line = String::new();
    BufReader::new(from.take(LONGEST))
        .read_line(&mut line)
        .await?;
    match serde_json::from_str(&line)? {
        Message::Lend => {
            let lent = Lent::from(loan.fresh().await);
            to.write_all(&serde_json::to_vec(&lent)?).await
        }
        Message::Outcome(failure) => {
            desk.archived(failure);
            Ok(())
        }
    }
}

impl From<S3Target> for LentTarget {
    fn from(target: S3Target) -> LentTarget {
        let keys = |keys: S3Keys| {
            let token = keys.session_token.map(|token| token.expose().to_owned());
            (
                keys.access_key_id,
                keys.secret_access_key.expose().to_owned(),
                token,
            )
        };
        LentTarget {
            bucket: target.bucket,
            prefix: target.prefix,
            region: target.region,
            endpoint: target.endpoint,
            keys: target.keys.map(keys),
        }
    }
}

impl From<LentTarget> for S3Target {
    fn from(target: LentTarget) -> S3Target {
        let keys = |(id, secret, token): (String, String, Option<String>)| S3Keys {
            access_key_id: id,
            secret_access_key: Secret::new(secret),
            session_token: token.map(Secret::new),
        };
        S3Target {
            bucket: target.bucket,
            prefix: target.prefix,
            region: target.region,
            endpoint: target.endpoint,
            keys: target.keys.map(keys),
        }
    }
}

impl From<Loan> for Lent {
    fn from(loan: Loan) -> Lent {
        let from = |from: RestoreFrom| (from.archive.into(), from.backup);
        Lent {
            target: match loan.archive {
                Archive::Off => None,
                Archive::S3(target) => Some(target.into()),
            },
            instance: loan.instance,
            restore_from: loan.restore_from.map(from),
            restore: loan.restore,
        }
    }
}

impl From<Lent> for Loan {
    fn from(lent: Lent) -> Loan {
        let from = |(archive, backup): (LentTarget, _)| RestoreFrom {
            archive: archive.into(),
            backup,
        };
        Loan {
            archive: match lent.target {
                None => Archive::Off,
                Some(target) => Archive::S3(target.into()),
            },
            instance: lent.instance,
            restore_from: lent.restore_from.map(from),
            restore: lent.restore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_arrives_as_it_was() {
        let target = S3Target {
            bucket: "bucket".into(),
            prefix: "a/b".into(),
            region: Some("eu-west-1".into()),
            endpoint: None,
            keys: Some(S3Keys {
                access_key_id: "id".into(),
                secret_access_key: Secret::new("hush"),
                session_token: Some(Secret::new("token")),
            }),
        };
        let loan = Loan {
            archive: Archive::S3(target.clone()),
            instance: Some("i-1".into()),
            restore_from: Some(RestoreFrom {
                archive: target,
                backup: Some("20260131T120000Z".into()),
            }),
            restore: Some(RestoreTarget::Lsn("0/1".into())),
        };
        let text = serde_json::to_string(&Lent::from(loan.clone())).unwrap();
        assert_eq!(
            Loan::from(serde_json::from_str::<Lent>(&text).unwrap()),
            loan
        );
        assert!(!format!("{loan:?}").contains("hush"));
    }
}
