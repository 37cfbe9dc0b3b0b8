//! Object storage over S3, with Amazon's client: retries, clock skew and checksums are its business.
//!
//! Only the commands that Postgres runs come here, so that nothing of it is ever in PID 1's memory.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use std::collections::HashMap;
use std::time::Duration;

use crate::archive::object::{Label, Object};
use crate::archive::store::{Entry, Put, Store, StoreError, Why};
use crate::settings::{S3Keys, S3Target};

/// Tries of one request, the first included.
const TRIES: u32 = 4;
/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take to begin, once the request is sent. A body that has begun may be as slow
/// as it likes, as long as it goes on.
const ANSWER: Duration = Duration::from_secs(60);

const SHA256: &str = "sha256";
const BYTES: &str = "bytes";
const SYSTEM_ID: &str = "system-id";

/// One bucket.
#[derive(Debug)]
pub(crate) struct S3 {
    pub(super) client: Client,
    pub(super) bucket: String,
    /// Over TLS nobody on the way changes a body, and signing one is a second SHA-256 of all that is archived.
    pub(super) encrypted: bool,
}

impl S3 {
    pub(crate) fn new(target: &S3Target) -> S3 {
        let region = target.region.as_deref().unwrap_or("us-east-1");
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .read_timeout(ANSWER)
            .build();
        let http = Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
            .timeout_config(timeouts)
            // What there is to check we check by SHA-256; not every S3 understands trailers.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        config = match &target.keys {
            Some(keys) => config.credentials_provider(credentials(keys)),
            None => config.allow_no_auth(),
        };
        if let Some(endpoint) = &target.endpoint {
            // Whoever is not Amazon seldom has a name for each bucket.
            config = config.endpoint_url(endpoint).force_path_style(true);
        }
        S3 {
            client: Client::from_conf(config.build()),
            bucket: target.bucket.clone(),
            encrypted: is_encrypted(target.endpoint.as_deref()),
        }
    }

    pub(super) fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    pub(super) fn failed<E>(
        &self,
        tried: &'static str,
        key: &str,
        error: &SdkError<E>,
    ) -> StoreError
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        StoreError {
            tried,
            url: self.url(key),
            words: words(error),
            why: why(error.code(), status(error)),
        }
    }

    fn label(
        &self,
        key: &str,
        metadata: Option<&HashMap<String, String>>,
    ) -> Result<Label, StoreError> {
        label(metadata).ok_or_else(|| StoreError {
            tried: "reading the metadata of",
            url: self.url(key),
            words: format!("it lacks one of {SHA256}, {BYTES} and {SYSTEM_ID}"),
            why: Why::Unlabelled,
        })
    }
}

/// Amazon's own endpoint is.
fn is_encrypted(endpoint: Option<&str>) -> bool {
    endpoint.is_none_or(|url| url.starts_with("https://"))
}

fn credentials(keys: &S3Keys) -> Credentials {
    Credentials::new(
        keys.access_key_id.clone(),
        keys.secret_access_key.expose(),
        keys.session_token
            .as_ref()
            .map(|token| token.expose().to_owned()),
        None,
        "metadata",
    )
}

fn label(metadata: Option<&HashMap<String, String>>) -> Option<Label> {
    let metadata = metadata?;
    Some(Label {
        sha256: metadata.get(SHA256)?.clone(),
        bytes: metadata.get(BYTES)?.parse().ok()?,
        system_id: metadata.get(SYSTEM_ID)?.parse().ok()?,
    })
}

pub(super) fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error
        .raw_response()
        .map(|response| response.status().as_u16())
}

/// What the storage said, or else the whole story of how it could not be asked.
fn words<E>(error: &SdkError<E>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let status = status(error).map_or_else(String::new, |status| format!("{status} "));
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{status}{code}: {message}"),
        (Some(code), None) => format!("{status}{code}"),
        _ => format!("{status}{}", DisplayErrorContext(error)),
    }
}

fn why(code: Option<&str>, status: Option<u16>) -> Why {
    match (code, status) {
        (Some("NoSuchBucket"), _) => Why::NoBucket,
        (_, Some(401 | 403)) => Why::Forbidden,
        _ => Why::Trouble,
    }
}

impl Store for S3 {
    async fn put_if_absent(&self, key: &str, object: &Object) -> Result<Put, StoreError> {
        let Label {
            sha256,
            bytes,
            system_id,
        } = &object.label;
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .if_none_match("*")
            .metadata(SHA256, sha256)
            .metadata(BYTES, bytes.to_string())
            .metadata(SYSTEM_ID, system_id.to_string())
            .body(ByteStream::from(object.body.clone()))
            .customize();
        let put = match self.encrypted {
            true => put.disable_payload_signing().send().await,
            false => put.send().await,
        };
        match put {
            Ok(_stored) => Ok(Put::Stored),
            Err(error) if status(&error) == Some(412) => Ok(Put::Taken),
            Err(error) => Err(self.failed("putting", key, &error)),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<Label>, StoreError> {
        let request = self.client.head_object().bucket(&self.bucket).key(key);
        match request.send().await {
            Ok(found) => self.label(key, found.metadata()).map(Some),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failed("looking at", key, &error)),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let found = match request.send().await {
            Ok(found) => found,
            // A bucket that is missing is a 404, too, and says nothing of what it would hold.
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(self.failed("getting", key, &error)),
        };
        let label = self.label(key, found.metadata())?;
        let body = found.body.collect().await.map_err(|error| StoreError {
            tried: "getting the body of",
            url: self.url(key),
            words: DisplayErrorContext(error).to_string(),
            why: Why::Trouble,
        })?;
        // Its `to_vec` goes byte by byte, and took longer than everything else that is done to a segment.
        let body = body.into_bytes().into();
        Ok(Some(Object { label, body }))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Entry>, StoreError> {
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            .into_paginator()
            .send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("listing", prefix, &error))?;
            entries.extend(page.contents().iter().filter_map(|object| {
                Some(Entry {
                    key: object.key()?.to_owned(),
                    modified: object.last_modified()?.secs(),
                })
            }));
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_by_whom_it_takes_to_mend_it() {
        for (code, status, mends) in [
            (Some("NoSuchBucket"), Some(404), Why::NoBucket),
            (Some("AccessDenied"), Some(403), Why::Forbidden),
            (Some("RequestTimeTooSkewed"), Some(403), Why::Forbidden),
            (Some("SlowDown"), Some(503), Why::Trouble),
            (None, None, Why::Trouble),
        ] {
            assert_eq!(why(code, status), mends, "{code:?}");
        }
    }

    #[test]
    fn a_body_is_left_unsigned_over_tls_alone() {
        assert!(is_encrypted(None));
        assert!(is_encrypted(Some("https://store:9443")));
        assert!(!is_encrypted(Some("http://store:9000")));
    }

    #[test]
    fn an_object_without_our_metadata_is_not_ours() {
        assert_eq!(label(None), None);
        let mut metadata = HashMap::from([
            (SHA256.to_owned(), "ab".to_owned()),
            (BYTES.to_owned(), "16".to_owned()),
        ]);
        assert_eq!(label(Some(&metadata)), None);
        metadata.insert(SYSTEM_ID.to_owned(), "42".to_owned());
        let whole = Label {
            sha256: "ab".to_owned(),
            bytes: 16,
            system_id: 42,
        };
        assert_eq!(label(Some(&metadata)), Some(whole));
    }
}
