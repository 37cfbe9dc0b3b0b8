//! Uploads in parts over S3, for backups.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::s3::{S3, status};
use super::store::{Parts, StoreError, Upload, Why};

/// In the metadata of an object: which upload made it.
const TOKEN: &str = "upload";

impl S3 {
    /// An object from one of its bytes on.
    pub(crate) async fn open(&self, key: &str, from: u64) -> Result<ByteStream, StoreError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let found = request.range(format!("bytes={from}-")).send().await;
        let found = found.map_err(|error| self.failed("getting", key, &error))?;
        Ok(found.body)
    }
}

impl Parts for S3 {
    async fn begin(&self, key: &str, token: &str) -> Result<String, StoreError> {
        let request = self.client.create_multipart_upload().bucket(&self.bucket);
        let begun = request.key(key).metadata(TOKEN, token).send().await;
        let begun = begun.map_err(|error| self.failed("beginning the upload of", key, &error))?;
        begun.upload_id.ok_or_else(|| StoreError {
            tried: "beginning the upload of",
            url: self.url(key),
            words: "the answer has no upload id".to_owned(),
            why: Why::Trouble,
        })
    }

    async fn part(&self, to: &Upload, number: i32, body: Vec<u8>) -> Result<String, StoreError> {
        let request = self.client.upload_part().bucket(&self.bucket);
        let put = request
            .key(&to.key)
            .upload_id(&to.id)
            .part_number(number)
            .body(ByteStream::from(body))
            .customize();
        let put = match self.encrypted {
            true => put.disable_payload_signing().send().await,
            false => put.send().await,
        };
        let put = put.map_err(|error| self.failed("putting a part of", &to.key, &error))?;
        put.e_tag.ok_or_else(|| StoreError {
            tried: "putting a part of",
            url: self.url(&to.key),
            words: "the answer has no ETag".to_owned(),
            why: Why::Trouble,
        })
    }

    async fn complete(&self, upload: &Upload, parts: &[String]) -> Result<(), StoreError> {
        let parts = (1..).zip(parts).map(|(number, tag)| {
            let part = CompletedPart::builder().part_number(number);
            part.e_tag(tag).build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect()));
        let request = self.client.complete_multipart_upload().bucket(&self.bucket);
        let done = request
            .key(&upload.key)
            .upload_id(&upload.id)
            .multipart_upload(parts.build())
            .if_none_match("*")
            .send()
            .await;
        done.map(drop)
            .map_err(|error| self.failed("completing the upload of", &upload.key, &error))
    }

    async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket);
        let request = request.key(&upload.key).upload_id(&upload.id);
        match request.send().await {
            Ok(_given_up) => Ok(()),
            // It has ended, one way or another.
            Err(error) if status(&error) == Some(404) => Ok(()),
            Err(error) => Err(self.failed("giving up the upload of", &upload.key, &error)),
        }
    }

    async fn begun(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        let mut begun = Vec::new();
        let (mut key, mut id) = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket);
            let request = request
                .prefix(prefix)
                .set_key_marker(key)
                .set_upload_id_marker(id);
            let page = request.send().await;
            let page =
                page.map_err(|error| self.failed("listing uploads below", prefix, &error))?;
            begun.extend(page.uploads().iter().filter_map(|upload| {
                Some(Upload {
                    key: upload.key()?.to_owned(),
                    id: upload.upload_id()?.to_owned(),
                })
            }));
            if page.is_truncated() != Some(true) {
                return Ok(begun);
            }
            (key, id) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    async fn token_of(&self, key: &str) -> Result<Option<(String, u64)>, StoreError> {
        let request = self.client.head_object().bucket(&self.bucket).key(key);
        match request.send().await {
            Ok(found) => {
                let token = found.metadata().and_then(|metadata| metadata.get(TOKEN));
                let length = found.content_length().unwrap_or_default();
                Ok(Some((
                    token.cloned().unwrap_or_default(),
                    u64::try_from(length).unwrap_or_default(),
                )))
            }
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failed("looking at", key, &error)),
        }
    }

    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(key);
        let removed = request.send().await.map(drop);
        removed.map_err(|error| self.failed("removing", key, &error))
    }
}
