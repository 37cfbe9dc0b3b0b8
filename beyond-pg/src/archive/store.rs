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
    /// The objects whose keys begin so, in the order of their keys.
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError>;
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

        async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
            self.asked("listing", prefix)?;
            let objects = self.objects.borrow();
            let keys = objects.keys().filter(|key| key.starts_with(prefix));
            let entry = |key: &String| Entry {
                key: key.clone(),
                modified: 0,
            };
            Ok(keys.map(entry).collect())
        }
    }
}
