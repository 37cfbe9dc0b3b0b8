//! S3 as object storage: that of a substrate, which several hosts share.
//!
//! The host's threads wait here for requests that a runtime makes. None may be one of the runtime's own.
//! A request that fails is an error for whoever made it, and the write-behind comes back to it by itself;
//! only the read of a block is tried again here, for a bounded time, because a guest waits for it and
//! takes an error for a broken disk.

use std::io;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use tokio::runtime::Handle;

use super::{Listed, ObjectError, Objects, Tag};
use crate::s3::Keys;
use crate::s3::client::{Answer, Call, Client, ClientError, Method};
use crate::until::{Budget, Ended, Look, until};

/// A pack of 4 MiB over a slow line, with room to spare. What takes longer is tried again later.
const REQUEST: Duration = Duration::from_secs(120);
/// How long a guest's read waits for a block. Longer than the object storage takes to be started again,
/// shorter than people wait for a query.
pub const PATIENCE: Budget = Budget {
    name: "block fetch",
    limit: Duration::from_secs(60),
    every: Duration::from_millis(250),
};

/// Where hosts have their objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    /// `http://host:port`.
    pub endpoint: String,
    /// Made when it is missing.
    pub bucket: String,
    /// In front of every key, without the slash between; hosts that share it can take over each other's
    /// volumes. Letters, digits, `.`, `_`, `-` and inner slashes.
    pub prefix: String,
    /// What requests are signed with.
    pub keys: Keys,
}

/// The objects below one prefix of one bucket.
#[derive(Debug)]
pub struct S3Objects {
    client: Client,
    prefix: String,
    runtime: Handle,
    patience: Budget,
}

impl S3Objects {
    /// Asks for nothing yet: a host serves what it has also while its object storage is away.
    pub fn new(location: S3Location, runtime: Handle) -> Result<Self, ClientError> {
        let S3Location {
            endpoint,
            bucket,
            prefix,
            keys,
        } = location;
        Ok(Self {
            client: Client::new(&endpoint, &bucket, keys)?,
            prefix: format!("{}/", prefix.trim_matches('/')),
            runtime,
            patience: PATIENCE,
        })
    }

