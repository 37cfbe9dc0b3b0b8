//! The checksums that S3 knows beside the MD5 of the ETag: what a client claims, and what came.

use s3s::checksum::ChecksumHasher;
use s3s::dto::{Checksum, ChecksumAlgorithm};
use s3s::{S3Request, S3Result, TrailingHeaders, s3_error};
use serde::{Deserialize, Serialize};

const TRAILER: &str = "x-amz-trailer";
const HEADER: &str = "x-amz-checksum-";

/// Base64, as they travel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

/// The checksum fields of one of `s3s`' inputs: each input has its own copy of them.
macro_rules! claimed {
    ($input:expr) => {
        $crate::s3::store::checksums::Checksums {
            crc32: $input.checksum_crc32.clone(),
            crc32c: $input.checksum_crc32c.clone(),
            crc64nvme: $input.checksum_crc64nvme.clone(),
            sha1: $input.checksum_sha1.clone(),
            sha256: $input.checksum_sha256.clone(),
        }
    };
}

/// Fills the checksum fields of one of `s3s`' outputs.
macro_rules! fill_checksums {
    ($output:expr, $checksums:expr) => {{
        let checksums = $checksums;
        $output.checksum_crc32 = checksums.crc32;
        $output.checksum_crc32c = checksums.crc32c;
        $output.checksum_crc64nvme = checksums.crc64nvme;
        $output.checksum_sha1 = checksums.sha1;
        $output.checksum_sha256 = checksums.sha256;
    }};
}
pub(super) use {claimed, fill_checksums};

impl From<Checksum> for Checksums {
    fn from(computed: Checksum) -> Self {
        claimed!(computed)
    }
}

/// What a client claims about a body before it comes.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// In the head of the request.
    pub(super) checksums: Checksums,
    /// Base64, as in Content-MD5.
    pub(super) md5: Option<String>,
    /// Which ones will be claimed behind the body, by their header's name.
    announced: String,
    /// Which one to compute although nothing is claimed.
    wanted: Option<ChecksumAlgorithm>,
    trailers: Option<TrailingHeaders>,
}

impl Claims {
    pub(super) fn of<T>(
        request: &S3Request<T>,
        checksums: Checksums,
        md5: Option<&String>,
        wanted: Option<&ChecksumAlgorithm>,
    ) -> Self {
        let announced = request.headers.get(TRAILER);
        let announced = announced.and_then(|value| value.to_str().ok());
        Self {
            checksums,
            md5: md5.cloned(),
            announced: announced.unwrap_or_default().to_ascii_lowercase(),
            wanted: wanted.cloned(),
            trailers: request.trailing_headers.clone(),
        }
    }

    /// Computes what is needed to check them.
    pub(super) fn hasher(&self) -> ChecksumHasher {
        fn when<H: Default>(needed: bool) -> Option<H> {
            needed.then(H::default)
        }
        let needs = |claim: &Option<String>, name: &str| {
            claim.is_some()
                || self.announced.contains(&format!("{HEADER}{name}"))
                || (self.wanted.as_ref())
                    .is_some_and(|wanted| wanted.as_str().eq_ignore_ascii_case(name))
        };
        ChecksumHasher {
            crc32: when(needs(&self.checksums.crc32, "crc32")),
            crc32c: when(needs(&self.checksums.crc32c, "crc32c")),
            crc64nvme: when(needs(&self.checksums.crc64nvme, "crc64nvme")),
            sha1: when(needs(&self.checksums.sha1, "sha1")),
            sha256: when(needs(&self.checksums.sha256, "sha256")),
        }
    }

    /// Compares what came with what was claimed, in the head and behind the body.
    pub(super) fn check(&self, computed: &Checksums) -> S3Result<()> {
        let trailing = |name: &str| {
            let read = |trailers: &hyper::HeaderMap| {
                let value = trailers.get(format!("{HEADER}{name}"))?;
                value.to_str().ok().map(str::to_owned)
            };
            self.trailers.as_ref()?.read(read).flatten()
        };
        let claims = &self.checksums;
        for (name, in_head, computed) in [
            ("crc32", &claims.crc32, &computed.crc32),
            ("crc32c", &claims.crc32c, &computed.crc32c),
            ("crc64nvme", &claims.crc64nvme, &computed.crc64nvme),
            ("sha1", &claims.sha1, &computed.sha1),
            ("sha256", &claims.sha256, &computed.sha256),
        ] {
            let claimed = in_head.clone().or_else(|| trailing(name));
            if claimed.is_some() && claimed != *computed {
                return Err(s3_error!(
                    BadDigest,
                    "The {name} you specified did not match the calculated checksum."
                ));
            }
        }
        Ok(())
    }
}
