//! What a client says about an object and reads back unchanged.

use std::collections::BTreeMap;

use s3s::dto::{Timestamp, TimestampFormat};
use serde::{Deserialize, Serialize};

/// Headers and `x-amz-meta-…` of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Attributes {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    /// As in an HTTP header.
    pub(super) expires: Option<String>,
    pub(super) website_redirect_location: Option<String>,
}

/// The attribute fields of one of `s3s`' inputs: each input has its own copy of them.
macro_rules! attributes {
    ($input:expr) => {
        $crate::s3::store::attributes::Attributes {
            metadata: $input
                .metadata
                .take()
                .unwrap_or_default()
                .into_iter()
                .collect(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take().map(|encoding| {
                $crate::s3::store::attributes::without_chunking(&encoding).to_owned()
            }),
            content_language: $input.content_language.take(),
            content_type: $input.content_type.take(),
            expires: $crate::s3::store::attributes::expires_text($input.expires.take()),
            website_redirect_location: $input.website_redirect_location.take(),
        }
    };
}

/// Fills the attribute fields of one of `s3s`' outputs.
macro_rules! fill_attributes {
    ($output:expr, $attributes:expr) => {{
        let attributes = $attributes;
        $output.expires = attributes.expires();
        $output.metadata = Some(attributes.metadata.into_iter().collect());
        $output.cache_control = attributes.cache_control;
        $output.content_disposition = attributes.content_disposition;
        $output.content_encoding = attributes
            .content_encoding
            .filter(|encoding| !encoding.is_empty());
        $output.content_language = attributes.content_language;
        let content_type = attributes.content_type;
        $output.content_type = content_type.or_else(|| Some("binary/octet-stream".to_owned()));
        $output.website_redirect_location = attributes.website_redirect_location;
    }};
}
pub(super) use {attributes, fill_attributes};

/// `aws-chunked` tells how the request travelled, not what the object is.
pub(super) fn without_chunking(encoding: &str) -> &str {
    let rest = encoding.strip_prefix("aws-chunked").unwrap_or(encoding);
    rest.trim_start_matches([',', ' '])
}

pub(super) fn expires_text(expires: Option<Timestamp>) -> Option<String> {
    let mut text = Vec::new();
    expires?
        .format(TimestampFormat::HttpDate, &mut text)
        .ok()
        .and_then(|()| String::from_utf8(text).ok())
}

impl Attributes {
    pub(super) fn expires(&self) -> Option<Timestamp> {
        Timestamp::parse(TimestampFormat::HttpDate, self.expires.as_deref()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::without_chunking;

    #[test]
    fn the_encoding_of_the_transfer_is_not_that_of_the_object() {
        assert_eq!(without_chunking("aws-chunked"), "");
        assert_eq!(without_chunking("aws-chunked,gzip"), "gzip");
        assert_eq!(without_chunking("gzip"), "gzip");
    }
}
