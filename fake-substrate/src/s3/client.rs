//! A small client of the object storage, for looking at what machines put there and for tests.
//! Over HTTP, with its own signature, and without retries: a fault must be seen.

use std::fmt;

pub use hyper::Method;
use hyper::{HeaderMap, StatusCode};
use reqwest::Body;
use ring::digest::{SHA256, digest};
use ring::hmac;
use time::OffsetDateTime;

use crate::serve::clock;

use super::text::{hex, url_encoded};
use super::{Keys, REGION};

/// A client of one bucket.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// `http://host:port`.
    endpoint: String,
    bucket: String,
    keys: Keys,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}/{})", self.endpoint, self.bucket)
    }
}

/// The object storage did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The HTTP client itself could not be made.
    #[error("cannot make an HTTP client")]
    Http(#[source] reqwest::Error),
    /// Nothing answered, or not to the end.
    #[error(
        "{method} {key}: the object storage did not answer\nHINT: does the substrate run, and which faults stand? `fake-substrate fault ls`"
    )]
    Unanswered {
        /// What was tried.
        method: Method,
        /// On what.
        key: String,
        /// What reqwest said.
        source: reqwest::Error,
    },
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// What is asked of an object, or of the bucket when `key` is empty.
#[derive(Debug)]
pub struct Call<'c> {
    method: Method,
    key: &'c str,
    query: Vec<(&'c str, String)>,
    headers: Vec<(&'c str, String)>,
    body: Vec<u8>,
}

impl<'c> Call<'c> {
    /// A call without query, headers or body.
    pub fn new(method: Method, key: &'c str) -> Self {
        Self {
            method,
            key,
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// With one more parameter.
    #[must_use]
    pub fn query(mut self, name: &'c str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// With one more header; it is not signed.
    #[must_use]
    pub fn header(mut self, name: &'c str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

impl Client {
    /// A client of the bucket at `endpoint`, for example `http://127.0.0.1:32768`.
    pub fn new(endpoint: &str, bucket: &str, keys: Keys) -> Result<Self, ClientError> {
        // No proxy: a laptop's HTTP_PROXY knows nothing of a port on its own loopback.
        let http = reqwest::Client::builder().no_proxy().build();
        Ok(Self {
            http: http.map_err(ClientError::Http)?,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            bucket: bucket.to_owned(),
            keys,
        })
    }

    /// The same for a bucket of that name elsewhere, with the same keys.
    #[must_use]
    pub fn at(&self, endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            ..self.clone()
        }
    }

    /// Makes a call.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, ClientError> {
        self.send_body(call, None).await
    }

    /// Makes a call whose body comes piece by piece.
    pub async fn send_streaming(&self, call: Call<'_>, body: Body) -> Result<Answer, ClientError> {
        self.send_body(call, Some(body)).await
    }

    async fn send_body(&self, call: Call<'_>, body: Option<Body>) -> Result<Answer, ClientError> {
        let host = self.endpoint.trim_start_matches("http://");
        let signed = Signed::new(&call, &self.bucket, host, now());
        let mut request = self
            .http
            .request(
                call.method.clone(),
                format!("{}{}", self.endpoint, signed.target()),
            )
            .header("x-amz-date", &signed.date)
            .header("x-amz-content-sha256", UNSIGNED)
            .header("authorization", signed.authorization(&self.keys));
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let unanswered = |source| ClientError::Unanswered {
            method: call.method.clone(),
            key: call.key.to_owned(),
            source,
        };
        let request = request.body(body.unwrap_or_else(|| call.body.into()));
        let response = request.send().await.map_err(unanswered)?;
        Ok(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await.map_err(unanswered)?.to_vec(),
        })
    }

    /// A URL that gets an object without a key for an hour, from whoever finds the object storage at
    /// `endpoint`.
    pub fn presigned_get(&self, endpoint: &str, key: &str) -> String {
        const EXPIRES: &str = "3600";
        let host = endpoint.trim_start_matches("http://");
        let date = amz_date(now());
        let credential = format!("{}/{}", self.keys.access_key, scope(&date));
        let path = format!("/{}/{}", self.bucket, url_encoded(key));
        let query = format!(
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={date}&X-Amz-Expires={EXPIRES}&X-Amz-SignedHeaders=host",
            value_encoded(&credential)
        );
        let canonical = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\n{UNSIGNED}");
        let signature = signature(&self.keys, &date, &canonical);
        format!("{endpoint}{path}?{query}&X-Amz-Signature={signature}")
    }

    /// PutObject.
    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> Result<Answer, ClientError> {
        self.send(Call::new(Method::PUT, key).body(body)).await
    }

    /// GetObject.
    pub async fn get(&self, key: &str) -> Result<Answer, ClientError> {
        self.send(Call::new(Method::GET, key)).await
    }

    /// HeadObject.
    pub async fn head(&self, key: &str) -> Result<Answer, ClientError> {
        self.send(Call::new(Method::HEAD, key)).await
    }

    /// DeleteObject.
    pub async fn delete(&self, key: &str) -> Result<Answer, ClientError> {
        self.send(Call::new(Method::DELETE, key)).await
    }

    /// ListObjectsV2, one page.
    pub async fn list(&self, prefix: &str) -> Result<Answer, ClientError> {
        let call = Call::new(Method::GET, "").query("list-type", "2");
        self.send(call.query("prefix", prefix)).await
    }
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The body is not part of the signature: it goes over a network of our own.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";

/// Signature version 4, for a call at a time.
struct Signed {
    path: String,
    query: String,
    date: String,
    canonical: String,
}

impl Signed {
    fn new(call: &Call<'_>, bucket: &str, host: &str, now: OffsetDateTime) -> Self {
        let path = format!("/{bucket}/{}", url_encoded(call.key));
        let mut pairs: Vec<_> = call
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", value_encoded(name), value_encoded(value)))
            .collect();
        pairs.sort();
        let query = pairs.join("&");
        let date = amz_date(now);
        let canonical = format!(
            "{}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{UNSIGNED}\nx-amz-date:{date}\n\n{SIGNED_HEADERS}\n{UNSIGNED}",
            call.method
        );
        Self {
            path,
            query,
            date,
            canonical,
        }
    }

    fn target(&self) -> String {
        match self.query.as_str() {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        }
    }

    fn authorization(&self, keys: &Keys) -> String {
        format!(
            "{ALGORITHM} Credential={}/{}, SignedHeaders={SIGNED_HEADERS}, Signature={}",
            keys.access_key,
            scope(&self.date),
            signature(keys, &self.date, &self.canonical)
        )
    }
}

/// `20261124T110000Z`.
fn amz_date(now: OffsetDateTime) -> String {
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    )
}

fn now() -> OffsetDateTime {
    let seconds = i64::try_from(clock::unix_ms() / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn scope(date: &str) -> String {
    format!("{}/{REGION}/s3/aws4_request", &date[..8])
}

fn signature(keys: &Keys, date: &str, canonical: &str) -> String {
    let scope = scope(date);
    let digest = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{digest}");
    let mut key = format!("AWS4{}", keys.secret_key).into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part);
    }
    hex(&mac(&key, &to_sign))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// In a parameter's value the slash is encoded too.
fn value_encoded(text: &str) -> String {
    url_encoded(text).replace('/', "%2F")
}
