//! One connection of a machine: reads frames, sends heartbeats, and ends when it should.
//!
//! Half a close is never relied on: the end of what can be read is the end of the connection
//! (facts 5.7).

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use wire::frame::{Decoder, FrameError};
use wire::log::Message;

use super::fault::{self, LinkTrouble};
use super::record::Violation;
use super::{Host, Machine, reset};

const READ_AT_ONCE: usize = 64 * 1024;

pub(super) struct Session {
    machine: Arc<Machine>,
    connection: u64,
    host: Host,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("the guest closed it")]
    Closed,
    #[error("the guest closed it inside a frame: {0}")]
    Cut(FrameError),
    #[error("it broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the guest does not take what it is sent")]
    Stuck,
    #[error("{0}")]
    Violated(#[from] Violation),
    #[error("the machine is not to be linked any more")]
    Unwanted,
    #[error("a fault refuses it")]
    Refused,
    #[error("the machine was silent and another connection took its place")]
    Replaced,
}

impl Session {
    pub(super) fn new(machine: Arc<Machine>, connection: u64, host: Host) -> Self {
        Self {
            machine,
            connection,
            host,
        }
    }

    pub(super) async fn run(self, stream: TcpStream) {
        let machine = self.machine.name();
        tracing::info!(machine, connection = self.connection, "linked");
        let ending = self.talk(stream).await;
        if let Ending::Violated(why) = &ending {
            self.machine.violated(why);
            tracing::error!(
                machine,
                connection = self.connection,
                "the link is refused: {why}"
            );
        } else {
            tracing::info!(
                machine,
                connection = self.connection,
                "the link ended: {ending}"
            );
        }
        self.machine.ended(self.connection, self.host.now());
    }

    async fn talk(&self, stream: TcpStream) -> Ending {
        if let Err(error) = stream.set_nodelay(true) {
            return error.into();
        }
        let (mut from_guest, mut to_guest) = stream.into_split();
        let ending = tokio::select! {
            ending = self.read(&mut from_guest) => ending,
            ending = self.write(&mut to_guest) => ending,
            ending = self.unwanted() => ending,
        };
        if !matches!(ending, Ending::Closed | Ending::Cut(_) | Ending::Broken(_)) {
            reset(from_guest.as_ref());
        }
        ending
    }

    async fn read(&self, from_guest: &mut OwnedReadHalf) -> Ending {
        match self.read_frames(from_guest).await {
            Err(ending) => ending,
            Ok(never) => match never {},
        }
    }

    async fn read_frames(&self, from_guest: &mut OwnedReadHalf) -> Result<Infallible, Ending> {
        let mut decoder = Decoder::new();
        let mut buffer = vec![0; READ_AT_ONCE];
        loop {
            let length = self.next_bytes(from_guest, &mut buffer).await?;
            if length == 0 {
                return Err(decoder
                    .finish()
                    .map_or_else(Ending::Cut, |()| Ending::Closed));
            }
            decoder.push(&buffer[..length]);
            while let Some(frame) = decoder.next_frame().map_err(Violation::from)? {
                let message = Message::from_frame(&frame).map_err(Violation::from)?;
                self.machine
                    .take(self.connection, message, self.host.now())?;
            }
        }
    }

    /// What the guest sends next; while nothing comes for too long, its machine is degraded.
    async fn next_bytes(
        &self,
        from_guest: &mut OwnedReadHalf,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let mut reading = pin!(self.read_unless_stalled(from_guest, buffer));
        match timeout(self.host.degraded_after, &mut reading).await {
            Ok(read) => read,
            Err(_elapsed) => {
                let machine = self.machine.name();
                tracing::warn!(
                    machine,
                    connection = self.connection,
                    "the machine is silent"
                );
                self.machine.silent(self.connection, self.host.now());
                reading.await
            }
        }
    }

    async fn read_unless_stalled(
        &self,
        from_guest: &mut OwnedReadHalf,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let mut faults = self.host.faults.changes();
        loop {
            let stalling = fault::is(LinkTrouble::Stalled, self.machine.name());
            let stalled = faults.borrow_and_update().find(stalling).is_some();
            tokio::select! {
                biased;
                // The sender lives as long as this session.
                _always = faults.changed() => {}
                read = from_guest.read(buffer), if !stalled => return read,
            }
        }
    }

    async fn write(&self, to_guest: &mut OwnedWriteHalf) -> Ending {
        match self.write_frames(to_guest).await {
            Err(ending) => ending,
            Ok(never) => match never {},
        }
    }

    /// Heartbeats, the first at once, and Shutdown when somebody asks for it.
    async fn write_frames(&self, to_guest: &mut OwnedWriteHalf) -> Result<Infallible, Ending> {
        let mut shutdowns = self.machine.shutdowns();
        let mut heartbeat = tokio::time::interval(self.host.heartbeat_every);
        loop {
            let message = tokio::select! {
                _tick = heartbeat.tick() => Message::Heartbeat,
                _always = shutdowns.changed() => Message::Shutdown,
            };
            let frame = message.to_frame().map_err(Violation::from)?;
            let bytes = frame.encode().map_err(Violation::from)?;
            let writing = timeout(self.host.degraded_after, to_guest.write_all(&bytes));
            writing
                .await
                .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
                .map_err(|error| match error.kind() {
                    io::ErrorKind::TimedOut => Ending::Stuck,
                    _ => Ending::Broken(error),
                })?;
        }
    }

    /// Completes when the machine is gone, elsewhere, refused, or linked by another connection.
    async fn unwanted(&self) -> Ending {
        let mut whereabouts = self.machine.whereabouts();
        let mut living = self.machine.living();
        let mut faults = self.host.faults.changes();
        let address = self.machine.address();
        // Gone, or elsewhere.
        let moved = whereabouts.wait_for(|now| now.is_none() || *now != address);
        let refused = faults.wait_for(|standing| {
            let refusing = fault::is(LinkTrouble::Refused, self.machine.name());
            standing.find(refusing).is_some()
        });
        tokio::select! {
            _always = moved => Ending::Unwanted,
            _always = refused => Ending::Refused,
            _always = living.wait_for(|living| *living != self.connection) => Ending::Replaced,
        }
    }
}
