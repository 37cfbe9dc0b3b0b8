//! `beyond-pg archive-ahead`: answers the commands that Postgres runs, and does what they will ask next.

use std::cell::RefCell;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::available_parallelism;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::{JoinError, LocalSet, spawn_blocking, spawn_local};

use crate::archive::ahead::fetched::Fetched;
use crate::archive::ahead::queue::{self, Queue};
use crate::archive::ahead::talk::{self, Answer, Question};
use crate::archive::fetch::{self, FetchError};
use crate::archive::file::{Segment, WalFile};
use crate::archive::loan::{Loan, LoanError};
use crate::archive::object::Object;
use crate::archive::place::Place;
use crate::archive::push::{self, PushError};
use crate::archive::s3::S3;
use crate::archive::{ArchiveError, check_ours, source, system_id};
use crate::fx::clock;
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::settings::{Archive, S3Target};
use crate::supervise::chain;

/// When the socket takes nobody, until the next try.
const AGAIN: Duration = Duration::from_secs(1);

/// Why it ends.
#[derive(Debug, Error)]
pub(crate) enum AheadError {
    #[error("listening at {path}\nHINT: PID 1 makes its folder; `archive-ahead` is its child")]
    Listen { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Remove(#[from] FsError),
}

/// Why one file was not put or fetched.
#[derive(Debug, Error)]
enum Trouble {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the task of a segment ended")]
    Task(#[from] JoinError),
}

impl From<LoanError> for Trouble {
    fn from(error: LoanError) -> Trouble {
        Trouble::Archive(error.into())
    }
}

/// Serves until it is killed.
pub(crate) async fn run(layout: &Layout, at_once: usize) -> Result<(), AheadError> {
    let path = layout.ahead_socket();
    fs::remove_if_present(&path)?;
    let listener =
        UnixListener::bind(&path).map_err(|source| AheadError::Listen { path, source })?;
    let ahead = Rc::new(Ahead {
        layout: layout.clone(),
        at_once,
        system_id: OnceCell::new(),
        reached: RefCell::default(),
        puts: RefCell::default(),
        fetches: RefCell::default(),
        under_way: Semaphore::new(at_once),
        packing: Semaphore::new(available_parallelism().map_or(1, usize::from)),
    });
    LocalSet::new().run_until(ahead.serve(&listener)).await;
    Ok(())
}

/// An archive that has been reached: the same client for as long as PID 1 lends the same.
#[derive(Debug)]
struct Reached {
    loan: Loan,
    place: Place,
    store: S3,
    /// That of the backup which the volume is made from.
    source: Option<S3>,
    /// Whether the archive is this cluster's.
    claimed: OnceCell<()>,
}

impl Reached {
    /// The client that has spoken to this target before, and has its connections.
    fn store_of(&self, target: &S3Target) -> &S3 {
        let from = self.loan.restore_from.as_ref();
        match (&self.source, from) {
            (Some(source), Some(from)) if from.archive == *target => source,
            _ => &self.store,
        }
    }
}

struct Ahead {
    layout: Layout,
    /// Segments under way, the one that was asked for among them.
    at_once: usize,
    system_id: OnceCell<u64>,
    reached: RefCell<Option<Rc<Reached>>>,
    puts: RefCell<Queue<Result<(), Trouble>>>,
    fetches: RefCell<Queue<Result<Option<Fetched>, Trouble>>>,
    under_way: Semaphore,
    packing: Semaphore,
}

impl Ahead {
    async fn serve(self: Rc<Self>, listener: &UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _address)) => {
                    spawn_local(Rc::clone(&self).converse(stream));
                }
                Err(error) => {
                    tracing::warn!("a command of the archive could not get through: {error}");
                    clock::pause(AGAIN).await;
                }
            }
        }
    }

    async fn converse(self: Rc<Self>, mut stream: UnixStream) {
        let talked = async {
            let question = talk::question(&mut stream).await?;
            let answer = self.answer(&question).await;
            talk::answer(&mut stream, &answer).await
        };
        // Whoever asked and is gone does it itself, or has been told to end.
        if let Err(error) = talked.await {
            tracing::debug!("a command of the archive got no answer: {error}");
        }
    }

    async fn answer(self: &Rc<Self>, question: &Question) -> Answer {
        let done = match question {
            Question::Archive { path, name } => self.archive(path, name).await,
            Question::Restore { name, path } => self.restore(name, path).await,
        };
        done.unwrap_or_else(|trouble| Answer::Failed(chain(&trouble)))
    }

    async fn archive(self: &Rc<Self>, path: &Path, name: &str) -> Result<Answer, Trouble> {
        // Whoever archives has recovered: what was fetched ahead is asked for no more.
        self.fetches.borrow_mut().turn_to(Vec::new());
        if queue::segment(name).is_none() || path != Path::new("pg_wal").join(name) {
            return Ok(Answer::Yourself);
        }
        let Some(reached) = self.reach().await? else {
            return Ok(Answer::Yourself);
        };
        check_ours(&self.layout, &reached.loan)?;
        let earlier = self.puts.borrow_mut().take(name);
        // One that failed ahead is tried for whoever asks: what was wrong then may be mended.
        let earlier = match earlier {
            Some(task) => task.await?.ok(),
            None => None,
        };
        if earlier.is_some() {
            self.put_ahead(&reached, name);
            return Ok(Answer::Done);
        }
        let asked = spawn_local(Rc::clone(self).put(Rc::clone(&reached), name.to_owned()));
        self.put_ahead(&reached, name);
        asked.await??;
        Ok(Answer::Done)
    }

    /// Starts those that are ready behind it.
    fn put_ahead(self: &Rc<Self>, reached: &Rc<Reached>, name: &str) {
        let ready = ready(&self.layout);
        let behind = queue::ready_behind(name, ready.into_iter(), self.at_once);
        let mut puts = self.puts.borrow_mut();
        for name in puts.turn_to(behind) {
            let put = Rc::clone(self).put(Rc::clone(reached), name.clone());
            puts.add(name, spawn_local(put));
        }
    }

    async fn put(self: Rc<Self>, reached: Rc<Reached>, name: String) -> Result<(), Trouble> {
        // Closed never: the semaphores live as long as the process.
        let _under_way = self.under_way.acquire().await.ok();
        let system_id = self.system_id().await?;
        let claim = push::claim(&reached.store, &reached.place, system_id);
        reached.claimed.get_or_try_init(|| claim).await?;
        let file = WalFile::parse(&name).ok_or_else(|| ArchiveError::Name(name.clone()))?;
        let path = self.layout.pgdata().join("pg_wal").join(&name);
        let (file, object) = {
            let _packing = self.packing.acquire().await.ok();
            spawn_blocking(move || pack(path, file, system_id)).await??
        };
        push::put(&reached.store, &reached.place, &file, &object).await?;
        Ok(())
    }

    async fn restore(self: &Rc<Self>, name: &str, path: &Path) -> Result<Answer, Trouble> {
        let Some(segment) = queue::segment(name) else {
            return Ok(Answer::Yourself);
        };
        if path.parent() != Some(Path::new("pg_wal")) {
            return Ok(Answer::Yourself);
        }
        let Some(reached) = self.reach().await? else {
            return Ok(Answer::Yourself);
        };
        let earlier = self.fetches.borrow_mut().take(name);
        // One that was not there may be now, and a failure may be mended.
        let earlier = match earlier {
            Some(task) => task.await?.ok().flatten(),
            None => None,
        };
        let fetched = match earlier {
            Some(fetched) => Some(fetched),
            None => self.fetch(&reached, name).await?.map(Fetched::InMemory),
        };
        let Some(fetched) = fetched else {
            return Ok(Answer::Absent);
        };
        self.fetch_ahead(&reached, segment);
        let path = self.layout.pgdata().join(path);
        spawn_blocking(move || fetched.put(&path)).await??;
        Ok(Answer::Done)
    }

    /// As the command does it: tries again, and tells absent from unknown.
    async fn fetch(&self, reached: &Reached, name: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let file = WalFile::parse(name).ok_or_else(|| ArchiveError::Name(name.to_owned()))?;
        // Of a volume that is made from a backup, or is a fork that has yet to leave, another's.
        let (target, place) = source(&self.layout, &reached.loan)?;
        Ok(fetch::fetch(reached.store_of(target), &place, &file).await?)
    }

    /// Starts those that recovery asks for behind it.
    fn fetch_ahead(self: &Rc<Self>, reached: &Rc<Reached>, asked: Segment) {
        let behind = queue::follow(asked, self.at_once);
        let mut fetches = self.fetches.borrow_mut();
        for name in fetches.turn_to(behind) {
            let (ahead, reached) = (Rc::clone(self), Rc::clone(reached));
            let asked = name.clone();
            let task = spawn_local(async move {
                let _under_way = ahead.under_way.acquire().await.ok();
                let Some(content) = ahead.fetch(&reached, &asked).await? else {
                    return Ok(None);
                };
                let folder = ahead.layout.pgdata().join("pg_wal");
                let laid = spawn_blocking(move || Fetched::ahead(&folder, content));
                Ok(Some(laid.await?))
            });
            fetches.add(name, task);
        }
    }

    /// The archive as it is lent now, since keys and targets that were replaced count at the next file; `None`:
    /// there is none.
    async fn reach(&self) -> Result<Option<Rc<Reached>>, Trouble> {
        let loan = Loan::ask(&self.layout).await?;
        let Archive::S3(target) = &loan.archive else {
            self.forget();
            return Ok(None);
        };
        let before = self.reached.borrow().clone();
        if let Some(reached) = before.filter(|reached| reached.loan == loan) {
            return Ok(Some(reached));
        }
        self.forget();
        let reached = Rc::new(Reached {
            place: Place::new(&target.prefix, loan.instance.as_deref()),
            store: S3::new(target),
            source: loan
                .restore_from
                .as_ref()
                .map(|from| S3::new(&from.archive)),
            claimed: OnceCell::new(),
            loan,
        });
        *self.reached.borrow_mut() = Some(Rc::clone(&reached));
        Ok(Some(reached))
    }

    /// What was done for another archive counts for nothing.
    fn forget(&self) {
        self.reached.take();
        self.puts.borrow_mut().turn_to(Vec::new());
        self.fetches.borrow_mut().turn_to(Vec::new());
    }

    async fn system_id(&self) -> Result<u64, ArchiveError> {
        let id = self
            .system_id
            .get_or_try_init(|| system_id(&self.layout))
            .await?;
        Ok(*id)
    }
}

/// Files that Postgres is going to hand over. Best effort: what cannot be listed is not done ahead.
fn ready(layout: &Layout) -> Vec<String> {
    let status = layout.pgdata().join("pg_wal/archive_status");
    let entries = match std::fs::read_dir(&status) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(
                "nothing is archived ahead: reading {}: {error}",
                status.display()
            );
            return Vec::new();
        }
    };
    let name = |entry: io::Result<DirEntry>| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".ready").map(str::to_owned)
    };
    entries.filter_map(name).collect()
}

fn pack(path: PathBuf, file: WalFile, system_id: u64) -> Result<(WalFile, Object), Trouble> {
    let content = std::fs::read(&path).map_err(|source| ArchiveError::Read { path, source })?;
    let object = push::pack(&file, &content, system_id)?;
    Ok((file, object))
}
