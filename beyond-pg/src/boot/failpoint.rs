//! Moments within a step of a boot, at each of which a scenario can end it as a power cut would. What is shipped
//! has none of this.
//!
//! A moment has a number, in the order in which a boot passes them, and is told in the log: scenarios read there
//! which there are, so that a new one is cut without being named anywhere else.

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Statics, because a moment may lie as deep as it likes: nothing of a shipped build hands it down.
    static END_AT: OnceLock<usize> = OnceLock::new();
    static PASSED: AtomicUsize = AtomicUsize::new(0);

    /// The boot ends at that moment.
    pub(crate) fn end_at(number: usize) {
        END_AT.get_or_init(|| number);
    }

    /// The boot passes a moment, or ends here.
    #[expect(
        clippy::exit,
        reason = "PID 1 exiting kills every process of the machine, as a power cut does"
    )]
    pub(crate) fn moment(what: &str) {
        let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::info!("failpoint: moment {number}: {what}");
        if END_AT.get() == Some(&number) {
            tracing::warn!("failpoint: the boot ends at moment {number}");
            std::process::exit(137);
        }
    }
}

#[cfg(feature = "failpoints")]
pub(crate) use armed::{end_at, moment};

/// The boot passes a moment at which builds with failpoints may end it.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn moment(_what: &str) {}
