//! A body on its way in: into a file that nobody sees, with its digests, until the last byte is here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt as _;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};
use tokio::io::{AsyncWriteExt as _, BufWriter};

use crate::s3::text::hex;

use super::attributes::Attributes;
use super::checksums::{Checksums, Claims};
use super::footer::Footer;

const BUFFER: usize = 1 << 20;

/// The folder for files that are nobody's object yet. Emptied at each start: what is in it then
/// belonged to uploads that died with the process.
#[derive(Debug)]
pub(super) struct Incoming {
    dir: PathBuf,
    next: AtomicU64,
}

/// A file in that folder; removed unless it became an object.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
}

/// A body that came whole and is what its sender said.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) draft: Draft,
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
    pub(super) checksums: Checksums,
}

impl Incoming {
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&dir)?,
        }
        let next = AtomicU64::new(0);
        Ok(Self { dir, next })
    }

    pub(super) fn draft(&self) -> Draft {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Draft {
            path: self.dir.join(number.to_string()),
        }
    }

    /// Takes a body in. Whatever is wrong with it, nothing of it remains.
    pub(super) async fn receive(
        &self,
        body: Option<StreamingBlob>,
        claims: &Claims,
    ) -> S3Result<Received> {
        let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let draft = self.draft();
        let file = tokio::fs::File::create(&draft.path).await;
        let mut file = BufWriter::with_capacity(BUFFER, file.map_err(S3Error::internal_error)?);
        let mut digests = Digests::new(claims.hasher());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(broken)?;
            digests.update(&piece);
            let written = file.write_all(&piece).await;
            written.map_err(S3Error::internal_error)?;
        }
        file.flush().await.map_err(S3Error::internal_error)?;
        let received = digests.finish(draft);
        check_md5(claims.md5.as_deref(), &received.md5)?;
        claims.check(&received.checksums)?;
        Ok(received)
    }
}

impl Draft {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it an object: one rename.
    pub(super) fn become_object(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already when it became an object; a leftover goes at the next start.
        drop(fs::remove_file(&self.path));
    }
}

impl Received {
    /// What is to be known of it under this key.
    pub(super) fn footer(&self, key: &str, attributes: Attributes) -> Footer {
        Footer {
            key: key.to_owned(),
            size: self.size,
            etag: hex(&self.md5),
            checksums: self.checksums.clone(),
            attributes,
        }
    }
}

struct Digests {
    size: u64,
    md5: Md5,
    others: ChecksumHasher,
}

impl Digests {
    fn new(others: ChecksumHasher) -> Self {
        let md5 = Md5::new();
        Self {
            size: 0,
            md5,
            others,
        }
    }

    fn update(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        self.md5.update(piece);
        self.others.update(piece);
    }

    fn finish(self, draft: Draft) -> Received {
        Received {
            draft,
            size: self.size,
            md5: self.md5.finalize(),
            checksums: self.others.finalize().into(),
        }
    }
}

fn check_md5(claimed: Option<&str>, md5: &[u8; 16]) -> S3Result<()> {
    use base64::Engine as _;
    let Some(claimed) = claimed else {
        return Ok(());
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(claimed);
    match decoded {
        Ok(claimed) if claimed == md5 => Ok(()),
        Ok(claimed) if claimed.len() == md5.len() => Err(s3_error!(BadDigest)),
        _ => Err(s3_error!(InvalidDigest)),
    }
}

/// The body's own layers, which check signatures and the payload's digest on the way, keep their
/// errors private: only what they say can be told apart.
fn broken(error: StdError) -> S3Error {
    let said = error.to_string();
    if said.contains("Sha256Mismatch") {
        let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
        let mut error = S3Error::with_source(code, error);
        error.set_status_code(hyper::StatusCode::BAD_REQUEST);
        return error;
    }
    let code = if said.contains("SignatureMismatch") {
        S3ErrorCode::SignatureDoesNotMatch
    } else {
        S3ErrorCode::IncompleteBody
    };
    S3Error::with_source(code, error)
}
