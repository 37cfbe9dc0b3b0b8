//! An object's file: its bytes, then what is known of them.
//!
//! ```text
//! ┌───────────────┬───────────────┬───────────────────┬───────────────┐
//! │ body          │ footer, JSON  │ its length, u32 BE│ "BEYOBJ\0\x01"│
//! └───────────────┴───────────────┴───────────────────┴───────────────┘
//! ```
//!
//! One file, so that one rename publishes bytes, metadata, ETag and checksums together: whoever
//! looks, and whenever the process dies, there is the old object or the new one. At the end,
//! because the digests are known only when the last byte has come.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::attributes::Attributes;
use super::checksums::Checksums;

const MAGIC: [u8; 8] = *b"BEYOBJ\0\x01";
const TAIL: u64 = 12;
/// Keys are at most 1 KiB and metadata 2 KiB in S3; more than this was not written here.
const LONGEST: u32 = 1 << 20;

/// What is known of an object or a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Footer {
    pub(super) key: String,
    pub(super) size: u64,
    /// Without quotes.
    pub(super) etag: String,
    pub(super) checksums: Checksums,
    pub(super) attributes: Attributes,
}

impl Footer {
    /// Writes it behind the body.
    pub(super) fn append_to(&self, file: &mut impl Write) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        file.write_all(&text)?;
        file.write_all(&length.to_be_bytes())?;
        file.write_all(&MAGIC)?;
        file.flush()
    }

    /// Reads it from an object's file.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let torn = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
        if length < TAIL {
            return Err(torn("shorter than the tail of an object"));
        }
        file.seek(SeekFrom::Start(length - TAIL))?;
        let mut size = [0; 4];
        let mut magic = [0; 8];
        file.read_exact(&mut size)?;
        file.read_exact(&mut magic)?;
        let size = u32::from_be_bytes(size);
        let body = length.checked_sub(TAIL + u64::from(size));
        let Some(body) = body.filter(|_| magic == MAGIC && size <= LONGEST) else {
            return Err(torn("it does not end as an object does"));
        };
        file.seek(SeekFrom::Start(body))?;
        let mut text = Vec::new();
        file.take(u64::from(size)).read_to_end(&mut text)?;
        let footer: Self = serde_json::from_slice(&text)?;
        if footer.size == body {
            Ok(footer)
        } else {
            Err(torn("its body is not as long as its footer says"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer(size: u64) -> Footer {
        Footer {
            key: "wal/0001".to_owned(),
            size,
            etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
            checksums: Checksums::default(),
            attributes: Attributes::default(),
        }
    }

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let mut bytes = b"the body".to_vec();
        footer(8).append_to(&mut bytes).expect("in memory");
        assert_eq!(
            Footer::of(written(&bytes).path()).expect("whole"),
            footer(8)
        );
    }

    #[test]
    fn a_file_cut_anywhere_is_not_an_object() {
        let mut bytes = b"the body".to_vec();
        footer(8).append_to(&mut bytes).expect("in memory");
        for length in 0..bytes.len() {
            Footer::of(written(&bytes[..length]).path()).expect_err("torn");
        }
        bytes.remove(0);
        Footer::of(written(&bytes).path()).expect_err("its beginning is missing");
    }
}
