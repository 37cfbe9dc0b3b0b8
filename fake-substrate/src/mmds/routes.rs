//! From a request head to an answer, in Firecracker's order of decisions (facts 5.3 to 5.6).
//!
//! The parser that Firecracker uses refuses some requests before they are routed, always with
//! `application/json` and a plain sentence. [`unparseable`] repeats those refusals for what an
//! ordinary HTTP parser lets through.

use std::fmt;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use bytes::Bytes;

use super::store::{Format, StoreError};
use super::token::{NoEntropy, TTL_SECONDS};
use super::{Contents, Service, Version};

const TOKEN_PATH: &str = "/latest/api/token";
const FORWARDED_FOR: Spelled = Spelled("X-Forwarded-For");
const TOKEN: [Spelled; 2] = [
    Spelled("X-metadata-token"),
    Spelled("X-aws-ec2-metadata-token"),
];
const TTL: [Spelled; 2] = [
    Spelled("X-metadata-token-ttl-seconds"),
    Spelled("X-aws-ec2-metadata-token-ttl-seconds"),
];

/// A header in the spelling of Firecracker's documentation. Where its answers quote the
/// client's own spelling, ours quote this one: an HTTP parser has lost the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelled(&'static str);

impl Spelled {
    fn value(self, headers: &HeaderMap) -> Option<&str> {
        headers.get(self.0)?.to_str().ok()
    }

    fn first(names: [Self; 2], headers: &HeaderMap) -> Option<(Self, &str)> {
        let found = |name: Self| Some((name, name.value(headers)?));
        names.into_iter().find_map(found)
    }
}

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The media types that exist here, in both directions, without a charset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `text/plain`
    Text,
}

impl MediaType {
    /// As in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain",
        }
    }
}

/// What a connection sends back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The code; the reason phrase is always empty.
    pub status: StatusCode,
    /// The lifetime of the token in the body, echoed under the header that asked for it.
    pub ttl: Option<(HeaderName, u32)>,
    /// What the body says it is.
    pub media_type: MediaType,
    /// The body.
    pub body: Bytes,
}

/// Every refusal a guest can meet. `Display` is the exact body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// The request line or the length of the request makes no sense.
    #[error("Invalid request.")]
    InvalidRequest,
    /// Not GET, PUT or PATCH.
    #[error("Unsupported HTTP method.")]
    UnsupportedMethod,
    /// A header whose value rules out every answer.
    #[error("Invalid value. Key:{key}; Value:{value}")]
    UnacceptableEncoding {
        /// The header.
        key: Spelled,
        /// The offending part of it.
        value: String,
    },
    /// No path in the request line.
    #[error("Invalid URI.")]
    InvalidUri,
    /// PATCH is the host's.
    #[error("Not allowed HTTP method.")]
    MethodNotAllowed,
    /// A GET under V2 without a token.
    #[error(
        "No MMDS token provided. Use `X-metadata-token` or `X-aws-ec2-metadata-token` header to specify the session token."
    )]
    NoToken,
    /// Forged, expired, or of another process.
    #[error("MMDS token not valid.")]
    InvalidToken,
    /// Nothing at that path, which is quoted as it was sent.
    #[error("Resource not found: {0}.")]
    NotFound(String),
    /// A value without an IMDS form.
    #[error("{}", StoreError::UnsupportedType)]
    UnsupportedType,
    /// A token was asked for through a proxy.
    #[error("Invalid header. Reason: Unsupported header name. Key: {0}")]
    Forwarded(Spelled),
    /// A token was asked for without a lifetime.
    #[error(
        "Token time to live value not found. Use `X-metadata-token-ttl-seconds` or `X-aws-ec2-metadata-token-ttl-seconds` header to specify the token's lifetime."
    )]
    NoTtl,
    /// A lifetime that is not a number.
    #[error("Invalid header. Reason: Invalid value. Key:{key}; Value:{value}")]
    TtlNotANumber {
        /// The header.
        key: Spelled,
        /// What it said.
        value: String,
    },
    /// A lifetime that is not granted.
    #[error(
        "Invalid time to live value provided for token: {0}. Please provide a value between 1 and 21600."
    )]
    TtlOutOfRange(u32),
    /// No token could be made.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}

