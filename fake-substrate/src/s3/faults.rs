//! Which request to object storage a fault meets, and what becomes of it. Pure.

use std::fmt;
use std::str::FromStr;

use hyper::header::HeaderMap;
use hyper::{Method, Uri};
use serde::{Deserialize, Serialize};

use crate::fault::ImpossibleFault;

use super::text::url_decoded;

/// A fault of object storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Fault {
    /// What becomes of a request.
    pub verdict: Verdict,
    /// Of which ones; every operation when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Operation>,
    /// About which keys; every one, and requests about no key, when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Glob>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Verdict {
    /// Answered with this status and not carried out.
    Refuse {
        /// Of the answer.
        status: u16,
    },
    /// Carried out later.
    Delay {
        /// By so much.
        ms: u64,
    },
    /// The connection is reset in the middle of the body: of the request's if it has one, and
    /// then it is not carried out; else of the answer's.
    Reset,
    /// Carried out, and the connection is reset in place of an answer.
    LoseReply,
    /// The body, the request's if it has one, else the answer's, travels this slowly.
    Slow {
        /// Bytes in a second.
        rate: u64,
    },
}

/// The operations that can be told apart, by the names that S3 has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// PutObject: an object in one piece.
    Put,
    /// CopyObject.
    Copy,
    /// GetObject.
    Get,
    /// HeadObject.
    Head,
    /// DeleteObject.
    Delete,
    /// DeleteObjects.
    DeleteMany,
    /// ListObjects and ListObjectsV2.
    List,
    /// CreateMultipartUpload.
    CreateMultipart,
    /// UploadPart and UploadPartCopy.
    UploadPart,
    /// CompleteMultipartUpload.
    CompleteMultipart,
    /// AbortMultipartUpload.
    AbortMultipart,
    /// Whatever else.
    Other,
}

impl Operation {
    /// Every one, with its name.
    pub const ALL: [(Self, &'static str); 12] = [
        (Self::Put, "put"),
        (Self::Copy, "copy"),
        (Self::Get, "get"),
        (Self::Head, "head"),
        (Self::Delete, "delete"),
        (Self::DeleteMany, "delete-many"),
        (Self::List, "list"),
        (Self::CreateMultipart, "create-multipart"),
        (Self::UploadPart, "upload-part"),
        (Self::CompleteMultipart, "complete-multipart"),
        (Self::AbortMultipart, "abort-multipart"),
        (Self::Other, "other"),
    ];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(operation, _)| operation == self);
        f.write_str(named.map_or("other", |(_, name)| name))
    }
}

/// That is no operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no operation: choose one of {}", Operation::ALL.map(|(_, name)| name).join(", "))]
pub struct NoSuchOperation {
    given: String,
}

impl FromStr for Operation {
    type Err = NoSuchOperation;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(given));
        named
            .map(|(operation, _)| *operation)
            .ok_or_else(|| NoSuchOperation {
                given: given.to_owned(),
            })
    }
}

/// A pattern for a whole key: `*` is any text, `/` included, `?` any one character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Glob(String);

impl Glob {
    /// Every text is a pattern.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Whether the whole key is like this.
    pub fn matches(&self, key: &str) -> bool {
        let (pattern, key): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), key.chars().collect());
        let (mut p, mut k) = (0, 0);
        // Where to go on when what follows the last star does not fit: one character later.
        let mut retry = None;
        loop {
            match (pattern.get(p), key.get(k)) {
                (None, None) => return true,
                (Some('*'), _) => {
                    retry = Some((p + 1, k));
                    p += 1;
                }
                (Some(wanted), Some(there)) if *wanted == '?' || wanted == there => {
                    p += 1;
                    k += 1;
                }
                _ => match retry {
                    Some((after_star, from)) if from < key.len() => {
                        retry = Some((after_star, from + 1));
                        (p, k) = (after_star, from + 1);
                    }
                    _ => return false,
                },
            }
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What is to be done.
    pub operation: Operation,
    /// To which object.
    pub key: Option<String>,
}

