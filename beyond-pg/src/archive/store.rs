//! What an archive needs of object storage, and what can go wrong with it.

use thiserror::Error;

use crate::archive::object::{Label, Object};

/// Object storage, as far as an archive goes.
pub(crate) trait Store {
    /// Puts an object where there is none.
    async fn put_if_absent(&self, key: &str, object: &Object) -> Result<Put, StoreError>;
    /// What is known of an object; `None`: there is none.
    async fn head(&self, key: &str) -> Result<Option<Label>, StoreError>;
    /// An object; `None`: there is none, and there is a bucket.
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError>;
    /// The objects whose keys begin so and lie behind `after`, in the order of their keys.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Entry>, StoreError>;
}

/// Object storage, as far as a backup goes, which is too large for one request.
pub(crate) trait Parts {
    /// Begins an upload, whose object will be known by `token`; answers its id.
    async fn begin(&self, key: &str, token: &str) -> Result<String, StoreError>;
    /// Puts one part, of which the first is 1; answers what it is known by.
    async fn part(&self, to: &Upload, number: i32, body: Vec<u8>) -> Result<String, StoreError>;
    /// Makes an object of the parts, where there is none.
    async fn complete(&self, upload: &Upload, parts: &[String]) -> Result<(), StoreError>;
    async fn abort(&self, upload: &Upload) -> Result<(), StoreError>;
    /// Uploads below `prefix` that were begun and have not ended.
    async fn begun(&self, prefix: &str) -> Result<Vec<Upload>, StoreError>;
    /// The token and the length of an object; `None`: there is none.
    async fn token_of(&self, key: &str) -> Result<Option<(String, u64)>, StoreError>;
    /// For what a backup has put that did not become whole, and for nothing else.
    async fn remove(&self, key: &str) -> Result<(), StoreError>;
}

/// An upload that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) id: String,
}

/// What came of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    Stored,
    /// Something is there already, maybe what we have put ourselves: the answer to it was lost.
    Taken,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Seconds since 1970, by the storage's clock.
    pub(crate) modified: i64,
}

/// A request that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{tried} {url}: {words}\nHINT: {}", hint(*.why))]
pub(crate) struct StoreError {
    pub(crate) tried: &'static str,
    /// `s3://bucket/key`.
    pub(crate) url: String,
    /// What the storage, or the way to it, said.
    pub(crate) words: String,
    pub(crate) why: Why,
}

/// Whom it takes to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The storage, or the way to it: ask again.
    Trouble,
    /// The keys may not.
    Forbidden,
    NoBucket,
    /// The object is not as one of ours.
    Unlabelled,
}

fn hint(why: Why) -> &'static str {
    match why {
        Why::Trouble => "it is tried again; see whether the storage at AWS_ENDPOINT_URL answers",
        Why::Forbidden => {
            "see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do with the bucket; new \
             ones in the metadata count at the next try"
        }
        Why::NoBucket => "make the bucket, or mend BEYOND_PG_ARCHIVE_TARGET",
        Why::Unlabelled => "somebody else has put it there; give this database a prefix of its own",
    }
}

#[cfg(test)]
pub(crate) mod memory {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use super::*;

    /// Object storage in memory, which can lose an answer or fail.
    #[derive(Debug, Default)]
    pub(crate) struct Memory {
        pub(crate) objects: RefCell<BTreeMap<String, Object>>,
        /// So many requests are refused.
        pub(crate) refuses: Cell<u32>,
        pub(crate) refused_for: Cell<Option<Why>>,
        pub(crate) requests: Cell<u32>,
        pub(crate) uploads: RefCell<BTreeMap<String, Uploading>>,
        /// The answer to a completion is lost.
        pub(crate) loses_completion: Cell<bool>,
    }

    #[derive(Debug, Default)]
    pub(crate) struct Uploading {
        key: String,
        token: String,
        parts: BTreeMap<i32, Vec<u8>>,
    }

    impl Memory {
        fn trouble(tried: &'static str, key: &str) -> StoreError {
            StoreError {
                tried,
                url: format!("s3://bucket/{key}"),
                words: "404 NoSuchUpload".to_owned(),
                why: Why::Trouble,
            }
        }
    }

