//! What stands between the wire and the store: each request meets the faults first.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, DATE, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, Request, Response, StatusCode};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::service::S3Service;
use s3s::{Body, HttpError, S3Error, S3ErrorCode, StdError};
use time::OffsetDateTime;

use crate::fault::{Fault, Faults};
use crate::serve::clock;

use super::body::{cut, shared, slowed};
use super::faults::{Asked, Verdict};
use super::line::Shears;
use super::skew;

/// The service behind the faults.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) service: S3Service,
    pub(super) faults: Arc<Faults>,
}

impl Door {
    /// An error is the end of the connection, without an answer.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        shears: &Shears,
    ) -> Result<Response<Body>, StdError> {
        let mut response = self.under_the_faults(request, shears).await?;
        if let Some(date) = http_date(self.now()?) {
            response.headers_mut().insert(DATE, date);
        }
        Ok(response)
    }

    /// The time as this service has it, which a fault may have put off.
    fn now(&self) -> Result<OffsetDateTime, StdError> {
        let now_ms = clock::unix_ms().saturating_add_signed(self.faults.clock_offset_ms());
        Ok(OffsetDateTime::from_unix_timestamp_nanos(
            i128::from(now_ms) * 1_000_000,
        )?)
    }

    async fn under_the_faults(
        &self,
        request: Request<Incoming>,
        shears: &Shears,
    ) -> Result<Response<Body>, StdError> {
        let request = request.map(Body::from);
        let asked = Asked::of(request.method(), request.uri(), request.headers());
        let verdict = self.faults.strike(|fault| match fault {
            Fault::S3(fault) => fault.verdict_on(&asked),
            _ => None,
        });
        let uploads =
            length(request.headers()) > 0 || request.headers().contains_key(TRANSFER_ENCODING);
        match verdict {
            None => self.serve(request).await,
            Some(Verdict::Refuse { status }) => {
                let (_unread, body) = shared(request.into_body());
                body.drain().await;
                Ok(refusal(status)?)
            }
            Some(Verdict::Delay { ms }) => {
                clock::passes(Duration::from_millis(ms)).await;
                self.serve(request).await
            }
            Some(Verdict::LoseReply) => {
                // The store has done it when this is back; the body of an answer is nobody's.
                drop(self.serve(request).await);
                shears.cut();
                Err("the fault lost the reply".into())
            }
            Some(Verdict::Reset) if uploads => {
                let half = length(request.headers()) / 2;
                let request = request.map(|body| cut(body, half, shears.clone()));
                drop(self.serve(request).await);
                // Refused before its body was read, as with a wrong key: cut all the same.
                shears.cut();
                Err("the fault reset the connection".into())
            }
            Some(Verdict::Reset) => {
                let response = self.serve(request).await?;
                let half = length(response.headers()) / 2;
                Ok(response.map(|body| cut(body, half, shears.clone())))
            }
            Some(Verdict::Slow { rate }) if uploads => {
                self.serve(request.map(|body| slowed(body, rate))).await
            }
            Some(Verdict::Slow { rate }) => {
                let response = self.serve(request).await?;
                Ok(response.map(|body| slowed(body, rate)))
            }
        }
    }

    async fn serve(&self, request: Request<Body>) -> Result<Response<Body>, StdError> {
        let (head, body) = request.into_parts();
        let (body, rest) = shared(body);
        if let Some(code) = skew::refusal(&head.uri, &head.headers, self.now()?) {
            rest.drain().await;
            return too_far_off(code);
        }
        let response = self.service.call(Request::from_parts(head, body)).await?;
        if !response.status().is_success() {
            rest.drain().await;
        }
        Ok(response)
    }
}

fn length(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

/// As an answer's head has it.
fn http_date(now: OffsetDateTime) -> Option<HeaderValue> {
    let mut text = Vec::new();
    let written = Timestamp::from(now).format(TimestampFormat::HttpDate, &mut text);
    written.ok()?;
    HeaderValue::from_bytes(&text).ok()
}

fn too_far_off(code: S3ErrorCode) -> Result<Response<Body>, StdError> {
    let error = match code {
        S3ErrorCode::AccessDenied => S3Error::with_message(code, "Request has expired"),
        code => S3Error::with_message(
            code,
            "The difference between the request time and the current time is too large.",
        ),
    };
    error
        .to_http_response()
        .map_err(|error| HttpError::new(Box::new(error)).into())
}

/// In the words that S3 has for the status.
fn refusal(status: u16) -> Result<Response<Body>, StdError> {
    let code = match status {
        403 => S3ErrorCode::AccessDenied,
        404 => S3ErrorCode::NoSuchKey,
        409 => S3ErrorCode::OperationAborted,
        412 => S3ErrorCode::PreconditionFailed,
        500 => S3ErrorCode::InternalError,
        503 => S3ErrorCode::SlowDown,
        _ => S3ErrorCode::Custom("Fault".into()),
    };
    let mut error = S3Error::with_message(code, "a fault of the substrate refuses this request");
    error.set_status_code(StatusCode::from_u16(status)?);
    error
        .to_http_response()
        .map_err(|error| HttpError::new(Box::new(error)).into())
}
