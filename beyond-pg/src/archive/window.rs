//! How far a restore can go, told before it begins: afterwards the volume is another.
//!
//! A volume is a copy of a running machine's disk, whose pages may be as new as the end of its WAL.
//! Postgres does not know that and would stop before that end, on pages from the future. So the window
//! begins where the volume's own WAL ends, and ends with the last segment that the archive has without a
//! gap.

use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};
use wire::lsn::Lsn;

use crate::archive::file::Segment;
use crate::settings::RestoreTarget;

/// From where to where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    pub(crate) from: Local,
    /// `None`: the archive has nothing that the volume does not have.
    pub(crate) to: Option<Reach>,
}

/// What the volume holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Local {
    /// Where its WAL ends.
    pub(crate) end: Lsn,
    /// When its last transaction ended, in microseconds since 1970.
    pub(crate) last_commit: Option<i128>,
    pub(crate) restore_points: Vec<String>,
}

/// What the archive adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reach {
    /// Where its last segment ends.
    pub(crate) end: Lsn,
    /// When that was archived, in seconds since 1970: what is in it happened before.
    pub(crate) archived: i64,
}

/// A segment that the archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Archived {
    pub(crate) segment: Segment,
    pub(crate) at: i64,
}

impl Window {
    pub(crate) fn new(from: Local, archived: &[Archived]) -> Window {
        let mut to = None;
        let mut number = Segment::number_of(from.end.get());
        while let Some(next) = archived.iter().find(|one| one.segment.number == number) {
            to = Some(Reach {
                end: Lsn::new(next.segment.end()),
                archived: next.at,
            });
            number += 1;
        }
        Window { from, to }
    }

    /// Why a restore to `target` is refused; `None`: nothing speaks against it. Whether a transaction
    /// ended after a time, or a name was ever given, shows when the WAL is read.
    pub(crate) fn objection(&self, target: &RestoreTarget) -> Option<String> {
        let early = match target {
            RestoreTarget::Lsn(lsn) => lsn.parse::<Lsn>().is_ok_and(|lsn| lsn < self.from.end),
            RestoreTarget::Time(time) => {
                let (time, last) = (micros(time), self.from.last_commit);
                time.zip(last).is_some_and(|(time, last)| time < last)
            }
            RestoreTarget::Name(name) => self.from.restore_points.contains(name),
        };
        if early {
            return Some(format!(
                "{target} lies before the end of this volume. The window: {self}\n\
                 HINT: restore from a snapshot that is older than the target"
            ));
        }
        let late = match (&self.to, target) {
            (None, _) => true,
            (Some(to), RestoreTarget::Lsn(lsn)) => {
                lsn.parse::<Lsn>().is_ok_and(|lsn| lsn >= to.end)
            }
            // The storage tells seconds.
            (Some(to), RestoreTarget::Time(time)) => {
                micros(time).is_some_and(|time| time >= i128::from(to.archived + 1) * 1_000_000)
            }
            (Some(_), RestoreTarget::Name(_)) => false,
        };
        late.then(|| {
            format!(
                "{target} lies behind what the archive has. The window: {self}\n\
                 HINT: `archive_now` on the machine that was archived, if it still runs, or an earlier target; \
                 to take all that this volume has, leave the target out"
            )
        })
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "from {}", self.from.end)?;
        if let Some(last) = self.from.last_commit {
            write!(f, " ({})", at(last))?;
        }
        match &self.to {
            Some(to) => write!(
                f,
                " to {} ({})",
                to.end,
                at(i128::from(to.archived) * 1_000_000)
            ),
            None => write!(f, ", where the archive has nothing more"),
        }
    }
}

fn at(micros: i128) -> String {
    match OffsetDateTime::from_unix_timestamp_nanos(micros * 1000) {
        Ok(time) => format!(
            "{}-{:02}-{:02} {:02}:{:02}:{:02}+00",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        ),
        Err(_out_of_range) => "at no time".to_owned(),
    }
}

