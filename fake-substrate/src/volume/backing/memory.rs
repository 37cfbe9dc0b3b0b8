//! Memory as local SSD and as object storage, with what the tests want to break.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::{Arena, Journal, Listed, ObjectError, Objects, Tag};

/// Clones are the same memory: it outlives the host that used it.
#[derive(Debug, Clone, Default)]
pub struct MemoryArena(Arc<Mutex<Vec<u8>>>);

impl MemoryArena {
    /// Another memory with the same content.
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(lock(&self.0).clone())))
    }
}

impl Arena for MemoryArena {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = lock(&self.0);
        let from = usize::try_from(offset).unwrap();
        let there = bytes.get(from..).unwrap_or_default();
        let (filled, beyond) = buffer.split_at_mut(there.len().min(buffer.len()));
        filled.copy_from_slice(&there[..filled.len()]);
        beyond.fill(0);
        Ok(())
    }

    fn write(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        let mut bytes = lock(&self.0);
        let from = usize::try_from(offset).unwrap();
        let end = bytes.len().max(from + new.len());
        bytes.resize(end, 0);
        bytes[from..from + new.len()].copy_from_slice(new);
        Ok(())
    }

    /// A slot that is given back and read all the same must not look right by luck.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.write(offset, &vec![0xdd; usize::try_from(length).unwrap()])
    }
}

/// Clones are the same memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal(pub Arc<Mutex<Vec<u8>>>);

impl Journal for MemoryJournal {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(lock(&self.0).clone())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        lock(&self.0).truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        lock(&self.0).extend(frame);
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        *lock(&self.0) = bytes.to_vec();
        Ok(())
    }

    fn length(&self) -> u64 {
        lock(&self.0).len() as u64
    }
}

/// What happens to the next request that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused.
    Refuse,
    /// It is carried out and the answer is lost.
    LoseReply,
}

#[derive(Debug, Default)]
struct Bucket {
    objects: BTreeMap<String, (Vec<u8>, u64)>,
    versions: u64,
    faults: Vec<(String, Fault)>,
    gets: u64,
}

/// Reads of parts of objects wait here while it is shut.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    shut: bool,
    keys: Vec<String>,
}

/// Clones are the same bucket.
#[derive(Debug, Clone, Default)]
pub struct MemoryObjects(Arc<Mutex<Bucket>>, Arc<Gate>);

impl MemoryObjects {
    /// The next change of a key that begins with `prefix` goes wrong.
    pub fn break_next(&self, prefix: &str, fault: Fault) {
        lock(&self.0).faults.push((prefix.to_owned(), fault));
    }

    /// Nothing goes wrong any more.
    pub fn mend(&self) {
        lock(&self.0).faults.clear();
    }

    /// Every key.
    pub fn keys(&self) -> Vec<String> {
        lock(&self.0).objects.keys().cloned().collect()
    }

    /// How many reads there were.
    pub fn gets(&self) -> u64 {
        lock(&self.0).gets
    }

    /// From now on reads of parts wait.
    pub fn shut(&self) {
        lock(&self.1.state).shut = true;
    }

    /// Lets all through that wait.
    pub fn open(&self) {
        *lock(&self.1.state) = Waiting::default();
        self.1.changed.notify_all();
    }

    /// What those who wait want.
    pub fn waited_for(&self) -> Vec<String> {
        lock(&self.1.state).keys.clone()
    }

    /// Changes a byte of an object.
    pub fn flip(&self, key: &str, at: usize) {
        let mut bucket = lock(&self.0);
        bucket.objects.get_mut(key).unwrap().0[at] ^= 1;
    }

    fn change<T>(
        &self,
        key: &str,
        change: impl FnOnce(&mut Bucket) -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        let mut bucket = lock(&self.0);
        let fault = bucket
            .faults
            .iter()
            .position(|(prefix, _)| key.starts_with(prefix.as_str()));
        let fault = fault.map(|at| bucket.faults.remove(at).1);
        let lost = || ObjectError::Io {
            verb: "change",
            key: key.to_owned(),
            source: io::ErrorKind::ConnectionReset.into(),
        };
        match fault {
            Some(Fault::Refuse) => Err(lost()),
            Some(Fault::LoseReply) => change(&mut bucket).and_then(|_done| Err(lost())),
            None => change(&mut bucket),
        }
    }
}

impl Objects for MemoryObjects {
    fn put(&self, key: &str, body: &[u8]) -> Result<(), ObjectError> {
        self.change(key, |bucket| {
            let before = bucket.objects.insert(key.to_owned(), (body.to_vec(), 0));
            assert!(before.is_none(), "{key} was written twice");
            Ok(())
        })
    }

    fn replace(&self, key: &str, body: &[u8], expected: Option<&str>) -> Result<Tag, ObjectError> {
        self.change(key, |bucket| {
            let there = bucket
                .objects
                .get(key)
                .map(|(_, version)| version.to_string());
            if there.as_deref() != expected {
                return Err(ObjectError::Conflict {
                    key: key.to_owned(),
                });
            }
            bucket.versions += 1;
            let version = bucket.versions;
            bucket
                .objects
                .insert(key.to_owned(), (body.to_vec(), version));
            Ok(version.to_string())
        })
    }

    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Tag)>, ObjectError> {
        let mut bucket = lock(&self.0);
        bucket.gets += 1;
        let there = bucket.objects.get(key).cloned();
        Ok(there.map(|(body, version)| (body, version.to_string())))
    }

    fn get_range(&self, key: &str, from: u64, length: u64) -> Result<Option<Vec<u8>>, ObjectError> {
        let mut waiting = lock(&self.1.state);
        if waiting.shut {
            waiting.keys.push(key.to_owned());
            drop(self.1.changed.wait_while(waiting, |waiting| waiting.shut));
        } else {
            drop(waiting);
        }
        let body = self.get(key)?.map(|(body, _tag)| body);
        let place = |figure: u64| usize::try_from(figure).unwrap();
        Ok(body.map(|body| {
            let from = place(from).min(body.len());
            let end = (from + place(length)).min(body.len());
            body[from..end].to_vec()
        }))
    }

    fn delete(&self, key: &str) -> Result<(), ObjectError> {
        self.change(key, |bucket| {
            bucket.objects.remove(key);
            Ok(())
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, ObjectError> {
        let bucket = lock(&self.0);
        let there = bucket.objects.iter();
        let there = there.filter(|(key, _)| key.starts_with(prefix));
        let listed = there.map(|(key, (body, _version))| Listed {
            key: key.clone(),
            bytes: body.len() as u64,
        });
        Ok(listed.collect())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
