//! When a request wants to be carried out only in a certain state of the object. Pure.
//!
//! A write's condition is checked by [`Store::publish`](super::Store) under the lock that publishes,
//! after the body has come: of many writers with `If-None-Match: *` exactly one wins.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};

/// The condition of a write.
#[derive(Clone, Debug, Default)]
pub(super) struct WriteCondition {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

impl WriteCondition {
    /// Whether it holds for an object with this ETag, or for none.
    pub(super) fn check(&self, current: Option<&str>) -> S3Result<()> {
        match (&self.if_match, current) {
            (None, _) | (Some(ETagCondition::Any), Some(_)) => {}
            // As S3: nothing to replace is not the same as something else to replace.
            (Some(_), None) => return Err(s3_error!(NoSuchKey)),
            (Some(ETagCondition::ETag(expected)), Some(etag)) => {
                if !strong(etag).strong_cmp(expected) {
                    return Err(s3_error!(PreconditionFailed));
                }
            }
        }
        match (&self.if_none_match, current) {
            (None, _) | (Some(ETagCondition::Any), None) => Ok(()),
            (Some(ETagCondition::Any), Some(_)) => Err(s3_error!(PreconditionFailed)),
            (Some(ETagCondition::ETag(_)), _) => Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented: \
                 If-None-Match of a write takes * alone."
            )),
        }
    }
}

/// The condition of a read.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadCondition {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

impl ReadCondition {
    /// Whether it holds for this object. ETags win over dates, as RFC 9110 has it.
    pub(super) fn check(&self, etag: &str, modified: SystemTime) -> S3Result<()> {
        let etag = strong(etag);
        let is = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(expected) => etag.weak_cmp(expected),
        };
        let modified = Timestamp::from(whole_seconds(modified));
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(expected), _) if !is(expected) => return Err(s3_error!(PreconditionFailed)),
            (None, Some(since)) if modified > *since => return Err(s3_error!(PreconditionFailed)),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(known), _) if is(known) => Err(s3_error!(NotModified)),
            (None, Some(since)) if modified <= *since => Err(s3_error!(NotModified)),
            _ => Ok(()),
        }
    }
}

fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}

/// HTTP's dates know no fractions: an object must not be newer than its own Last-Modified.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use s3s::S3ErrorCode;

    use super::*;

    fn etag(value: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(strong(value)))
    }

    fn refused(checked: S3Result<()>) -> Option<S3ErrorCode> {
        checked.err().map(|error| error.code().clone())
    }

    #[test]
    fn a_write_that_wants_nothing_there_is_refused_by_any_object() {
        let absent = WriteCondition {
            if_none_match: Some(ETagCondition::Any),
            ..Default::default()
        };
        assert_eq!(refused(absent.check(None)), None);
        let refused = refused(absent.check(Some("a")));
        assert_eq!(refused, Some(S3ErrorCode::PreconditionFailed));
    }

    #[test]
    fn a_write_that_wants_a_version_replaces_that_one_alone() {
        let that = WriteCondition {
            if_match: etag("a"),
            ..Default::default()
        };
        assert_eq!(refused(that.check(Some("a"))), None);
        let other = refused(that.check(Some("b")));
        assert_eq!(other, Some(S3ErrorCode::PreconditionFailed));
        assert_eq!(refused(that.check(None)), Some(S3ErrorCode::NoSuchKey));
    }

    #[test]
    fn a_write_condition_that_s3_does_not_know_is_not_guessed_at() {
        let odd = WriteCondition {
            if_none_match: etag("a"),
            ..Default::default()
        };
        assert_eq!(refused(odd.check(None)), Some(S3ErrorCode::NotImplemented));
    }

    #[test]
    fn a_read_of_what_the_client_has_is_not_modified() {
        let modified = UNIX_EPOCH + Duration::from_millis(1_800_000_000_700);
        let last_modified = Timestamp::from(whole_seconds(modified));
        for known in [
            ReadCondition {
                if_none_match: etag("a"),
                ..Default::default()
            },
            ReadCondition {
                if_modified_since: Some(last_modified.clone()),
                ..Default::default()
            },
        ] {
            let code = refused(known.check("a", modified));
            assert_eq!(code, Some(S3ErrorCode::NotModified), "{known:?}");
        }
        let unmodified = ReadCondition {
            if_unmodified_since: Some(last_modified),
            ..Default::default()
        };
        assert_eq!(refused(unmodified.check("a", modified)), None);
    }
}