    /// With another patience for the blocks that guests wait for.
    #[must_use]
    pub fn waiting(self, patience: Budget) -> Self {
        Self { patience, ..self }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// One request. An answer of any status is an answer.
    async fn send(&self, call: Call<'_>) -> Result<Answer, io::Error> {
        match tokio::time::timeout(REQUEST, self.client.send(call)).await {
            Ok(answer) => answer.map_err(io::Error::other),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Stores an object, and makes the bucket when there is none.
    async fn put_object(
        &self,
        place: &str,
        body: &[u8],
        condition: Option<(&'static str, &str)>,
    ) -> Result<Answer, io::Error> {
        let call = || {
            let call = Call::new(Method::PUT, place).body(body);
            match condition {
                Some((name, value)) => call.header(name, value),
                None => call,
            }
        };
        let answer = self.send(call()).await?;
        if answer.status != StatusCode::NOT_FOUND || code(&answer) != "NoSuchBucket" {
            return Ok(answer);
        }
        let made = self.send(Call::new(Method::PUT, "")).await?;
        // Another host may have made it first.
        if !made.status.is_success() && made.status != StatusCode::CONFLICT {
            return Err(unexpected(&made));
        }
        self.send(call()).await
    }

    /// Waits for a request, on a thread that may wait.
    fn wait<T>(
        &self,
        verb: &'static str,
        key: &str,
        work: impl Future<Output = Result<T, io::Error>>,
    ) -> Result<T, ObjectError> {
        self.runtime
            .block_on(work)
            .map_err(|source| ObjectError::Io {
                verb,
                key: key.to_owned(),
                source,
            })
    }
}

impl Objects for S3Objects {
    fn put(&self, key: &str, body: &[u8]) -> Result<(), ObjectError> {
        let place = self.key(key);
        self.wait("put", key, async {
            let answer = self.put_object(&place, body, None).await?;
            stored(&answer).map(drop)
        })
    }

    fn replace(&self, key: &str, body: &[u8], expected: Option<&str>) -> Result<Tag, ObjectError> {
        let place = self.key(key);
        let condition = match expected {
            Some(tag) => ("if-match", tag),
            None => ("if-none-match", "*"),
        };
        let stored = self.wait("put", key, async {
            let answer = self.put_object(&place, body, Some(condition)).await?;
            match answer.status {
                // Without a version to match there is no object, which S3 tells like this.
                StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND => Ok(None),
                _ => stored(&answer).map(Some),
            }
        })?;
        stored.ok_or_else(|| ObjectError::Conflict {
            key: key.to_owned(),
        })
    }

    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Tag)>, ObjectError> {
        let place = self.key(key);
        self.wait("get", key, async {
            let answer = self.send(Call::new(Method::GET, &place)).await?;
            match answer.status {
                StatusCode::NOT_FOUND => Ok(None),
                _ => {
                    let tag = stored(&answer)?;
                    Ok(Some((answer.body, tag)))
                }
            }
        })
    }

    /// Tries again for as long as its patience lasts.
    fn get_range(&self, key: &str, from: u64, length: u64) -> Result<Option<Vec<u8>>, ObjectError> {
        if length == 0 {
            return Ok(self.get(key)?.map(|_whole| Vec::new()));
        }
        let place = self.key(key);
        let range = format!("bytes={from}-{}", from.saturating_add(length - 1));
        self.wait("get", key, async {
            let mut waited = false;
            let fetched = until(self.patience, async || {
                let call = Call::new(Method::GET, &place).header("range", range.clone());
                let look = part(self.send(call).await);
                if let (Look::NotYet(why), false) = (&look, waited) {
                    waited = true;
                    tracing::warn!(key, why, "a block is not to be had; its reader waits");
                }
                look
            });
            match fetched.await {
                Ok((part, took)) => {
                    if waited {
                        let seconds = took.as_secs();
                        tracing::info!(key, seconds, "the block is there");
                    }
                    Ok(part)
                }
                Err(Ended::Never(error)) => Err(error),
                Err(Ended::OutOfTime(out)) => {
                    tracing::error!(key, %out, "the reader of a block gets an error");
                    Err(io::Error::new(io::ErrorKind::TimedOut, out))
                }
            }
        })
    }

    fn delete(&self, key: &str) -> Result<(), ObjectError> {
        let place = self.key(key);
        self.wait("delete", key, async {
            let answer = self.send(Call::new(Method::DELETE, &place)).await?;
            match answer.status {
                StatusCode::NOT_FOUND => Ok(()),
                status if status.is_success() => Ok(()),
                _ => Err(unexpected(&answer)),
            }
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, ObjectError> {
        let place = self.key(prefix);
        self.wait("list", prefix, async {
            let mut listed: Vec<Listed> = Vec::new();
            loop {
                let mut call = Call::new(Method::GET, "")
                    .query("list-type", "2")
                    .query("prefix", place.as_str());
                if let Some(last) = listed.last() {
                    call = call.query("start-after", self.key(&last.key));
                }
                let answer = self.send(call).await?;
                if answer.status == StatusCode::NOT_FOUND {
                    return Ok(listed);
                }
                if !answer.status.is_success() {
                    return Err(unexpected(&answer));
                }
                let page = page(&answer.body)?;
                listed.extend(page.contents.into_iter().filter_map(|object| {
                    Some(Listed {
                        key: object.key.strip_prefix(&self.prefix)?.to_owned(),
                        bytes: object.size,
                    })
                }));
                if !page.is_truncated {
                    return Ok(listed);
                }
            }
        })
    }
}

/// What a try for a part of an object says.
fn part(answer: Result<Answer, io::Error>) -> Look<Option<Vec<u8>>, io::Error> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(unanswered) => return Look::NotYet(crate::serve::chain(&unanswered)),
    };
    match answer.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Look::Found(Some(answer.body)),
        // Beyond its end there is nothing of it.
        StatusCode::RANGE_NOT_SATISFIABLE => Look::Found(Some(Vec::new())),
        StatusCode::NOT_FOUND => Look::Found(None),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Look::NotYet(unexpected(&answer).to_string())
        }
        status if status.is_server_error() => Look::NotYet(unexpected(&answer).to_string()),
        _ => Look::Never(unexpected(&answer)),
    }
}

/// The version that is there now.
fn stored(answer: &Answer) -> Result<Tag, io::Error> {
    if !answer.status.is_success() {
        return Err(unexpected(answer));
    }
    let tag = answer.headers.get("etag").and_then(|tag| tag.to_str().ok());
    let tag = tag.ok_or_else(|| io::Error::other("the answer has no ETag"))?;
    Ok(tag.to_owned())
}

fn unexpected(answer: &Answer) -> io::Error {
    io::Error::other(format!("it answered {} {}", answer.status, code(answer)))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    contents: Vec<Object>,
    is_truncated: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    size: u64,
}

fn page(body: &[u8]) -> Result<Page, io::Error> {
    quick_xml::de::from_reader(body).map_err(io::Error::other)
}

/// S3's word for an error; nothing when the body is no error of S3.
fn code(answer: &Answer) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Error {
        code: String,
    }
    let error = quick_xml::de::from_reader::<_, Error>(answer.body.as_slice());
    // For people, beside the status: what is no XML has none.
    error.map(|error| error.code).unwrap_or_default()
}
