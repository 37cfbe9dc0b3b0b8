//! An upload in parts that becomes an object whole or leaves nothing.

use crate::archive::store::{Parts, StoreError, Upload};

/// Parts on their way to becoming an object.
#[derive(Debug)]
pub(crate) struct Uploading<'s, S> {
    store: &'s S,
    upload: Upload,
    token: String,
    parts: Vec<String>,
    bytes: u64,
}

impl<'s, S: Parts> Uploading<'s, S> {
    /// Begins. `token` is known to nobody else: by it an object is known whose completion was not answered.
    pub(crate) async fn begin(
        store: &'s S,
        key: &str,
        token: &str,
    ) -> Result<Uploading<'s, S>, StoreError> {
        let id = store.begin(key, token).await?;
        Ok(Uploading {
            store,
            upload: Upload {
                key: key.to_owned(),
                id,
            },
            token: token.to_owned(),
            parts: Vec::new(),
            bytes: 0,
        })
    }

    pub(crate) async fn put(&mut self, part: Vec<u8>) -> Result<(), StoreError> {
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        let bytes = part.len() as u64;
        let tag = self.store.part(&self.upload, number, part).await?;
        self.parts.push(tag);
        self.bytes += bytes;
        Ok(())
    }

    /// Makes the object. A completion that fails may have worked and lost its answer.
    pub(crate) async fn complete(&self) -> Result<(), StoreError> {
        let Err(error) = self.store.complete(&self.upload, &self.parts).await else {
            return Ok(());
        };
        match self.store.token_of(&self.upload.key).await? {
            Some((token, bytes)) if token == self.token && bytes == self.bytes => Ok(()),
            Some(_) | None => Err(error),
        }
    }
}

/// Gives up every upload below `prefix`: what this machine began and did not end, in this life or one before.
pub(crate) async fn give_up_all(store: &impl Parts, prefix: &str) -> Result<usize, StoreError> {
    let begun = store.begun(prefix).await?;
    for upload in &begun {
        store.abort(upload).await?;
    }
    Ok(begun.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::store::memory::Memory;

    #[tokio::test]
    async fn parts_become_an_object_at_once() {
        let store = Memory::default();
        let mut upload = Uploading::begin(&store, "b/base", "t").await.unwrap();
        upload.put(b"one ".to_vec()).await.unwrap();
        upload.put(b"two".to_vec()).await.unwrap();
        assert!(store.objects.borrow().is_empty());
        upload.complete().await.unwrap();
        assert_eq!(store.objects.borrow()["b/base"].body, b"one two");
        assert_eq!(give_up_all(&store, "b/").await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_completion_whose_answer_was_lost_is_known_by_its_token() {
        let store = Memory::default();
        store.loses_completion.set(true);
        let mut upload = Uploading::begin(&store, "b/base", "t").await.unwrap();
        upload.put(b"one".to_vec()).await.unwrap();
        upload.complete().await.unwrap();

        // Another's object of this name is not ours.
        let mut upload = Uploading::begin(&store, "b/base", "u").await.unwrap();
        upload.put(b"one".to_vec()).await.unwrap();
        upload.complete().await.unwrap_err();
        assert_eq!(store.objects.borrow()["b/base"].label.sha256, "t");
    }

    #[tokio::test]
    async fn what_was_begun_is_given_up_and_nobody_elses() {
        let store = Memory::default();
        Uploading::begin(&store, "a/base", "t").await.unwrap();
        let mut ours = Uploading::begin(&store, "b/base", "t").await.unwrap();
        Uploading::begin(&store, "b/base", "t").await.unwrap();
        assert_eq!(give_up_all(&store, "b/").await.unwrap(), 2);
        ours.put(b"late".to_vec()).await.unwrap_err();
        assert_eq!(store.uploads.borrow().len(), 1);
    }
}
