//! Who may end a machine, and the children that nobody waits for.

use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::fx::exec;
use crate::link::Link;
use crate::rpc::Desk;
use crate::supervise::SupervisorError;

/// Who may ask the machine to stop: the host over its link, and signals, which the kernel delivers
/// to PID 1 only where there is a handler.
pub(super) struct Signals<'a> {
    link: &'a Link,
    desk: &'a Desk,
    terminate: SignalStream,
    interrupt: SignalStream,
    child: SignalStream,
}

impl<'a> Signals<'a> {
    pub(super) fn listen(link: &'a Link, desk: &'a Desk) -> Result<Signals<'a>, SupervisorError> {
        let listen = |kind| signal(kind).map_err(SupervisorError::Signals);
        Ok(Signals {
            link,
            desk,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            child: listen(SignalKind::child())?,
        })
    }

    /// Comes back when the machine is asked to stop; reaps meanwhile.
    pub(super) async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = self.link.stop_requested() => return,
                () = self.desk.stop_requested() => return,
                _ = self.child.recv() => reap(),
            }
        }
    }
}

fn reap() {
    let reaped = exec::reap_orphans();
    if reaped > 0 {
        tracing::debug!("reaped {reaped} orphans");
    }
}
