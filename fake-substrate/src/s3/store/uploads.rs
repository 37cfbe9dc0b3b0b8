//! Multipart uploads: parts in a folder of their own, put together into a draft.
//!
//! Until the draft is published nothing of the upload changes, so a completion that is refused, or
//! that the process does not survive, can be asked for again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _};
use std::path::PathBuf;
use std::time::SystemTime;

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::CompletedPart;
use s3s::{S3Error, S3Result, s3_error};
use serde::{Deserialize, Serialize};

use crate::machine::metadata::generated_password;
use crate::s3::text::hex;

use super::Store;
use super::attributes::Attributes;
use super::checksums::Checksums;
use super::footer::Footer;
use super::incoming::{Draft, Received};

const ORDER: &str = "order.json";
/// Every part but the last has at least this much.
const SMALLEST_PART: u64 = 5 << 20;
const HIGHEST_PART: i32 = 10_000;

/// What an upload shall become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) attributes: Attributes,
    /// The checksum that its parts carry.
    pub(super) algorithm: Option<String>,
}

/// A part that is there.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) footer: Footer,
    pub(super) modified: SystemTime,
    path: PathBuf,
}

/// An upload that is under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) id: String,
    pub(super) order: Order,
    pub(super) begun: SystemTime,
}

impl Store {
    pub(super) fn begin_upload(&self, order: &Order) -> S3Result<String> {
        self.must_have(&order.bucket)?;
        let id = generated_password().map_err(S3Error::internal_error)?;
        // Made aside: an upload that is there has its order.
        let making = self.incoming.draft();
        let made = (|| {
            fs::create_dir(making.path())?;
            let text = serde_json::to_vec(order)?;
            let mut file = File::create(making.path().join(ORDER))?;
            io::Write::write_all(&mut file, &text)?;
            fs::rename(making.path(), self.dir.join("uploads").join(&id))
        })();
        made.map_err(S3Error::internal_error)?;
        Ok(id)
    }

    /// What that upload shall become, if it is one for this object.
    pub(super) fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<Order> {
        self.must_have(bucket)?;
        let order = self.order(id)?;
        match order {
            Some(order) if order.bucket == bucket && order.key == key => Ok(order),
            _ => Err(s3_error!(NoSuchUpload)),
        }
    }

    /// Every upload to a bucket, by key.
    pub(super) fn uploads(&self, bucket: &str) -> S3Result<Vec<UnderWay>> {
        self.must_have(bucket)?;
        let mut uploads = Vec::new();
        let entries = fs::read_dir(self.dir.join("uploads")).map_err(S3Error::internal_error)?;
        for entry in entries {
            let entry = entry.map_err(S3Error::internal_error)?;
            let Ok(id) = entry.file_name().into_string() else {
                continue;
            };
            let begun = fs::metadata(entry.path().join(ORDER)).and_then(|order| order.modified());
            // One that is ended at this moment is none.
            if let (Some(order), Ok(begun)) = (self.order(&id)?, begun)
                && order.bucket == bucket
            {
                uploads.push(UnderWay { id, order, begun });
            }
        }
        uploads.sort_by(|one, other| {
            (&one.order.key, one.begun).cmp(&(&other.order.key, other.begun))
        });
        Ok(uploads)
    }

