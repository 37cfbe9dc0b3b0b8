//! How many lines a machine may send: two token buckets. Pure; time is an argument.
//!
//! Every line draws on the bucket of all lines, which alone decides about lines below WARNING.
//! Lines of WARNING and above are decided by a bucket of their own, and the common one goes into
//! debt for them. So what is sent stays at [`LINES_PER_SECOND`] in the long run, a flood of lesser
//! lines never costs a graver one its place (facts 87), and, because the common bucket never holds
//! more than the other, a grave line is refused only when lesser ones are refused as well.

use std::time::{Duration, Instant};

use wire::log::{LINE_BURST, LINES_PER_SECOND};

use crate::logs::severity::Severity;

/// What one line costs, so that a microsecond brings [`LINES_PER_SECOND`] tokens and every sum is
/// in whole numbers.
const LINE: i64 = 1_000_000;
const FULL: i64 = LINE * LINE_BURST as i64;
const PER_MICROSECOND: i64 = LINES_PER_SECOND as i64;

/// Decides which lines are sent.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    at: Instant,
    all: Bucket,
    grave: Bucket,
    /// Everything passes, for the benchmarks.
    #[cfg(feature = "failpoints")]
    lifted: bool,
}

/// A count of tokens, negative when in debt.
#[derive(Debug, Clone, Copy)]
struct Bucket(i64);

impl Bucket {
    fn refill(&mut self, tokens: i64) {
        self.0 = self.0.saturating_add(tokens).min(FULL);
    }

    /// Whether a message may begin.
    fn has_a_line(self) -> bool {
        self.0 >= LINE
    }

    /// Whether a message that was begun may go on: it may go into debt, so that it stays whole, but
    /// not without end.
    fn lends_a_line(self) -> bool {
        self.0 > -FULL
    }

    fn draw(&mut self) {
        self.0 -= LINE;
    }
}

impl Limiter {
    /// Full buckets.
    pub(crate) fn new(now: Instant) -> Limiter {
        Limiter {
            at: now,
            all: Bucket(FULL),
            grave: Bucket(FULL),
            #[cfg(feature = "failpoints")]
            lifted: false,
        }
    }

    /// Lets everything pass from now on.
    #[cfg(feature = "failpoints")]
    pub(crate) fn lift(&mut self) {
        self.lifted = true;
    }

    #[cfg(feature = "failpoints")]
    fn is_lifted(&self) -> bool {
        self.lifted
    }

    #[cfg(not(feature = "failpoints"))]
    #[expect(clippy::unused_self, reason = "the other build asks its option here")]
    fn is_lifted(&self) -> bool {
        false
    }

    /// Whether the first line of a message is sent.
    pub(crate) fn begin(&mut self, now: Instant, severity: Severity) -> bool {
        self.refill(now);
        let admitted = self.is_lifted() || self.deciding(severity).has_a_line();
        self.charge(severity, admitted)
    }

    /// Whether a further line of a message that is being sent is sent as well.
    pub(crate) fn go_on(&mut self, now: Instant, severity: Severity) -> bool {
        self.refill(now);
        let admitted = self.is_lifted() || self.deciding(severity).lends_a_line();
        self.charge(severity, admitted)
    }

    /// A notice is about to be sent: it is a line as well, and in a flood there are many.
    pub(crate) fn charge_notice(&mut self) {
        self.all.draw();
    }

    fn deciding(&self, severity: Severity) -> Bucket {
        match severity {
            Severity::BelowWarning => self.all,
            Severity::WarningOrAbove => self.grave,
        }
    }

    fn charge(&mut self, severity: Severity, admitted: bool) -> bool {
        if admitted {
            self.all.draw();
            if severity == Severity::WarningOrAbove {
                self.grave.draw();
            }
        }
        admitted
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        // Only whole microseconds are paid for, and only those are counted as passed.
        let micros = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX);
        let tokens = micros.saturating_mul(PER_MICROSECOND);
        self.at += Duration::from_micros(micros.unsigned_abs());
        self.all.refill(tokens);
        self.grave.refill(tokens);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fx::clock;

