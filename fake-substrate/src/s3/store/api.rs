//! The operations of S3 that the double has, each in terms of the store. What is not here `s3s`
//! answers with NotImplemented.

use std::sync::Arc;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CopyPartResult,
    CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, Error, GetBucketLocationInput,
    GetBucketLocationOutput, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsInput, ListObjectsOutput,
    ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, MultipartUpload,
    Part, PutObjectInput, PutObjectOutput, UploadPartCopyInput, UploadPartCopyOutput,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use super::Store;
use super::attributes::attributes;
use super::checksums::{Checksums, Claims, claimed, fill_checksums};
use super::conditions::WriteCondition;
use super::listing::Query;
use super::objects::{
    contents, copied_range, not_modified_is_failed, page_size, signed, source, source_condition,
    told, written,
};
use super::uploads::{Order, check_number, chosen};

type Answer<T> = S3Result<S3Response<T>>;

/// The store as `s3s` serves it.
#[derive(Debug, Clone)]
pub(in crate::s3) struct Api(pub(in crate::s3) Arc<Store>);

#[async_trait::async_trait]
impl S3 for Api {
    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        let bucket = |(name, bucket): (&String, &super::Bucket)| Bucket {
            name: Some(name.clone()),
            creation_date: Some(bucket.made.into()),
            bucket_region: None,
        };
        let buckets = self.0.buckets().iter().map(bucket).collect();
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            ..Default::default()
        }))
    }

    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        self.0.add_bucket(&req.input.bucket)?;
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(format!("/{}", req.input.bucket)),
        }))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.0.must_have(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
        self.0.remove_bucket(&req.input.bucket)?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.0.must_have(&req.input.bucket)?;
        // us-east-1 is told by saying nothing.
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        self.0.put(req).await.map(S3Response::new)
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.0.get(req.input).map(S3Response::new)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.0.head(req.input).map(S3Response::new)
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        self.0.copy(req).await.map(S3Response::new)
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        let condition = WriteCondition {
            if_match: req.input.if_match,
            if_none_match: None,
        };
        self.0
            .remove(&req.input.bucket, &req.input.key, &condition)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        let DeleteObjectsInput { bucket, delete, .. } = req.input;
        self.0.must_have(&bucket)?;
        let quiet = delete.quiet.unwrap_or(false);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in delete.objects {
            match self
                .0
                .remove(&bucket, &object.key, &WriteCondition::default())
            {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    ..Default::default()
                }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: error.message().map(str::to_owned),
                    version_id: None,
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..Default::default()
        }))
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        let input = req.input;
        let encoding = input.encoding_type.as_ref();
        let text = |text: Option<String>| text.map(|text| written(&text, encoding));
        let page = self.0.list(
            &input.bucket,
            &Query {
                prefix: input.prefix.as_deref().unwrap_or_default(),
                delimiter: input.delimiter.as_deref(),
                after: input.marker.as_deref().unwrap_or_default(),
                at_most: page_size(input.max_keys)?,
            },
        )?;
        let next = page.next.clone();
        let (objects, prefixes) = told(page, encoding)?;
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(text(input.prefix).unwrap_or_default()),
            marker: Some(text(input.marker).unwrap_or_default()),
            max_keys: Some(input.max_keys.unwrap_or(1000)),
            is_truncated: Some(next.is_some()),
            contents: Some(objects),
            common_prefixes: Some(prefixes),
            // As S3: without a delimiter the last key is the marker.
            next_marker: text(next).filter(|_| input.delimiter.is_some()),
            delimiter: text(input.delimiter),
            encoding_type: input.encoding_type.clone(),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        let input = req.input;
        let encoding = input.encoding_type.as_ref();
        let text = |text: Option<String>| text.map(|text| written(&text, encoding));
        let after = input
            .continuation_token
            .as_ref()
            .or(input.start_after.as_ref());
        let page = self.0.list(
            &input.bucket,
            &Query {
                prefix: input.prefix.as_deref().unwrap_or_default(),
                delimiter: input.delimiter.as_deref(),
                after: after.map(String::as_str).unwrap_or_default(),
                at_most: page_size(input.max_keys)?,
            },
        )?;
        let next = page.next.clone();
        let (objects, prefixes) = told(page, encoding)?;
        let count = objects.len() + prefixes.len();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(text(input.prefix).unwrap_or_default()),
            max_keys: Some(input.max_keys.unwrap_or(1000)),
            key_count: Some(i32::try_from(count).map_err(S3Error::internal_error)?),
            continuation_token: input.continuation_token,
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            contents: Some(objects),
            common_prefixes: Some(prefixes),
            delimiter: text(input.delimiter),
            start_after: text(input.start_after),
            encoding_type: input.encoding_type.clone(),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let mut input = req.input;
        let order = Order {
            attributes: attributes!(input),
            algorithm: input
                .checksum_algorithm
                .as_ref()
                .map(|it| it.as_str().to_owned()),
            bucket: input.bucket,
            key: input.key,
        };
        let id = self.0.begin_upload(&order)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(order.bucket),
            key: Some(order.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            ..Default::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let input = &req.input;
        check_number(input.part_number)?;
        self.0.upload(&input.bucket, &input.key, &input.upload_id)?;
        let wanted = input.checksum_algorithm.as_ref();
        let claims = Claims::of(&req, claimed!(input), input.content_md5.as_ref(), wanted);
        let input = req.input;
        let received = self.0.incoming.receive(input.body, &claims).await?;
        let part = self
            .0
            .add_part(&input.upload_id, input.part_number, received)?;
        let mut output = UploadPartOutput {
            e_tag: Some(ETag::Strong(part.etag)),
            ..Default::default()
        };
        fill_checksums!(output, part.checksums);
        Ok(S3Response::new(output))
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        let claims = Claims::of(&req, Checksums::default(), None, None);
        let mut input = req.input;
        check_number(input.part_number)?;
        self.0.upload(&input.bucket, &input.key, &input.upload_id)?;
        let (bucket, key) = source(&input.copy_source)?;
        let (object, file) = self.0.read(bucket, key)?;
        not_modified_is_failed(
            source_condition!(input).check(&object.footer.etag, object.modified),
        )?;
        let bytes = copied_range(input.copy_source_range.as_deref(), object.footer.size)?;
        let body = contents(file, bytes)?;
        let received = self.0.incoming.receive(Some(body), &claims).await?;
        let part = self
            .0
            .add_part(&input.upload_id, input.part_number, received)?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(ETag::Strong(part.etag)),
                last_modified: Some(object.modified.into()),
                ..Default::default()
            }),
            ..Default::default()
        }))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        let input = req.input;
        self.0.upload(&input.bucket, &input.key, &input.upload_id)?;
        let after = input.part_number_marker.unwrap_or(0);
        let at_most = page_size(input.max_parts)?;
        let mut parts = Vec::new();
        let there = self.0.parts(&input.upload_id)?;
        let mut later = there.into_iter().filter(|part| part.number > after);
        for part in later.by_ref().take(at_most) {
            let mut line = Part {
                part_number: Some(part.number),
                e_tag: Some(ETag::Strong(part.footer.etag)),
                size: Some(signed(part.footer.size)?),
                last_modified: Some(part.modified.into()),
                ..Default::default()
            };
            fill_checksums!(line, part.footer.checksums);
            parts.push(line);
        }
        let truncated = later.next().is_some();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: Some(after),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            max_parts: Some(input.max_parts.unwrap_or(1000)),
            is_truncated: Some(truncated),
            parts: Some(parts),
            ..Default::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        let input = req.input;
        if input.delimiter.is_some() || input.key_marker.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "uploads are listed on one page, by prefix alone"
            ));
        }
        let prefix = input.prefix.clone().unwrap_or_default();
        let encoding = input.encoding_type.as_ref();
        let uploads = self.0.uploads(&input.bucket)?.into_iter();
        let uploads = uploads.filter(|upload| upload.order.key.starts_with(&prefix));
        let uploads = uploads.map(|upload| MultipartUpload {
            key: Some(written(&upload.order.key, encoding)),
            upload_id: Some(upload.id),
            initiated: Some(upload.begun.into()),
            checksum_algorithm: upload.order.algorithm.map(Into::into),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            bucket: Some(input.bucket),
            prefix: input.prefix,
            encoding_type: input.encoding_type.clone(),
            is_truncated: Some(false),
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let input = req.input;
        let order = self.0.upload(&input.bucket, &input.key, &input.upload_id)?;
        let named = input.multipart_upload.and_then(|upload| upload.parts);
        let parts = chosen(&named.unwrap_or_default(), self.0.parts(&input.upload_id)?)?;
        let store = Arc::clone(&self.0);
        let assembled = tokio::task::spawn_blocking(move || store.assemble(&order, &parts)).await;
        let assembled = assembled.map_err(S3Error::internal_error)?;
        let (draft, footer) = assembled.map_err(S3Error::internal_error)?;
        let condition = WriteCondition {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
        };
        let object = self.0.publish(&input.bucket, draft, footer, &condition)?;
        // The object is there; parts that stay are of no harm, and listed as an upload.
        if let Err(error) = self.0.end_upload(&input.upload_id) {
            tracing::warn!(upload = input.upload_id, %error, "a completed upload's parts stay");
        }
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(object.etag()),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let input = req.input;
        self.0.upload(&input.bucket, &input.key, &input.upload_id)?;
        self.0.end_upload(&input.upload_id)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
