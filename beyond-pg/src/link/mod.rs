//! The one connection to the host (contract 9): that this machine is there and ready, that it still
//! lives, and every log line.
//!
//! `session` decides, `transport` dials; here is what is between them and the sockets. The task
//! sleeps unless bytes, a line or a deadline come: an idle machine is woken by its host's
//! heartbeats.

mod session;
mod transport;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use wire::frame;
use wire::log::{LinkError, Message};

use crate::fx::clock;
use crate::link::session::{Action, Event, Session};
use crate::link::transport::{Connection, Dial, DialError, ToHost};
use crate::logs::Logs;

/// For how long the end of the machine is held up by its last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// What is known about the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    /// The first dial is under way.
    Sought,
    /// It did not answer yet, or there is none.
    Missing,
    /// It answered at least once; it may be gone by now.
    Met,
}

/// The supervisor's end of the link.
#[derive(Debug)]
pub(crate) struct Link {
    logs: Logs,
    host: watch::Receiver<Host>,
    /// Sent anew with every announcement, also of the same.
    readiness: watch::Sender<bool>,
    stop: Arc<Notify>,
}

impl Link {
    /// Begins to dial, and goes on for ever. Nobody waits for it.
    pub(crate) fn open(logs: Logs) -> Link {
        Link::open_by(logs, ToHost)
    }

    fn open_by(logs: Logs, dial: impl Dial + Send + 'static) -> Link {
        let (host, host_seen) = watch::channel(Host::Sought);
        let (readiness, readiness_seen) = watch::channel(false);
        let stop = Arc::new(Notify::new());
        let (session, first) = Session::begin();
        let driver = Driver {
            dial,
            session,
            logs: logs.clone(),
            host,
            readiness: readiness_seen,
            stop: Arc::clone(&stop),
            connection: None,
            unsent_line: None,
        };
        tokio::spawn(driver.run(first));
        Link {
            logs,
            host: host_seen,
            readiness,
            stop,
        }
    }

    /// Comes back when the first dial has succeeded or failed, which takes a second at most.
    pub(crate) async fn first_dial(&self) {
        let mut host = self.host.clone();
        // An error means that the driver is gone: nobody will answer.
        let _gone = host.wait_for(|host| *host != Host::Sought).await.is_err();
    }

    /// Where lines of children go: `None` to our own stderr, when there is no host, or none yet.
    pub(crate) fn lines(&self) -> Option<&Logs> {
        let met = *self.host.borrow() == Host::Met;
        (met && self.logs.is_shipping()).then_some(&self.logs)
    }

    /// The settings want no line sent; readiness and heartbeats still are.
    pub(crate) fn pass_lines_through(&self) {
        self.logs.pass_through();
    }

    /// Tells the host that the database answers clients, now and whenever it is met again; or
    /// ceases to.
    pub(crate) fn announce(&self, ready: bool) {
        self.readiness.send_replace(ready);
    }

    /// Comes back when the host asks this machine to stop. For one caller.
    pub(crate) async fn stop_requested(&self) {
        self.stop.notified().await;
    }

    /// Waits for the last lines to be sent, for a second at most.
    pub(crate) async fn flush(&self) {
        if self.lines().is_none() {
            return;
        }
        if timeout(FLUSH, self.logs.drained()).await.is_err() {
            tracing::warn!("the host does not read: the last log lines stay unsent");
        }
    }
}

/// A connection and what is half read from it and half written to it.
struct Open {
    reader: ReadHalf<Connection>,
    writer: WriteHalf<Connection>,
    decoder: frame::Decoder,
    inbox: Vec<u8>,
    outgoing: Option<Outgoing>,
    /// A newer host may know frames that we do not; one warning is enough.
    warned: bool,
}

struct Outgoing {
    frame: Vec<u8>,
    written: usize,
    is_line: bool,
}

/// What ended a wait.
enum Woken {
    Read(std::io::Result<usize>),
    Wrote(std::io::Result<usize>),
    Lines,
    Readiness(bool),
    Deadline,
    /// The supervisor's end is gone.
    Abandoned,
}

struct Driver<D> {
    dial: D,
    session: Session,
    logs: Logs,
    host: watch::Sender<Host>,
    readiness: watch::Receiver<bool>,
    stop: Arc<Notify>,
    connection: Option<Open>,
    /// A line whose connection broke before the kernel had taken it whole: it goes first on the
    /// next one.
    unsent_line: Option<Vec<u8>>,
}

impl<D: Dial> Driver<D> {
    async fn run(mut self, first: Vec<Action>) {
        let mut actions = VecDeque::from(first);
        loop {
            while let Some(action) = actions.pop_front() {
                if let Some(event) = self.perform(action).await {
                    actions.extend(self.session.on(clock::now(), &event));
                }
            }
            self.fill();
            let events = match self.sleep().await {
                Woken::Read(read) => self.read(read),
                Woken::Wrote(written) => self.wrote(written),
                Woken::Lines => Vec::new(),
                Woken::Readiness(ready) => vec![Event::Readiness(ready)],
                Woken::Deadline => vec![Event::DeadlinePassed],
                Woken::Abandoned => return,
            };
            let now = clock::now();
            for event in events {
                actions.extend(self.session.on(now, &event));
            }
        }
    }