/// A time as the settings accept it, or as `pg_waldump` prints it under `TZ=UTC`, in microseconds since
/// 1970. A leap second counts as the last one before it.
pub(crate) fn micros(text: &str) -> Option<i128> {
    let (date, rest) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-');
    let year = date.next()?.parse().ok()?;
    let month = Month::try_from(date.next()?.parse::<u8>().ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, date.next()?.parse().ok()?).ok()?;
    let zone_at = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.')?;
    let (clock, zone) = rest.split_at(zone_at);
    let mut clock = clock.splitn(3, ':');
    let hour = clock.next()?.parse().ok()?;
    let minute = clock.next()?.parse().ok()?;
    let (second, fraction) = match clock.next() {
        None => (0, String::new()),
        Some(seconds) => {
            let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
            (
                second.parse::<u8>().ok()?.min(59),
                format!("{fraction:0<6}"),
            )
        }
    };
    let micro = match fraction.get(..6) {
        Some(digits) => digits.parse().ok()?,
        None => 0,
    };
    let time = Time::from_hms_micro(hour, minute, second, micro).ok()?;
    let moment = PrimitiveDateTime::new(date, time).assume_offset(offset(zone.trim())?);
    Some(moment.unix_timestamp_nanos() / 1000)
}

fn offset(zone: &str) -> Option<UtcOffset> {
    if matches!(zone, "Z" | "UTC") {
        return Some(UtcOffset::UTC);
    }
    let sign: i8 = if zone.starts_with('-') { -1 } else { 1 };
    let digits = zone.strip_prefix(['+', '-'])?;
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let (hours, minutes): (i8, i8) = (hours.parse().ok()?, minutes.parse().ok()?);
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archived(numbers: &[u64]) -> Vec<Archived> {
        let one = |number: &u64| Archived {
            segment: Segment {
                timeline: 1,
                number: *number,
            },
            at: 1_000_000 + i64::try_from(*number).unwrap(),
        };
        numbers.iter().map(one).collect()
    }

    /// A volume whose WAL ends in segment 3 at second 1000000.
    fn volume() -> Local {
        Local {
            end: "0/3000100".parse().unwrap(),
            last_commit: Some(1_000_000_000_000),
            restore_points: vec!["before".into()],
        }
    }

    #[test]
    fn a_window_ends_at_the_first_gap_of_the_archive() {
        let end = |numbers: &[u64]| {
            let window = Window::new(volume(), &archived(numbers));
            window.to.map(|to| to.end.to_string())
        };
        assert_eq!(end(&[1, 2, 3, 4, 6]), Some("0/5000000".into()));
        assert_eq!(end(&[1, 2, 4]), None);
    }

    #[test]
    fn a_target_outside_of_the_window_is_refused_with_the_window() {
        let window = Window::new(volume(), &archived(&[3, 4]));
        let refused = |target: RestoreTarget| window.objection(&target);
        let lsn = |text: &str| refused(RestoreTarget::Lsn(text.into()));
        let time = |text: &str| refused(RestoreTarget::Time(text.into()));
        let name = |text: &str| refused(RestoreTarget::Name(text.into()));
        let early = lsn("0/30000FF").unwrap();
        assert!(
            early.contains(
                "from 0/3000100 (1970-01-12 13:46:40+00) to 0/5000000 (1970-01-12 13:46:44+00)"
            ),
            "{early}"
        );
        assert_eq!(lsn("0/3000100"), None);
        assert_eq!(lsn("0/4FFFFFF"), None);
        assert!(
            lsn("0/5000000")
                .unwrap()
                .contains("behind what the archive has")
        );
        assert!(
            time("1970-01-12 13:46:39.9Z")
                .unwrap()
                .contains("before the end")
        );
        assert_eq!(time("1970-01-12 14:46:44.5+01"), None);
        assert!(time("1970-01-12 13:46:45Z").unwrap().contains("behind"));
        assert!(name("before").unwrap().contains("before the end"));
        assert_eq!(name("after"), None);
        let nothing = Window::new(volume(), &[]);
        let words = nothing
            .objection(&RestoreTarget::Name("after".into()))
            .unwrap();
        assert!(words.contains("the archive has nothing more"), "{words}");
    }

    #[test]
    fn times_mean_the_same_however_they_are_written() {
        let second = Some(1_769_860_800_000_000);
        for text in [
            "2026-01-31 12:00:00+00",
            "2026-01-31T12:00:00.000000 UTC",
            "2026-01-31 12:00Z",
            "2026-01-31 17:30:00+05:30",
            "2026-01-31 07:00:00-05",
        ] {
            assert_eq!(micros(text), second, "{text}");
        }
        assert_eq!(
            micros("2026-01-31 12:00:00.25Z"),
            second.map(|s| s + 250_000)
        );
        assert_eq!(micros("yesterday"), None);
    }
}