impl GuestError {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnsupportedMethod | Self::UnsupportedType => StatusCode::NOT_IMPLEMENTED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::InvalidRequest
            | Self::UnacceptableEncoding { .. }
            | Self::InvalidUri
            | Self::Forwarded(_)
            | Self::NoTtl
            | Self::TtlNotANumber { .. }
            | Self::TtlOutOfRange(_)
            | Self::NoEntropy(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The parser's refusals carry its default media type around a plain sentence.
    fn media_type(&self) -> MediaType {
        match self {
            Self::InvalidRequest | Self::UnsupportedMethod | Self::UnacceptableEncoding { .. } => {
                MediaType::Json
            }
            _ => MediaType::Text,
        }
    }
}

impl From<GuestError> for Answer {
    fn from(error: GuestError) -> Self {
        Self {
            status: error.status(),
            ttl: None,
            media_type: error.media_type(),
            body: error.to_string().into(),
        }
    }
}

/// The answer to one request.
pub fn answer(service: &Service, head: &Parts, now_ms: u64) -> Answer {
    unparseable(&head.method, &head.headers)
        .and_then(|()| route(service, head, now_ms))
        .unwrap_or_else(Answer::from)
}

/// What Firecracker's parser refuses, in its order: the method, then the headers, then a body,
/// which it never reads.
fn unparseable(method: &Method, headers: &HeaderMap) -> Result<(), GuestError> {
    if ![Method::GET, Method::PUT, Method::PATCH].contains(method) {
        return Err(GuestError::UnsupportedMethod);
    }
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        acceptable_encoding(value.to_str().unwrap_or_default())?;
    }
    let lengths = headers.get_all(header::CONTENT_LENGTH);
    if lengths.into_iter().any(|length| length != "0") {
        return Err(GuestError::InvalidRequest);
    }
    Ok(())
}

fn acceptable_encoding(value: &str) -> Result<(), GuestError> {
    if value.is_empty() {
        return Err(GuestError::InvalidRequest);
    }
    let refuses_plain_bytes = |encoding: &&str| match encoding.trim() {
        "identity;q=0" => true,
        "*;q=0" => !value.contains("identity"),
        _ => false,
    };
    match value.split(',').find(refuses_plain_bytes) {
        None => Ok(()),
        Some(encoding) => Err(GuestError::UnacceptableEncoding {
            key: Spelled("Accept-Encoding"),
            value: encoding.to_owned(),
        }),
    }
}

fn route(service: &Service, head: &Parts, now_ms: u64) -> Result<Answer, GuestError> {
    // A query is part of the path: it becomes part of the pointer, and of a 404.
    let target = head.uri.path_and_query();
    let path = target.ok_or(GuestError::InvalidUri)?.as_str();
    let headers = &head.headers;
    match head.method {
        Method::GET => {
            authorize(service, headers, now_ms)?;
            read(&service.contents, path, accepted(headers))
        }
        Method::PUT => issue_token(service, path, headers, now_ms),
        _ => Err(GuestError::MethodNotAllowed),
    }
}

fn authorize(service: &Service, headers: &HeaderMap, now_ms: u64) -> Result<(), GuestError> {
    if service.version == Version::V1 {
        return Ok(());
    }
    let (_, token) = Spelled::first(TOKEN, headers).ok_or(GuestError::NoToken)?;
    if !service.tokens.is_valid(token, now_ms) {
        return Err(GuestError::InvalidToken);
    }
    Ok(())
}

/// The last `Accept` that is exactly one of the two media types wins; a decorated one, such as
/// `application/json, */*`, is none of them, and its sender gets a listing of keys.
fn accepted(headers: &HeaderMap) -> MediaType {
    let known = |value: &str| match value.trim() {
        "application/json" => Some(MediaType::Json),
        "text/plain" => Some(MediaType::Text),
        _ => None,
    };
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| known(value.to_str().ok()?))
        .next_back()
        .unwrap_or(MediaType::Text)
}

fn read(contents: &Contents, path: &str, media_type: MediaType) -> Result<Answer, GuestError> {
    let format = match media_type {
        MediaType::Json => Format::Json,
        MediaType::Text => Format::Imds,
    };
    let body = match contents {
        Contents::Raw(bytes) => bytes.clone(),
        Contents::Store(store) => match store.get(&collapsed(path), format) {
            Ok(text) => text.into(),
            Err(StoreError::UnsupportedType) => return Err(GuestError::UnsupportedType),
            Err(_) => return Err(GuestError::NotFound(path.to_owned())),
        },
    };
    Ok(Answer {
        status: StatusCode::OK,
        ttl: None,
        media_type,
        body,
    })
}

fn issue_token(
    service: &Service,
    path: &str,
    headers: &HeaderMap,
    now_ms: u64,
) -> Result<Answer, GuestError> {
    // Before the path is looked at: a request that came through a proxy is not the machine's.
    if headers.contains_key(FORWARDED_FOR.0) {
        return Err(GuestError::Forwarded(FORWARDED_FOR));
    }
    if collapsed(path) != TOKEN_PATH {
        return Err(GuestError::NotFound(path.to_owned()));
    }
    let (key, value) = Spelled::first(TTL, headers).ok_or(GuestError::NoTtl)?;
    let ttl = value
        .parse()
        .ok()
        .ok_or_else(|| GuestError::TtlNotANumber {
            key,
            value: value.to_owned(),
        })?;
    if !TTL_SECONDS.contains(&ttl) {
        return Err(GuestError::TtlOutOfRange(ttl));
    }
    let token = service.tokens.issue(ttl, now_ms)?;
    let echo = HeaderName::from_bytes(key.0.as_bytes()).ok();
    Ok(Answer {
        status: StatusCode::OK,
        ttl: echo.map(|name| (name, ttl)),
        media_type: MediaType::Text,
        body: token.into(),
    })
}

/// `//` becomes `/` until none is left.
fn collapsed(path: &str) -> String {
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}