    /// An event, when the action has an outcome.
    async fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Dial => Some(self.dial().await),
            Action::HangUp(cause) => {
                self.hang_up(&cause.to_string());
                None
            }
            Action::StopMachine => {
                tracing::info!("the host asks this machine to stop");
                self.stop.notify_one();
                None
            }
        }
    }

    async fn dial(&mut self) -> Event {
        let connection = match self.dial.dial().await {
            Ok(connection) => connection,
            Err(error) => {
                self.missed(&error);
                return Event::NobodyThere;
            }
        };
        let (reader, writer) = tokio::io::split(connection);
        self.connection = Some(Open {
            reader,
            writer,
            decoder: frame::Decoder::new(),
            inbox: Vec::with_capacity(1024),
            outgoing: None,
            warned: false,
        });
        tracing::info!("linked to the host");
        self.host.send_replace(Host::Met);
        Event::Dialled
    }

    /// Said once: a host that comes late says enough by coming.
    fn missed(&self, error: &DialError) {
        let is_first = *self.host.borrow() == Host::Sought;
        if !is_first {
            return;
        }
        match error {
            DialError::NoHost => {}
            DialError::Unanswered { source, .. } => tracing::warn!(
                "{error}: {source}; until somebody does, log lines stay on stderr alone"
            ),
        }
        self.host.send_replace(Host::Missing);
    }

    fn hang_up(&mut self, cause: &str) {
        let Some(open) = self.connection.take() else {
            return;
        };
        if let Some(outgoing) = open.outgoing.filter(|outgoing| outgoing.is_line) {
            self.unsent_line = Some(outgoing.frame);
        }
        tracing::warn!("the link to the host broke: {cause}; dialling again");
    }

    /// Gives the connection the next thing to write, when it has none.
    fn fill(&mut self) {
        let Some(open) = self.connection.as_mut() else {
            return;
        };
        if open.outgoing.is_some() {
            return;
        }
        let owed = self.session.take_owed();
        let is_line = owed.is_none();
        let frame = match owed {
            Some(message) => encode(&message),
            None => self.unsent_line.take().or_else(|| {
                let line = self.logs.next()?;
                encode(&Message::LogLine(line))
            }),
        };
        open.outgoing = frame.map(|frame| Outgoing {
            frame,
            written: 0,
            is_line,
        });
    }

    async fn sleep(&mut self) -> Woken {
        let deadline = self.session.deadline();
        let Some(Open {
            reader,
            writer,
            inbox,
            outgoing,
            ..
        }) = &mut self.connection
        else {
            return tokio::select! {
                woken = readiness(&mut self.readiness) => woken,
                () = clock::until(deadline) => Woken::Deadline,
            };
        };
        let to_write = outgoing
            .as_ref()
            .map(|outgoing| &outgoing.frame[outgoing.written..]);
        tokio::select! {
            read = reader.read_buf(inbox) => Woken::Read(read),
            wrote = writer.write(to_write.unwrap_or_default()), if to_write.is_some() => {
                Woken::Wrote(wrote)
            }
            () = self.logs.filled(), if to_write.is_none() => Woken::Lines,
            woken = readiness(&mut self.readiness) => woken,
            () = clock::until(deadline) => Woken::Deadline,
        }
    }

    fn read(&mut self, read: std::io::Result<usize>) -> Vec<Event> {
        match read {
            Ok(0) => self.broken("the host closed it"),
            Ok(_) => self.received(),
            Err(error) => self.broken(&format!("reading from it failed: {error}")),
        }
    }

    fn received(&mut self) -> Vec<Event> {
        let Some(open) = self.connection.as_mut() else {
            return Vec::new();
        };
        open.decoder.push(&open.inbox);
        open.inbox.clear();
        let mut events = Vec::new();
        loop {
            match open.decoder.next_frame() {
                Ok(None) => return events,
                Ok(Some(frame)) => match Message::from_frame(&frame) {
                    Ok(message) => events.push(Event::Received(message)),
                    Err(LinkError::UnknownType(kind)) => {
                        if !std::mem::replace(&mut open.warned, true) {
                            tracing::warn!("ignoring a frame of unknown type {kind:#04x}");
                        }
                    }
                    Err(error) => {
                        events.extend(self.broken(&format!("its host sent nonsense: {error}")));
                        return events;
                    }
                },
                Err(error) => {
                    events.extend(self.broken(&format!("its host sent nonsense: {error}")));
                    return events;
                }
            }
        }
    }

    fn wrote(&mut self, written: std::io::Result<usize>) -> Vec<Event> {
        let written = match written {
            Ok(0) => return self.broken("it takes no bytes"),
            Ok(written) => written,
            Err(error) => return self.broken(&format!("writing to it failed: {error}")),
        };
        let Some(open) = self.connection.as_mut() else {
            return Vec::new();
        };
        if let Some(outgoing) = open.outgoing.as_mut() {
            outgoing.written += written;
        }
        let done = open
            .outgoing
            .take_if(|outgoing| outgoing.written >= outgoing.frame.len());
        if done.is_some_and(|outgoing| outgoing.is_line) {
            self.logs.sent();
        }
        Vec::new()
    }

    fn broken(&mut self, cause: &str) -> Vec<Event> {
        self.hang_up(cause);
        vec![Event::Broken]
    }
}

async fn readiness(seen: &mut watch::Receiver<bool>) -> Woken {
    match seen.changed().await {
        Ok(()) => Woken::Readiness(*seen.borrow_and_update()),
        Err(_gone) => Woken::Abandoned,
    }
}

/// A message as bytes. Every message fits a frame, as `wire` proves; one that does not is dropped
/// rather than ending the link.
fn encode(message: &Message) -> Option<Vec<u8>> {
    let encoded = message.to_frame().map(|frame| frame.encode());
    match encoded {
        Ok(Ok(bytes)) => Some(bytes),
        Ok(Err(error)) => {
            tracing::error!("a message for the host was dropped: {error}");
            None
        }
        Err(error) => {
            tracing::error!("a message for the host was dropped: {error}");
            None
        }
    }
}
