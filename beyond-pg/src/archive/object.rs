//! What an object of the archive holds: an lz4 frame, and what it is known by.

use std::io::{self, Read as _, Write as _};

use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use thiserror::Error;

use crate::archive::file::SEGMENT_BYTES;

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) label: Label,
    /// An lz4 frame; `lz4 -d` reads it as well.
    pub(crate) body: Vec<u8>,
}

/// What is kept beside the body, as metadata of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// Of the file, in hex.
    pub(crate) sha256: String,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// Of the cluster that it is of.
    pub(crate) system_id: u64,
}

/// An object that does not hold what its label says.
#[derive(Debug, Error)]
pub(crate) enum Damage {
    #[error("its body is no lz4 frame")]
    Frame(#[source] io::Error),
    #[error("its file has SHA-256 {found} and should have {expected}")]
    Digest { expected: String, found: String },
}

impl Object {
    /// Packs a file.
    pub(crate) fn of(content: &[u8], system_id: u64) -> io::Result<Object> {
        // One that grows would be copied each time; what is not written to takes no memory.
        let mut encoder = FrameEncoder::new(Vec::with_capacity(content.len()));
        encoder.write_all(content)?;
        Ok(Object {
            label: Label::of(content, system_id),
            body: encoder.finish()?,
        })
    }

    /// A file as it is, for whoever looks at it with the storage's own tools.
    pub(crate) fn unpacked(content: Vec<u8>, system_id: u64) -> Object {
        Object {
            label: Label::of(&content, system_id),
            body: content,
        }
    }

    /// The file of an object that was put [unpacked](Object::unpacked).
    pub(crate) fn unpacked_content(&self) -> Result<&[u8], Damage> {
        let (expected, found) = (self.label.sha256.clone(), digest(&self.body));
        if expected != found {
            return Err(Damage::Digest { expected, found });
        }
        Ok(&self.body)
    }

    /// The file, which is what was packed or an error.
    pub(crate) fn content(&self) -> Result<Vec<u8>, Damage> {
        // A frame that lies about its size takes no more room than what the label allows.
        let limit = self.label.bytes.saturating_add(1);
        let expected = usize::try_from(limit.min(SEGMENT_BYTES + 1)).unwrap_or_default();
        let mut content = Vec::with_capacity(expected);
        FrameDecoder::new(self.body.as_slice())
            .take(limit)
            .read_to_end(&mut content)
            .map_err(Damage::Frame)?;
        let (expected, found) = (self.label.sha256.clone(), digest(&content));
        if expected != found {
            return Err(Damage::Digest { expected, found });
        }
        Ok(content)
    }
}

impl Label {
    pub(crate) fn of(content: &[u8], system_id: u64) -> Label {
        Label {
            sha256: digest(content),
            bytes: u64::try_from(content.len()).unwrap_or(u64::MAX),
            system_id,
        }
    }
}

/// SHA-256, in hex.
pub(crate) fn digest(content: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, content).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_as_it_was_and_an_empty_segment_takes_little_room() {
        let content = vec![7; 16 << 20];
        let object = Object::of(&content, 42).unwrap();
        assert!(object.body.len() < 1 << 20, "{} bytes", object.body.len());
        assert_eq!(object.content().unwrap(), content);
    }

    #[test]
    fn an_object_that_was_spoilt_is_not_taken_for_the_file() {
        let mut other = Object::of(b"something", 42).unwrap();
        other.label.sha256 = Label::of(b"something else", 42).sha256;
        assert!(matches!(other.content(), Err(Damage::Digest { .. })));
        let mut torn = Object::of(&[7; 100_000], 42).unwrap();
        torn.body.truncate(torn.body.len() / 2);
        torn.content().unwrap_err();
        // A body that is larger than it says does not fill the memory.
        let mut larger = Object::of(&[7; 100_000], 42).unwrap();
        larger.label.bytes = 10;
        assert!(matches!(larger.content(), Err(Damage::Digest { .. })));
    }
}