impl Asked {
    /// Reads it from a request in path style: `/bucket/key`.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let path = uri.path().trim_start_matches('/');
        let key = path.split_once('/').map(|(_bucket, key)| url_decoded(key));
        let key = key.filter(|key| !key.is_empty());
        let query = uri.query().unwrap_or_default();
        let has = |name: &str| {
            let mut names = query.split('&').map(|pair| pair.split('=').next());
            names.any(|there| there == Some(name))
        };
        let copies = headers.contains_key("x-amz-copy-source");
        let operation = match (method, key.is_some()) {
            (&Method::PUT, true) if has("partNumber") => Operation::UploadPart,
            (&Method::PUT, true) if copies => Operation::Copy,
            (&Method::GET | &Method::DELETE, true) if has("uploadId") => match *method {
                Method::DELETE => Operation::AbortMultipart,
                _ => Operation::Other,
            },
            (&Method::POST, true) if has("uploads") => Operation::CreateMultipart,
            (&Method::POST, true) if has("uploadId") => Operation::CompleteMultipart,
            (&Method::POST, false) if has("delete") => Operation::DeleteMany,
            _ if ["acl", "tagging", "retention", "legal-hold", "attributes"]
                .into_iter()
                .any(has) =>
            {
                Operation::Other
            }
            (&Method::PUT, true) => Operation::Put,
            (&Method::GET, true) => Operation::Get,
            (&Method::HEAD, true) => Operation::Head,
            (&Method::DELETE, true) => Operation::Delete,
            // A listing of version 1 needs no parameter at all; what asks about the bucket has one.
            (&Method::GET, false) if path.is_empty() => Operation::Other,
            (&Method::GET, false) if has("location") || has("uploads") => Operation::Other,
            (&Method::GET, false) => Operation::List,
            _ => Operation::Other,
        };
        Self { operation, key }
    }
}

impl S3Fault {
    /// Whether it can be.
    pub(crate) fn check(&self) -> Result<(), ImpossibleFault> {
        match self.verdict {
            Verdict::Refuse { status } if !(400..=599).contains(&status) => {
                Err(ImpossibleFault("a refusal has a status from 400 to 599"))
            }
            Verdict::Slow { rate: 0 } => {
                Err(ImpossibleFault("a body needs at least 1 byte in a second"))
            }
            _ => Ok(()),
        }
    }

    /// What becomes of that request, if it is meant.
    pub fn verdict_on(&self, asked: &Asked) -> Option<Verdict> {
        let operation = self.on.is_none_or(|on| on == asked.operation);
        let key = match (&self.key, &asked.key) {
            (None, _) => true,
            (Some(glob), Some(key)) => glob.matches(key),
            (Some(_), None) => false,
        };
        (operation && key).then_some(self.verdict)
    }
}

