//! The form that breaks object storage: its fields, and what they ask for. Pure.

use serde::Deserialize;

use crate::fault::{Fault, ImpossibleFault, NewFault};
use crate::s3::faults::{Glob, Operation, S3Fault, Verdict};

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Refuse,
    Delay,
    Reset,
    LoseReply,
    Slow,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::Refuse,
        Self::Delay,
        Self::Reset,
        Self::LoseReply,
        Self::Slow,
    ];

    /// As the form and the command line call it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Delay => "delay",
            Self::Reset => "reset",
            Self::LoseReply => "lose-reply",
            Self::Slow => "slow",
        }
    }

    /// For a person.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Refuse => "refuse: an error, and nothing done",
            Self::Delay => "delay: done later",
            Self::Reset => "reset: cut in the body",
            Self::LoseReply => "lose-reply: done, and no answer",
            Self::Slow => "slow: bytes trickle",
        }
    }
}

/// The form as it is sent: an empty field is one that was left as it is.
#[derive(Debug, Deserialize)]
pub(super) struct Form {
    kind: Kind,
    #[serde(default)]
    figure: String,
    #[serde(default)]
    on: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    times: String,
}

/// A field that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("{field} is {given:?}: give a whole number from 1 on")]
    Number { field: &'static str, given: String },
    #[error(transparent)]
    Operation(#[from] crate::s3::faults::NoSuchOperation),
    #[error(transparent)]
    Impossible(#[from] ImpossibleFault),
}

impl Form {
    /// What it asks for.
    pub(super) fn fault(self) -> Result<NewFault, Unusable> {
        let figure = number("the figure", &self.figure)?;
        let verdict = match self.kind {
            Kind::Refuse => Verdict::Refuse {
                status: figure.map_or(Ok(503), u16::try_from).unwrap_or(u16::MAX),
            },
            Kind::Delay => Verdict::Delay {
                ms: figure.map_or(500, u64::from),
            },
            Kind::Reset => Verdict::Reset,
            Kind::LoseReply => Verdict::LoseReply,
            Kind::Slow => Verdict::Slow {
                rate: figure.map_or(65536, u64::from),
            },
        };
        let given = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let fault = Fault::S3(S3Fault {
            verdict,
            on: given(self.on)
                .map(|name| name.parse::<Operation>())
                .transpose()?,
            key: given(self.key).map(Glob::new),
        });
        fault.check()?;
        let times = number("so often", &self.times)?;
        Ok(NewFault::new(fault).times(times.unwrap_or_default()))
    }
}

fn number(field: &'static str, given: &str) -> Result<Option<u32>, Unusable> {
    let given = given.trim();
    if given.is_empty() {
        return Ok(None);
    }
    let number = given.parse().ok().filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| Unusable::Number {
        field,
        given: given.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Form, Kind};

    fn form(kind: Kind, [figure, on, key, times]: [&str; 4]) -> Form {
        Form {
            kind,
            figure: figure.to_owned(),
            on: on.to_owned(),
            key: key.to_owned(),
            times: times.to_owned(),
        }
    }

    fn fault(kind: Kind, fields: [&str; 4]) -> String {
        match form(kind, fields).fault() {
            Ok(new) => format!("{}, {:?}", new.fault, new.times.map(u32::from)),
            Err(refused) => refused.to_string(),
        }
    }

    #[test]
    fn fields_left_empty_are_as_on_the_command_line() {
        let empty = [""; 4];
        assert_eq!(
            fault(Kind::Refuse, empty),
            "s3 refuse with 503 on everything, None"
        );
        assert_eq!(
            fault(Kind::Delay, ["20", "put", " wal/* ", "3"]),
            "s3 delay by 20 ms on put of wal/*, Some(3)"
        );
    }

    #[test]
    fn a_field_that_cannot_be_used_is_named() {
        for fields in [["0", "", "", ""], ["-1", "", "", ""], ["1e3", "", "", ""]] {
            let refused = fault(Kind::Slow, fields);
            assert!(refused.starts_with("the figure is"), "{refused}");
        }
        assert!(fault(Kind::Reset, ["", "", "", "x"]).starts_with("so often is"));
        assert!(fault(Kind::Reset, ["", "write", "", ""]).contains("is no operation"));
        assert!(form(Kind::Refuse, ["200", "", "", ""]).fault().is_err());
        assert!(form(Kind::Refuse, ["70000", "", "", ""]).fault().is_err());
    }

    #[test]
    fn every_kind_is_sent_by_its_word() {
        for kind in Kind::ALL {
            let read: Kind = serde_json::from_value(kind.word().into()).unwrap();
            assert_eq!(read, kind);
        }
    }
}
