//! Single objects: written, read, copied, listed.

use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom};
use std::ops::{Bound, Range as Bytes};
use std::sync::Arc;

use bytes::BytesMut;
use futures_util::stream;
use s3s::dto::{
    CommonPrefix, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETag,
    EncodingType, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    MetadataDirective, Object as Listed, ObjectStorageClass, PutObjectInput, PutObjectOutput,
    Range, StreamingBlob, Timestamp,
};
use s3s::{S3Error, S3Request, S3Result, s3_error};
use tokio::io::AsyncReadExt as _;

use crate::s3::text::url_encoded;

use super::attributes::{Attributes, attributes, fill_attributes};
use super::checksums::{Checksums, Claims, claimed, fill_checksums};
use super::conditions::{ReadCondition, WriteCondition};
use super::incoming::Received;
use super::listing::{self, Line, Page, Query};
use super::{Object, Store, known};

/// How much is read from a file at a time: s3s-fs reads 4 KiB and is bound by it.
const PIECE: usize = 256 << 10;
const MOST_KEYS: i32 = 1000;

/// The read condition fields of an input.
macro_rules! read_condition {
    ($input:expr) => {
        ReadCondition {
            if_match: $input.if_match.take(),
            if_none_match: $input.if_none_match.take(),
            if_modified_since: $input.if_modified_since.take(),
            if_unmodified_since: $input.if_unmodified_since.take(),
        }
    };
}

/// The condition on the source of a copy.
macro_rules! source_condition {
    ($input:expr) => {
        $crate::s3::store::conditions::ReadCondition {
            if_match: $input.copy_source_if_match.take(),
            if_none_match: $input.copy_source_if_none_match.take(),
            if_modified_since: $input.copy_source_if_modified_since.take(),
            if_unmodified_since: $input.copy_source_if_unmodified_since.take(),
        }
    };
}
pub(super) use source_condition;

impl Store {
    pub(super) async fn put(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<PutObjectOutput> {
        self.must_have(&request.input.bucket)?;
        let claims = Claims::of(
            &request,
            claimed!(request.input),
            request.input.content_md5.as_ref(),
            request.input.checksum_algorithm.as_ref(),
        );
        let input = &mut request.input;
        let condition = WriteCondition {
            if_match: input.if_match.take(),
            if_none_match: input.if_none_match.take(),
        };
        let received = self.incoming.receive(input.body.take(), &claims).await?;
        let attributes = attributes!(input);
        let object = self.keep(&input.bucket, &input.key, received, attributes, &condition)?;
        let mut output = PutObjectOutput {
            e_tag: Some(object.etag()),
            ..Default::default()
        };
        fill_checksums!(output, object.footer.checksums.clone());
        Ok(output)
    }

    /// Makes an object of a body that has come.
    fn keep(
        &self,
        bucket: &str,
        key: &str,
        received: Received,
        attributes: Attributes,
        condition: &WriteCondition,
    ) -> S3Result<Arc<Object>> {
        let footer = received.footer(key, attributes);
        let appended = OpenOptions::new()
            .append(true)
            .open(received.draft.path())
            .and_then(|mut file| footer.append_to(&mut file));
        appended.map_err(S3Error::internal_error)?;
        self.publish(bucket, received.draft, footer, condition)
    }

    pub(super) fn get(&self, mut input: GetObjectInput) -> S3Result<GetObjectOutput> {
        let (object, file) = self.read(&input.bucket, &input.key)?;
        read_condition!(input).check(&object.footer.etag, object.modified)?;
        let size = object.footer.size;
        let bytes = match input.range {
            None => 0..size,
            Some(range) => range.check(size)?,
        };
        let mut output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(signed(bytes.end - bytes.start)?),
            content_range: input.range.is_some().then(|| content_range(&bytes, size)),
            e_tag: Some(object.etag()),
            last_modified: Some(object.modified.into()),
            ..Default::default()
        };
        if input.range.is_none() {
            fill_checksums!(output, object.footer.checksums.clone());
        }
        fill_attributes!(output, object.footer.attributes.clone());
        override_headers(&mut output, &mut input);
        output.body = Some(contents(file, bytes)?);
        Ok(output)
    }