    pub(super) fn add_part(&self, id: &str, number: i32, received: Received) -> S3Result<Footer> {
        let footer = received.footer("", Attributes::default());
        let appended = OpenOptions::new()
            .append(true)
            .open(received.draft.path())
            .and_then(|mut file| footer.append_to(&mut file));
        appended.map_err(S3Error::internal_error)?;
        let path = self.upload_dir(id).join(format!("{number:05}"));
        match received.draft.become_object(&path) {
            Ok(()) => Ok(footer),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(s3_error!(NoSuchUpload)),
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }

    /// Every part that is there, by number.
    pub(super) fn parts(&self, id: &str) -> S3Result<Vec<Part>> {
        let read = || -> io::Result<Vec<Part>> {
            let mut parts = Vec::new();
            for entry in fs::read_dir(self.upload_dir(id))? {
                let path = entry?.path();
                let name = path.file_name().and_then(|name| name.to_str());
                let Some(number) = name.and_then(|name| name.parse().ok()) else {
                    continue;
                };
                parts.push(Part {
                    number,
                    footer: Footer::of(&path)?,
                    modified: fs::metadata(&path)?.modified()?,
                    path,
                });
            }
            parts.sort_by_key(|part| part.number);
            Ok(parts)
        };
        read().map_err(S3Error::internal_error)
    }

    /// Copies the parts into one draft. Takes as long as copying takes.
    pub(super) fn assemble(&self, order: &Order, parts: &[Part]) -> io::Result<(Draft, Footer)> {
        let draft = self.incoming.draft();
        let mut file = BufWriter::new(File::create(draft.path())?);
        let mut digests = Md5::new();
        let mut size = 0;
        for part in parts {
            digests.update(&bytes(&part.footer.etag)?);
            size += io::copy(
                &mut File::open(&part.path)?.take(part.footer.size),
                &mut file,
            )?;
        }
        let footer = Footer {
            key: order.key.clone(),
            size,
            etag: format!("{}-{}", hex(&digests.finalize()), parts.len()),
            // S3 would make one from those of the parts; without one a client checks nothing.
            checksums: Checksums::default(),
            attributes: order.attributes.clone(),
        };
        footer.append_to(&mut file)?;
        Ok((draft, footer))
    }

    /// Ends an upload, whatever became of it: out of sight by one rename, then removed.
    pub(super) fn end_upload(&self, id: &str) -> S3Result<()> {
        let aside = self.incoming.draft();
        match fs::rename(self.upload_dir(id), aside.path()) {
            Ok(()) => fs::remove_dir_all(aside.path()).map_err(S3Error::internal_error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(s3_error!(NoSuchUpload)),
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }

    fn order(&self, id: &str) -> S3Result<Option<Order>> {
        // It is part of a path, and comes from outside.
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(None);
        }
        match fs::read(self.upload_dir(id).join(ORDER)) {
            Ok(text) => serde_json::from_slice(&text).map_err(S3Error::internal_error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }

    fn upload_dir(&self, id: &str) -> PathBuf {
        self.dir.join("uploads").join(id)
    }
}

/// The numbers that S3 has.
pub(super) fn check_number(number: i32) -> S3Result<()> {
    if (1..=HIGHEST_PART).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(
        InvalidArgument,
        "Part number must be an integer between 1 and 10000, inclusive"
    ))
}

/// The parts that a client names, checked against those that are there. Pure.
pub(super) fn chosen(named: &[CompletedPart], mut there: Vec<Part>) -> S3Result<Vec<Part>> {
    if named.is_empty() {
        return Err(s3_error!(MalformedXML));
    }
    // Whatever else is wrong with it, a list that is out of order is a list that is out of order.
    if !named.is_sorted_by(|one, next| one.part_number < next.part_number) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let mut chosen: Vec<Part> = Vec::new();
    for named_part in named {
        let number = named_part
            .part_number
            .ok_or_else(|| s3_error!(MalformedXML))?;
        let found = there.iter().position(|part| part.number == number);
        let part = there.swap_remove(found.ok_or_else(|| s3_error!(InvalidPart))?);
        let etag = named_part.e_tag.as_ref().map(|etag| etag.value());
        if etag.is_some_and(|etag| etag != part.footer.etag) {
            return Err(s3_error!(InvalidPart));
        }
        chosen.push(part);
    }
    let all_but_the_last = &chosen[..chosen.len() - 1];
    if all_but_the_last
        .iter()
        .any(|part| part.footer.size < SMALLEST_PART)
    {
        return Err(s3_error!(EntityTooSmall));
    }
    Ok(chosen)
}

fn bytes(hex: &str) -> io::Result<Vec<u8>> {
    let digit = |at| {
        hex.get(at..at + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    let bytes = (0..hex.len()).step_by(2).map(digit);
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an MD5"))
}

#[cfg(test)]
mod tests {
    use s3s::S3ErrorCode;
    use s3s::dto::ETag;

    use super::*;

    fn there(parts: &[(i32, u64)]) -> Vec<Part> {
        let part = |&(number, size)| Part {
            number,
            footer: Footer {
                key: String::new(),
                size,
                etag: format!("etag-{number}"),
                checksums: Checksums::default(),
                attributes: Attributes::default(),
            },
            modified: SystemTime::UNIX_EPOCH,
            path: PathBuf::new(),
        };
        parts.iter().map(part).collect()
    }

    fn named(numbers: &[i32]) -> Vec<CompletedPart> {
        let part = |&number| CompletedPart {
            part_number: Some(number),
            e_tag: Some(ETag::Strong(format!("etag-{number}"))),
            ..Default::default()
        };
        numbers.iter().map(part).collect()
    }

    fn refused(numbers: &[i32], parts: &[(i32, u64)]) -> S3ErrorCode {
        let refused = chosen(&named(numbers), there(parts)).expect_err("it must not be taken");
        refused.code().clone()
    }

    #[test]
    fn any_ascending_choice_of_whole_parts_is_an_object() {
        let parts = [(1, SMALLEST_PART), (3, 7 << 20), (9, 1)];
        let taken = chosen(&named(&[1, 9]), there(&parts)).expect("gaps are fine");
        let numbers: Vec<i32> = taken.iter().map(|part| part.number).collect();
        assert_eq!(numbers, [1, 9]);
    }

    #[test]
    fn what_is_out_of_order_missing_or_too_small_is_refused() {
        let parts = [(1, SMALLEST_PART), (2, SMALLEST_PART - 1), (3, 1)];
        assert_eq!(refused(&[3, 1], &parts), S3ErrorCode::InvalidPartOrder);
        assert_eq!(refused(&[1, 1], &parts), S3ErrorCode::InvalidPartOrder);
        assert_eq!(refused(&[1, 4], &parts), S3ErrorCode::InvalidPart);
        assert_eq!(refused(&[2, 3], &parts), S3ErrorCode::EntityTooSmall);
        assert_eq!(refused(&[], &parts), S3ErrorCode::MalformedXML);
    }

    #[test]
    fn a_part_that_was_replaced_meanwhile_is_refused() {
        let mut stale = named(&[1]);
        stale[0].e_tag = Some(ETag::Strong("what it was before".to_owned()));
        let refused = chosen(&stale, there(&[(1, 1)])).expect_err("another part");
        assert_eq!(refused.code(), &S3ErrorCode::InvalidPart);
    }
}