impl fmt::Display for S3Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Refuse { status } => write!(f, "refuse with {status}")?,
            Verdict::Delay { ms } => write!(f, "delay by {ms} ms")?,
            Verdict::Reset => f.write_str("reset in the body")?,
            Verdict::LoseReply => f.write_str("lose the reply")?,
            Verdict::Slow { rate } => write!(f, "slow down to {rate} B/s")?,
        }
        match self.on {
            Some(operation) => write!(f, " on {operation}")?,
            None => f.write_str(" on everything")?,
        }
        match &self.key {
            Some(Glob(pattern)) => write!(f, " of {pattern}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(method: &str, uri: &str) -> Asked {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        Asked::of(&method, &uri.parse().expect("a URI"), &HeaderMap::new())
    }

    #[test]
    fn requests_are_told_apart_by_what_they_do() {
        for (method, uri, operation, key) in [
            ("PUT", "/b/wal/01", Operation::Put, Some("wal/01")),
            ("PUT", "/b/a%20b%2Fc", Operation::Put, Some("a b/c")),
            ("GET", "/b/k?versionId=1", Operation::Get, Some("k")),
            ("GET", "/b/k?X-Amz-Expires=60", Operation::Get, Some("k")),
            ("HEAD", "/b/k", Operation::Head, Some("k")),
            ("DELETE", "/b/k", Operation::Delete, Some("k")),
            (
                "DELETE",
                "/b/k?uploadId=u",
                Operation::AbortMultipart,
                Some("k"),
            ),
            ("GET", "/b/k?uploadId=u", Operation::Other, Some("k")),
            (
                "POST",
                "/b/k?uploads",
                Operation::CreateMultipart,
                Some("k"),
            ),
            (
                "POST",
                "/b/k?uploadId=u",
                Operation::CompleteMultipart,
                Some("k"),
            ),
            (
                "PUT",
                "/b/k?partNumber=1&uploadId=u",
                Operation::UploadPart,
                Some("k"),
            ),
            ("PUT", "/b/k?tagging", Operation::Other, Some("k")),
            ("POST", "/b?delete", Operation::DeleteMany, None),
            ("GET", "/b", Operation::List, None),
            ("GET", "/b/?list-type=2&prefix=x", Operation::List, None),
            ("GET", "/b?location", Operation::Other, None),
            ("GET", "/", Operation::Other, None),
            ("PUT", "/b", Operation::Other, None),
        ] {
            let expected = Asked {
                operation,
                key: key.map(str::to_owned),
            };
            assert_eq!(asked(method, uri), expected, "{method} {uri}");
        }
    }

    #[test]
    fn a_copy_is_no_upload() {
        let headers = HeaderMap::from_iter([(
            "x-amz-copy-source".parse().expect("a name"),
            "b/k".parse().expect("a value"),
        )]);
        let copy = Asked::of(&Method::PUT, &"/b/k2".parse().expect("a URI"), &headers);
        assert_eq!(copy.operation, Operation::Copy);
    }

    #[test]
    fn a_fault_meets_its_operation_and_its_keys_alone() {
        let fault = S3Fault {
            verdict: Verdict::LoseReply,
            on: Some(Operation::Put),
            key: Some(Glob::new("wal/*")),
        };
        let meets = |method, uri| fault.verdict_on(&asked(method, uri)).is_some();
        assert!(meets("PUT", "/b/wal/01"));
        assert!(!meets("GET", "/b/wal/01"));
        assert!(!meets("PUT", "/b/base/01"));
        assert!(!meets("GET", "/b"));
        let any = S3Fault {
            on: None,
            key: None,
            ..fault
        };
        assert!(any.verdict_on(&asked("GET", "/b")).is_some());
    }

    #[test]
    fn the_shape_over_http_is_fixed() {
        let fault = S3Fault {
            verdict: Verdict::Refuse { status: 503 },
            on: Some(Operation::UploadPart),
            key: Some(Glob::new("wal/*")),
        };
        let json = serde_json::json!({
            "verdict": {"refuse": {"status": 503}}, "on": "upload-part", "key": "wal/*"
        });
        assert_eq!(serde_json::to_value(&fault).expect("JSON"), json);
        assert_eq!(
            serde_json::from_value::<S3Fault>(json).expect("its own"),
            fault
        );
    }

    /// The definition, without any cleverness.
    fn plainly(pattern: &[char], key: &[char]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=key.len()).any(|skipped| plainly(rest, &key[skipped..])),
            (['?', rest @ ..], [_, key @ ..]) => plainly(rest, key),
            ([wanted, rest @ ..], [there, key @ ..]) => wanted == there && plainly(rest, key),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_its_definition_says(pattern in "[ab*?]{0,8}", key in "[ab]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                Glob::new(pattern.as_str()).matches(&key),
                plainly(&chars(&pattern), &chars(&key))
            );
        }

        #[test]
        fn any_request_is_about_something(path in "/[ -~]{0,20}") {
            if let Ok(uri) = path.parse::<Uri>() {
                Asked::of(&Method::GET, &uri, &HeaderMap::new());
            }
        }
    }
}
