//! What a machine's metadata service can be in trouble with. Pure.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fault::ImpossibleFault;

/// A fault of one machine's metadata service. It meets requests, for a token or for a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MmdsFault {
    /// Whose.
    pub machine: String,
    /// What becomes of a request.
    pub trouble: MmdsTrouble,
}

/// What becomes of a request for metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MmdsTrouble {
    /// Its connection is accepted and never answered.
    Silent,
    /// It is answered later; the first packet to a neighbour may wait for 1 to 2 s (facts 58).
    Slow {
        /// By so much.
        ms: u64,
    },
    /// It is answered with 200 and these bytes, whatever it asked for.
    Garbage(Garbage),
    /// As before the first PUT, or after a resume from a snapshot: every path is a 404 (facts 60).
    Empty,
    /// Its connection is reset in the middle of an answer.
    Reset,
    /// The body of its answer ends before the length that its head announced.
    Truncated,
    /// As if the service were restarted between any two requests: no token that it gave is valid.
    Forgetful,
}

/// Bytes that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Garbage {
    /// As text.
    Text(String),
    /// Those that are no text.
    Base64(#[serde(serialize_with = "to_base64", deserialize_with = "from_base64")] Bytes),
}

fn to_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    STANDARD.encode(bytes).serialize(serializer)
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = STANDARD.decode(text);
    bytes.map(Bytes::from).map_err(serde::de::Error::custom)
}

impl Garbage {
    /// The bytes themselves.
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::Base64(bytes) => bytes.clone(),
        }
    }
}

impl From<Vec<u8>> for Garbage {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes)
            .map_or_else(|error| Self::Base64(error.into_bytes().into()), Self::Text)
    }
}

impl From<&str> for Garbage {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl MmdsTrouble {
    /// An answer that is later by so much.
    pub fn slow(by: Duration) -> Self {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self::Slow { ms }
    }
}

impl MmdsFault {
    pub(crate) fn check(&self) -> Result<(), ImpossibleFault> {
        match &self.trouble {
            MmdsTrouble::Slow { ms: 0 } => {
                Err(ImpossibleFault("an answer is late by at least 1 ms"))
            }
            _ => Ok(()),
        }
    }

    /// What becomes of a request of that machine.
    pub(crate) fn trouble_of(&self, machine: &str) -> Option<MmdsTrouble> {
        (self.machine == machine).then(|| self.trouble.clone())
    }
}

impl fmt::Display for MmdsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.trouble {
            MmdsTrouble::Silent => f.write_str("silent")?,
            MmdsTrouble::Slow { ms } => write!(f, "slow by {ms} ms")?,
            MmdsTrouble::Garbage(garbage) => {
                write!(f, "garbage of {} bytes", garbage.bytes().len())?;
            }
            MmdsTrouble::Empty => f.write_str("empty")?,
            MmdsTrouble::Reset => f.write_str("reset")?,
            MmdsTrouble::Truncated => f.write_str("truncated")?,
            MmdsTrouble::Forgetful => f.write_str("forgetful")?,
        }
        write!(f, " for {}", self.machine)
    }
}
