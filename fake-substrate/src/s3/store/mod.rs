//! Objects in a folder: what S3 promises about them, and no HTTP.
//!
//! ```text
//! buckets/<bucket>/<SHA-256 of the key>   an object, whole (footer.rs)
//! uploads/<id>/                           a multipart upload (uploads.rs)
//! incoming/                               bodies on their way in (incoming.rs)
//! ```
//!
//! The key's digest names the file because a key may be longer than a name, may hold `..`, and
//! `a` may stand beside `a/b`. What is in the buckets is read once at the start and kept in
//! memory, in the order of the keys.
//!
//! [`Store::publish`] is the one place where an object appears: under the lock it looks at the
//! condition, renames, and enters the object into the index. Nothing is flushed to the disk: the
//! double outlives its process at any point, not the power of the laptop.

mod api;
mod attributes;
mod checksums;
mod conditions;
mod footer;
mod incoming;
mod listing;
mod objects;
mod uploads;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use s3s::{S3Error, S3Result, s3_error};

use super::text::hex;
use conditions::WriteCondition;
use footer::Footer;
use incoming::{Draft, Incoming};

pub(super) use api::Api;

/// The buckets of a folder.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    incoming: Incoming,
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    made: SystemTime,
    objects: BTreeMap<String, Arc<Object>>,
}

/// An object as it stands.
#[derive(Debug)]
struct Object {
    footer: Footer,
    modified: SystemTime,
}

impl Store {
    /// Opens the folder, and makes `bucket` when it is not there.
    pub(super) fn open(dir: PathBuf, bucket: &str) -> io::Result<Self> {
        fs::create_dir_all(dir.join("uploads"))?;
        fs::create_dir_all(dir.join("buckets").join(bucket))?;
        let mut buckets = BTreeMap::new();
        for entry in fs::read_dir(dir.join("buckets"))? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                buckets.insert(name, Bucket::load(&entry.path())?);
            }
        }
        Ok(Self {
            incoming: Incoming::open(dir.join("incoming"))?,
            buckets: Mutex::new(buckets),
            dir,
        })
    }

    /// Makes a draft that ends with `footer` the object, if `condition` holds at this instant.
    fn publish(
        &self,
        bucket: &str,
        draft: Draft,
        footer: Footer,
        condition: &WriteCondition,
    ) -> S3Result<Arc<Object>> {
        let path = self.path(bucket, &footer.key);
        let mut buckets = self.buckets();
        let objects = &mut known(&mut buckets, bucket)?.objects;
        let current = objects.get(&footer.key);
        condition.check(current.map(|object| object.footer.etag.as_str()))?;
        let modified = fs::metadata(draft.path()).and_then(|file| file.modified());
        let modified = modified.map_err(S3Error::internal_error)?;
        draft
            .become_object(&path)
            .map_err(S3Error::internal_error)?;
        let object = Arc::new(Object { footer, modified });
        objects.insert(object.footer.key.clone(), Arc::clone(&object));
        Ok(object)
    }

    /// An object and its open file: what is read from it then is this version, whoever replaces it.
    fn read(&self, bucket: &str, key: &str) -> S3Result<(Arc<Object>, File)> {
        let mut buckets = self.buckets();
        let object = known(&mut buckets, bucket)?.objects.get(key);
        let object = Arc::clone(object.ok_or_else(|| s3_error!(NoSuchKey))?);
        let file = File::open(self.path(bucket, key)).map_err(S3Error::internal_error)?;
        Ok((object, file))
    }

    fn look(&self, bucket: &str, key: &str) -> S3Result<Arc<Object>> {
        let mut buckets = self.buckets();
        let object = known(&mut buckets, bucket)?.objects.get(key).cloned();
        object.ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// No object is as good as one less.
    fn remove(&self, bucket: &str, key: &str, condition: &WriteCondition) -> S3Result<()> {
        let mut buckets = self.buckets();
        let objects = &mut known(&mut buckets, bucket)?.objects;
        let current = objects.get(key);
        condition.check(current.map(|object| object.footer.etag.as_str()))?;
        if current.is_some() {
            fs::remove_file(self.path(bucket, key)).map_err(S3Error::internal_error)?;
            objects.remove(key);
        }
        Ok(())
    }

    fn add_bucket(&self, bucket: &str) -> S3Result<()> {
        match self.buckets().entry(bucket.to_owned()) {
            Entry::Occupied(_) => Err(s3_error!(BucketAlreadyOwnedByYou)),
            Entry::Vacant(vacant) => {
                let dir = self.dir.join("buckets").join(bucket);
                let made = fs::create_dir_all(&dir).and_then(|()| Bucket::load(&dir));
                vacant.insert(made.map_err(S3Error::internal_error)?);
                Ok(())
            }
        }
    }

    fn remove_bucket(&self, bucket: &str) -> S3Result<()> {
        let mut buckets = self.buckets();
        if !known(&mut buckets, bucket)?.objects.is_empty() {
            return Err(s3_error!(BucketNotEmpty));
        }
        let removed = fs::remove_dir_all(self.dir.join("buckets").join(bucket));
        removed.map_err(S3Error::internal_error)?;
        buckets.remove(bucket);
        Ok(())
    }

    fn must_have(&self, bucket: &str) -> S3Result<()> {
        known(&mut self.buckets(), bucket).map(drop)
    }

    fn path(&self, bucket: &str, key: &str) -> PathBuf {
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        let name = hex(digest.as_ref());
        self.dir.join("buckets").join(bucket).join(name)
    }

    /// A panic elsewhere leaves a whole index: each change of it is one call.
    fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known<'b>(buckets: &'b mut BTreeMap<String, Bucket>, bucket: &str) -> S3Result<&'b mut Bucket> {
    let found = buckets.get_mut(bucket);
    found.ok_or_else(|| s3_error!(NoSuchBucket))
}

impl Bucket {
    fn load(dir: &Path) -> io::Result<Self> {
        let mut objects = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            match Footer::of(&path) {
                Ok(footer) => {
                    let modified = fs::metadata(&path)?.modified()?;
                    let object = Arc::new(Object { footer, modified });
                    objects.insert(object.footer.key.clone(), object);
                }
                // The laptop lost its power, or somebody else wrote here.
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "not an S3 object, and left out");
                }
            }
        }
        Ok(Self {
            made: fs::metadata(dir)?.modified()?,
            objects,
        })
    }
}
