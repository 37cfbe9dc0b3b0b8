//! Whether a request was signed at a time that the service can believe (SigV4): by the service's clock,
//! which a fault may have put off. Pure.
//!
//! `s3s` compares with the host's clock alone, so its own limit is lifted and this stands in its place.

use hyper::{HeaderMap, Uri};
use s3s::S3ErrorCode;
use s3s::dto::{Timestamp, TimestampFormat};
use time::{Duration, OffsetDateTime};

/// As S3: 15 minutes in either direction.
const BELIEVED: Duration = Duration::minutes(15);

/// Why a request is refused for its date; one without a signature or a readable date is left to whoever
/// checks those.
pub(super) fn refusal(uri: &Uri, headers: &HeaderMap, now: OffsetDateTime) -> Option<S3ErrorCode> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    if let Some(signed) = query(uri, "X-Amz-Date").and_then(amz_date) {
        let seconds = query(uri, "X-Amz-Expires")?.parse::<u32>().ok()?;
        return if signed - now > BELIEVED {
            Some(S3ErrorCode::RequestTimeTooSkewed)
        } else if now - signed > Duration::seconds(i64::from(seconds)) {
            Some(S3ErrorCode::AccessDenied)
        } else {
            None
        };
    }
    header("authorization")?;
    let signed = match header("x-amz-date") {
        Some(date) => amz_date(date)?,
        None => {
            OffsetDateTime::from(Timestamp::parse(TimestampFormat::HttpDate, header("date")?).ok()?)
        }
    };
    ((now - signed).abs() > BELIEVED).then_some(S3ErrorCode::RequestTimeTooSkewed)
}

/// `20261124T110245Z`
fn amz_date(text: &str) -> Option<OffsetDateTime> {
    let digits = |at: std::ops::Range<usize>| text.get(at);
    let (date, time) = (digits(0..8)?, text.strip_suffix('Z')?.split_once('T')?.1);
    let rfc3339 = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date.get(0..4)?,
        &date.get(4..6)?,
        &date.get(6..8)?,
        time.get(0..2)?,
        time.get(2..4)?,
        time.get(4..)?,
    );
    let parsed = Timestamp::parse(TimestampFormat::DateTime, &rfc3339);
    parsed.ok().map(OffsetDateTime::from)
}

fn query<'u>(uri: &'u Uri, name: &str) -> Option<&'u str> {
    let mut pairs = uri
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(there, value)| (there == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "20261124T120000Z";

    fn of(uri: &str, headers: &[(&'static str, &str)]) -> Option<S3ErrorCode> {
        let headers = headers.iter().map(|(name, value)| {
            let name = hyper::header::HeaderName::from_static(name);
            (name, value.parse().expect("a value"))
        });
        let now = amz_date(NOW).expect("a date");
        refusal(&uri.parse().expect("a URI"), &headers.collect(), now)
    }

    #[test]
    fn a_signature_is_believed_for_a_quarter_of_an_hour_either_way() {
        for (date, refused) in [
            ("20261124T120000Z", false),
            ("20261124T114500Z", false),
            ("20261124T114459Z", true),
            ("20261124T121500Z", false),
            ("20261124T121501Z", true),
            ("20251124T120000Z", true),
        ] {
            let told = of("/b/k", &[("authorization", "AWS4"), ("x-amz-date", date)]);
            let expected = refused.then_some(S3ErrorCode::RequestTimeTooSkewed);
            assert_eq!(told, expected, "{date}");
        }
        let old = ("date", "Tue, 24 Nov 2026 11:00:00 GMT");
        let told = of("/b/k", &[("authorization", "AWS a:b"), old]);
        assert_eq!(told, Some(S3ErrorCode::RequestTimeTooSkewed));
    }

    #[test]
    fn a_presigned_request_expires_and_is_not_of_the_future() {
        let at = |date: &str| of(&format!("/b/k?X-Amz-Date={date}&X-Amz-Expires=3600"), &[]);
        assert_eq!(at("20261124T110000Z"), None);
        assert_eq!(at("20261124T105959Z"), Some(S3ErrorCode::AccessDenied));
        assert_eq!(
            at("20261124T121501Z"),
            Some(S3ErrorCode::RequestTimeTooSkewed)
        );
    }

    #[test]
    fn what_is_not_signed_or_not_readable_is_not_refused_for_its_date() {
        assert_eq!(of("/b/k", &[("x-amz-date", "20251124T120000Z")]), None);
        for date in [
            "",
            "T",
            "20261124",
            "2026112T120000Z",
            "20261324T120000Z",
            "x",
        ] {
            let told = of("/b/k", &[("authorization", "AWS4"), ("x-amz-date", date)]);
            assert_eq!(told, None, "{date}");
        }
    }
}
