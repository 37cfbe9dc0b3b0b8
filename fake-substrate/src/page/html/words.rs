//! Figures and moments, as a person reads them.

use maud::{Markup, html};
use time::OffsetDateTime;

/// What is not known.
pub(super) const UNKNOWN: &str = "–";

/// A figure, or that it is not known.
pub(super) fn or_unknown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

/// Bytes in the unit that keeps them short.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let (whole, tenth) = (tenths / 10, tenths % 10);
    match (whole, tenth) {
        (_, 0) | (100.., _) => format!("{whole} {}", UNITS[unit]),
        _ => format!("{whole}.{tenth} {}", UNITS[unit]),
    }
}

/// A moment of the Unix epoch in milliseconds. The text is the hour; the script beside the page turns
/// it into an age, so that nothing has to be sent again because time passes.
pub(super) fn moment(unix_ms: u64) -> Markup {
    match whole(unix_ms) {
        None => html! { (UNKNOWN) },
        Some((date, hour)) => html! {
            time datetime={ (date) "T" (hour) "Z" } title={ (date) " " (hour) " UTC" } { (hour) " UTC" }
        },
    }
}

/// The same for what a machine tells: in seconds, and it may not know.
pub(super) fn told_moment(unix_s: Option<i64>) -> Markup {
    match unix_s.and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(seconds) => moment(seconds.saturating_mul(1000)),
        None => html! { (UNKNOWN) },
    }
}

/// The hour of a log line.
pub(super) fn clock(unix_ms: u64) -> String {
    whole(unix_ms).map_or_else(|| UNKNOWN.to_owned(), |(_date, hour)| hour)
}

fn whole(unix_ms: u64) -> Option<(String, String)> {
    let seconds = i64::try_from(unix_ms / 1000).ok()?;
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let month = u8::from(month);
    Some((
        format!("{year:04}-{month:02}-{day:02}"),
        format!("{hour:02}:{minute:02}:{second:02}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::{bytes, clock, moment, or_unknown, told_moment};

    #[test]
    fn bytes_are_short() {
        for (given, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KB"),
            (1536, "1.5 KB"),
            (64 << 20, "64 MB"),
            (134 * 1024 + 600, "134 KB"),
            (1 << 50, "1024 TB"),
        ] {
            assert_eq!(bytes(given), text);
        }
    }

    #[test]
    fn a_moment_is_absolute_in_the_text_and_for_the_script() {
        let html = moment(1_764_000_000_123).into_string();
        let expected = "<time datetime=\"2025-11-24T16:00:00Z\" title=\"2025-11-24 16:00:00 UTC\">16:00:00 UTC</time>";
        assert_eq!(html, expected);
        assert_eq!(told_moment(Some(1_764_000_000)).into_string(), expected);
        assert_eq!(told_moment(None).into_string(), "–");
        assert_eq!(clock(0), "00:00:00");
        assert_eq!(or_unknown(None::<u8>), "–");
    }
}