    pub(super) fn head(&self, mut input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
        let object = self.look(&input.bucket, &input.key)?;
        read_condition!(input).check(&object.footer.etag, object.modified)?;
        let mut output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(signed(object.footer.size)?),
            e_tag: Some(object.etag()),
            last_modified: Some(object.modified.into()),
            ..Default::default()
        };
        fill_checksums!(output, object.footer.checksums.clone());
        fill_attributes!(output, object.footer.attributes.clone());
        Ok(output)
    }

    /// A copy goes through a draft like any body: whoever reads the target meanwhile reads on.
    pub(super) async fn copy(
        &self,
        mut request: S3Request<CopyObjectInput>,
    ) -> S3Result<CopyObjectOutput> {
        let wanted = request.input.checksum_algorithm.clone();
        let claims = Claims::of(&request, Checksums::default(), None, wanted.as_ref());
        let input = &mut request.input;
        self.must_have(&input.bucket)?;
        let (bucket, key) = source(&input.copy_source)?;
        let replaces = input.metadata_directive.as_ref();
        let replaces =
            replaces.is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        if !replaces && (bucket, key) == (&*input.bucket, &*input.key) {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself \
                 without changing the object's metadata."
            ));
        }
        let (object, file) = self.read(bucket, key)?;
        not_modified_is_failed(
            source_condition!(input).check(&object.footer.etag, object.modified),
        )?;
        let body = contents(file, 0..object.footer.size)?;
        let received = self.incoming.receive(Some(body), &claims).await?;
        let attributes = if replaces {
            attributes!(input)
        } else {
            object.footer.attributes.clone()
        };
        let always = WriteCondition::default();
        let copy = self.keep(&input.bucket, &input.key, received, attributes, &always)?;
        let mut result = CopyObjectResult {
            e_tag: Some(copy.etag()),
            last_modified: Some(copy.modified.into()),
            ..Default::default()
        };
        fill_checksums!(result, copy.footer.checksums.clone());
        Ok(CopyObjectOutput {
            copy_object_result: Some(result),
            ..Default::default()
        })
    }

    /// A page of a bucket, as both versions of the listing tell it.
    pub(super) fn list(&self, bucket: &str, query: &Query<'_>) -> S3Result<Page<Arc<Object>>> {
        let mut buckets = self.buckets();
        let objects = &known(&mut buckets, bucket)?.objects;
        let from = query.after.max(query.prefix);
        let keys = objects.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        let keys = keys.map(|(key, object)| (key.as_str(), Arc::clone(object)));
        Ok(listing::page(keys, query))
    }
}

impl Object {
    pub(super) fn etag(&self) -> ETag {
        ETag::Strong(self.footer.etag.clone())
    }
}

/// How many keys a page may have.
pub(super) fn page_size(asked: Option<i32>) -> S3Result<usize> {
    let asked = asked.unwrap_or(MOST_KEYS).min(MOST_KEYS);
    usize::try_from(asked).map_err(|error| s3_error!(error, InvalidArgument))
}

/// A page in the words of the protocol.
pub(super) fn told(
    page: Page<Arc<Object>>,
    encoding: Option<&EncodingType>,
) -> S3Result<(Vec<Listed>, Vec<CommonPrefix>)> {
    let text = |text: &str| written(text, encoding);
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    for line in page.lines {
        match line {
            Line::CommonPrefix(common) => prefixes.push(CommonPrefix {
                prefix: Some(text(&common)),
            }),
            Line::Object(object) => objects.push(Listed {
                key: Some(text(&object.footer.key)),
                size: Some(signed(object.footer.size)?),
                e_tag: Some(object.etag()),
                last_modified: Some(Timestamp::from(object.modified)),
                storage_class: Some(ObjectStorageClass::from_static(
                    ObjectStorageClass::STANDARD,
                )),
                ..Default::default()
            }),
        }
    }
    Ok((objects, prefixes))
}

/// A key in a listing, encoded where the client asked for it.
pub(super) fn written(text: &str, encoding: Option<&EncodingType>) -> String {
    match encoding {
        Some(_) => url_encoded(text),
        None => text.to_owned(),
    }
}

/// Where a copy comes from.
pub(super) fn source(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, .. } => Ok((bucket, key)),
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(s3_error!(NotImplemented))
        }
    }
}

/// A copy has no "not modified": to it, a source that is not wanted is a failed condition.
pub(super) fn not_modified_is_failed(checked: S3Result<()>) -> S3Result<()> {
    checked.map_err(|_either| s3_error!(PreconditionFailed))
}

/// Bytes of an open file as a body.
pub(super) fn contents(mut file: std::fs::File, bytes: Bytes<u64>) -> S3Result<StreamingBlob> {
    let positioned = file.seek(SeekFrom::Start(bytes.start));
    positioned.map_err(S3Error::internal_error)?;
    let file = tokio::fs::File::from_std(file);
    let pieces = stream::try_unfold((file, bytes.end - bytes.start), async |(mut file, left)| {
        if left == 0 {
            return Ok(None);
        }
        let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut piece = BytesMut::zeroed(size);
        file.read_exact(&mut piece).await?;
        Ok::<_, std::io::Error>(Some((piece.freeze(), (file, left - size as u64))))
    });
    Ok(StreamingBlob::wrap(pieces))
}

pub(super) fn content_range(bytes: &Bytes<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1)
}

/// The part of an object that a copy of a part wants.
pub(super) fn copied_range(range: Option<&str>, size: u64) -> S3Result<Bytes<u64>> {
    let Some(text) = range else {
        return Ok(0..size);
    };
    match Range::parse(text) {
        Ok(
            range @ Range::Int {
                last: Some(last), ..
            },
        ) if last < size => Ok(range.check(size)?),
        _ => Err(s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last within the source"
        )),
    }
}

pub(super) fn signed(size: u64) -> S3Result<i64> {
    i64::try_from(size).map_err(S3Error::internal_error)
}

/// What a presigned URL may say about how its answer is to be taken.
fn override_headers(output: &mut GetObjectOutput, input: &mut GetObjectInput) {
    let over = |header: &mut Option<String>, asked: Option<String>| {
        if asked.is_some() {
            *header = asked;
        }
    };
    over(
        &mut output.cache_control,
        input.response_cache_control.take(),
    );
    over(
        &mut output.content_disposition,
        input.response_content_disposition.take(),
    );
    over(
        &mut output.content_encoding,
        input.response_content_encoding.take(),
    );
    over(
        &mut output.content_language,
        input.response_content_language.take(),
    );
    over(&mut output.content_type, input.response_content_type.take());
}