    const LESSER: Severity = Severity::BelowWarning;
    const GRAVE: Severity = Severity::WarningOrAbove;

    fn admitted(limiter: &mut Limiter, now: Instant, severity: Severity, offered: u32) -> u32 {
        (0..offered)
            .map(|_| u32::from(limiter.begin(now, severity)))
            .sum()
    }

    #[test]
    fn a_burst_passes_and_then_five_hundred_a_second() {
        let start = clock::now();
        let mut limiter = Limiter::new(start);
        assert_eq!(admitted(&mut limiter, start, LESSER, 5000), 1000);
        let second = start + Duration::from_secs(1);
        assert_eq!(admitted(&mut limiter, second, LESSER, 5000), 500);
        let hour = start + Duration::from_secs(3600);
        assert_eq!(admitted(&mut limiter, hour, LESSER, 5000), 1000);
    }

    #[test]
    fn a_flood_of_lesser_lines_leaves_the_grave_ones_their_own() {
        let start = clock::now();
        let mut limiter = Limiter::new(start);
        assert_eq!(admitted(&mut limiter, start, LESSER, 100_000), 1000);
        assert_eq!(admitted(&mut limiter, start, GRAVE, 5000), 1000);
        // The second that follows pays the debt: nothing lesser passes until it is paid.
        let second = start + Duration::from_secs(1);
        assert_eq!(admitted(&mut limiter, second, LESSER, 5000), 0);
        assert_eq!(admitted(&mut limiter, second, GRAVE, 5000), 500);
    }

    #[test]
    fn a_message_that_was_begun_stays_whole_unless_it_has_no_end() {
        let start = clock::now();
        let mut limiter = Limiter::new(start);
        assert_eq!(admitted(&mut limiter, start, LESSER, 1000), 1000);
        assert!(!limiter.begin(start, LESSER));
        let lines = (0..5000).filter(|_| limiter.go_on(start, LESSER)).count();
        assert_eq!(lines, 1000);
    }

    #[cfg(feature = "failpoints")]
    #[test]
    fn a_limit_that_is_lifted_refuses_nothing() {
        let start = clock::now();
        let mut limiter = Limiter::new(start);
        limiter.lift();
        assert_eq!(admitted(&mut limiter, start, LESSER, 5000), 5000);
        assert!((0..5000).all(|_| limiter.go_on(start, LESSER)));
    }

    #[test]
    fn looks_closer_together_than_a_microsecond_lose_no_time() {
        let start = clock::now();
        let mut limiter = Limiter::new(start);
        admitted(&mut limiter, start, LESSER, 1000);
        let mut sent = 0;
        for step in 1..=10_000_u64 {
            let now = start + Duration::from_nanos(400 * step);
            sent += admitted(&mut limiter, now, LESSER, 1);
        }
        assert_eq!(sent, 2, "4 ms at 500 lines a second");
    }

    proptest! {
        #[test]
        fn the_rate_holds_and_nothing_lesser_passes_where_a_grave_line_is_refused(
            steps in prop::collection::vec((0_u64..40_000, any::<bool>(), 1_u32..400), 1..80),
        ) {
            let start = clock::now();
            let mut now = start;
            let mut limiter = Limiter::new(start);
            let mut sent = 0_u128;
            for (micros, grave, offered) in steps {
                now += Duration::from_micros(micros);
                let severity = if grave { GRAVE } else { LESSER };
                sent += u128::from(admitted(&mut limiter, now, severity, offered));
                let mut again = limiter.clone();
                if !again.begin(now, GRAVE) {
                    prop_assert!(!again.begin(now, LESSER));
                }
                let passed = now.duration_since(start).as_micros();
                prop_assert!(sent <= 2 * 1000 + passed * 500 / 1_000_000, "{sent} in {passed} us");
            }
        }
    }
}
