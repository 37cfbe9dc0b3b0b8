//! Text of a `postgresql.conf` fragment: the one place that quotes and that writes units.

use std::fmt;
use std::fmt::Write;
use std::time::Duration;

/// A fragment being written, in reading order.
pub(super) struct Fragment(String);

impl Fragment {
    /// Opens with what the file is for; every fragment of ours says that it is rewritten.
    pub(super) fn new(purpose: &str) -> Self {
        Self(format!(
            "# {purpose}\n# Rewritten at every boot: your own settings go to 99-user.conf.\n"
        ))
    }

    /// A blank line and why the settings below it are what they are.
    pub(super) fn section(&mut self, why: &str) -> &mut Self {
        self.0.push('\n');
        for line in why.lines() {
            self.line(format_args!("# {line}"));
        }
        self
    }

    /// One setting.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.line(format_args!("{name} = {}", value.into()));
        self
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a String cannot fail; `writeln!` only has the signature of things that can.
        writeln!(self.0, "{line}").unwrap_or_default();
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// A setting's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Flag(bool),
    Count(u64),
    Ratio(f64),
    Size(Size),
    Time(Duration),
    /// Anything else, quoted: words and enum values are as welcome in quotes as without.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(on) => f.write_str(if *on { "on" } else { "off" }),
            Self::Count(count) => count.fmt(f),
            Self::Ratio(ratio) => ratio.fmt(f),
            Self::Size(size) => size.fmt(f),
            Self::Time(time) => write_time(f, *time),
            Self::Text(text) => f.write_str(&quoted(text)),
        }
    }
}

impl From<bool> for Value {
    fn from(on: bool) -> Self {
        Self::Flag(on)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Value {
    fn from(ratio: f64) -> Self {
        Self::Ratio(ratio)
    }
}

impl From<Size> for Value {
    fn from(size: Size) -> Self {
        Self::Size(size)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// `text` as a single-quoted string of `postgresql.conf`. Its lexer knows `''` and C escapes, and
/// no raw line break, so a backslash is doubled and a line break spelled out; libpq's quoting,
/// which leaves backslashes alone, would be wrong here.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// An amount of memory or disk in bytes; prints in the largest unit that fits without remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(u64);

impl Size {
    pub(super) const fn mb(count: u64) -> Self {
        Self(count << 20)
    }

    pub(super) const fn gb(count: u64) -> Self {
        Self(count << 30)
    }

    /// Rounded down to whole megabytes: what these settings are derived from is not known better,
    /// and a file that a person reads is the shorter for it.
    pub(super) const fn whole_mb(bytes: u64) -> Self {
        Self::mb(bytes >> 20)
    }

    pub(super) const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        match bytes {
            _ if bytes.is_multiple_of(1 << 30) => write!(f, "{}GB", bytes >> 30),
            _ if bytes.is_multiple_of(1 << 20) => write!(f, "{}MB", bytes >> 20),
            _ => write!(f, "{}kB", bytes >> 10),
        }
    }
}

fn write_time(f: &mut fmt::Formatter<'_>, time: Duration) -> fmt::Result {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    match seconds {
        _ if millis != 0 => write!(f, "{}ms", time.as_millis()),
        _ if seconds.is_multiple_of(60) && seconds != 0 => write!(f, "{}min", seconds / 60),
        _ => write!(f, "{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_read_as_an_operator_would_write_them() {
        for (value, text) in [
            (Value::from(true), "on"),
            (Value::from(1.1), "1.1"),
            (Value::from(0.9), "0.9"),
            (Value::from(256_u32), "256"),
            (Value::from(Size::mb(128)), "128MB"),
            (Value::from(Size::mb(2048)), "2GB"),
            (Value::from(Size::whole_mb((3 << 20) + 5)), "3MB"),
            (Value::from(Duration::from_millis(100)), "100ms"),
            (Value::from(Duration::from_secs(30)), "30s"),
            (Value::from(Duration::from_secs(1800)), "30min"),
            (Value::from("%m [%p] it's"), "'%m [%p] it''s'"),
        ] {
            assert_eq!(value.to_string(), text);
        }
    }

    /// What Postgres' lexer and `GUC_scanstr` make of a quoted string.
    fn as_postgres_reads(quoted: &str) -> Option<String> {
        let body = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
        let mut chars = body.chars();
        let mut text = String::new();
        while let Some(c) = chars.next() {
            text.push(match c {
                '\'' => chars.next().filter(|next| *next == '\'')?,
                '\\' => match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    c => c,
                },
                '\n' => return None,
                c => c,
            });
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_its_quotes(text in "[ -~\\n\\r\\PC]*") {
            prop_assert_eq!(as_postgres_reads(&quoted(&text)), Some(text));
        }
    }
}