    impl Parts for Memory {
        async fn begin(&self, key: &str, token: &str) -> Result<String, StoreError> {
            self.asked("beginning the upload of", key)?;
            let id = self.requests.get().to_string();
            let uploading = Uploading {
                key: key.to_owned(),
                token: token.to_owned(),
                parts: BTreeMap::new(),
            };
            self.uploads.borrow_mut().insert(id.clone(), uploading);
            Ok(id)
        }

        async fn part(
            &self,
            to: &Upload,
            number: i32,
            body: Vec<u8>,
        ) -> Result<String, StoreError> {
            self.asked("putting a part of", &to.key)?;
            let mut uploads = self.uploads.borrow_mut();
            let uploading = uploads.get_mut(&to.id);
            let uploading = uploading.ok_or_else(|| Self::trouble("putting a part of", &to.key))?;
            uploading.parts.insert(number, body);
            Ok(format!("part {number}"))
        }

        async fn complete(&self, upload: &Upload, parts: &[String]) -> Result<(), StoreError> {
            self.asked("completing the upload of", &upload.key)?;
            let trouble = || Self::trouble("completing the upload of", &upload.key);
            let whole = self.uploads.borrow_mut().remove(&upload.id);
            let Uploading {
                key,
                token,
                parts: put,
            } = whole.ok_or_else(trouble)?;
            let named: Vec<String> = put.keys().map(|number| format!("part {number}")).collect();
            if named != parts || self.objects.borrow().contains_key(&key) {
                return Err(trouble());
            }
            let body: Vec<u8> = put.into_values().flatten().collect();
            let label = Label {
                sha256: token,
                bytes: body.len() as u64,
                system_id: 0,
            };
            self.objects
                .borrow_mut()
                .insert(key, Object { label, body });
            match self.loses_completion.get() {
                true => Err(trouble()),
                false => Ok(()),
            }
        }

        async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
            self.asked("giving up the upload of", &upload.key)?;
            self.uploads.borrow_mut().remove(&upload.id);
            Ok(())
        }

        async fn begun(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
            self.asked("listing uploads below", prefix)?;
            let uploads = self.uploads.borrow();
            let begun = uploads
                .iter()
                .filter(|(_, one)| one.key.starts_with(prefix));
            let upload = |(id, one): (&String, &Uploading)| Upload {
                key: one.key.clone(),
                id: id.clone(),
            };
            Ok(begun.map(upload).collect())
        }

        async fn token_of(&self, key: &str) -> Result<Option<(String, u64)>, StoreError> {
            self.asked("looking at", key)?;
            let objects = self.objects.borrow();
            let label = objects.get(key).map(|object| &object.label);
            Ok(label.map(|label| (label.sha256.clone(), label.bytes)))
        }

        async fn remove(&self, key: &str) -> Result<(), StoreError> {
            self.asked("removing", key)?;
            self.objects.borrow_mut().remove(key);
            Ok(())
        }
    }

    impl Memory {
        fn asked(&self, tried: &'static str, key: &str) -> Result<(), StoreError> {
            self.requests.set(self.requests.get() + 1);
            if self.refuses.get() == 0 {
                return Ok(());
            }
            self.refuses.set(self.refuses.get() - 1);
            Err(StoreError {
                tried,
                url: format!("s3://bucket/{key}"),
                words: "refused".to_owned(),
                why: self.refused_for.get().unwrap_or(Why::Trouble),
            })
        }
    }

    impl Store for Memory {
        async fn put_if_absent(&self, key: &str, object: &Object) -> Result<Put, StoreError> {
            self.asked("putting", key)?;
            let mut objects = self.objects.borrow_mut();
            if objects.contains_key(key) {
                return Ok(Put::Taken);
            }
            objects.insert(key.to_owned(), object.clone());
            Ok(Put::Stored)
        }

        async fn head(&self, key: &str) -> Result<Option<Label>, StoreError> {
            self.asked("looking at", key)?;
            Ok(self
                .objects
                .borrow()
                .get(key)
                .map(|object| object.label.clone()))
        }

        async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
            self.asked("getting", key)?;
            Ok(self.objects.borrow().get(key).cloned())
        }

        async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Entry>, StoreError> {
            self.asked("listing", prefix)?;
            let objects = self.objects.borrow();
            let behind = |key: &&String| after.is_none_or(|after| key.as_str() > after);
            let keys = objects.keys().filter(|key| key.starts_with(prefix));
            let keys = keys.filter(behind);
            let entry = |key: &String| Entry {
                key: key.clone(),
                modified: 0,
            };
            Ok(keys.map(entry).collect())
        }
    }
}
