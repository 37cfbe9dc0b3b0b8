//! Getting one file out of the archive. What it must never do is to take "not now" for "not there":
//! Postgres would end recovery at a hole (facts A 16).

use std::time::Duration;

use thiserror::Error;
use tokio::task::{JoinError, spawn_blocking};

use crate::archive::file::WalFile;
use crate::archive::object::Damage;
use crate::archive::place::Place;
use crate::archive::store::{Store, StoreError};
use crate::fx::clock;

/// Waits between tries; the client has tried several times in each. Postgres asks again when its next
/// start does.
const WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{key} of the archive is damaged: {damage}\nHINT: restore the object, if the bucket keeps versions"
    )]
    Damaged { key: String, damage: Damage },
    #[error("unpacking a file of the archive")]
    Task(#[from] JoinError),
}

/// The content of `file`; `None`: the archive does not have it.
pub(crate) async fn fetch(
    store: &impl Store,
    place: &Place,
    file: &WalFile,
) -> Result<Option<Vec<u8>>, FetchError> {
    let mut waits = WAITS.into_iter();
    loop {
        let error = match once(store, place, file).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let Some(wait) = waits.next() else {
            return Err(error);
        };
        tracing::warn!("trying again in {} s: {error}", wait.as_secs());
        clock::pause(wait).await;
    }
}

async fn once(
    store: &impl Store,
    place: &Place,
    file: &WalFile,
) -> Result<Option<Vec<u8>>, FetchError> {
    let key = place.file(file);
    let Some(object) = store.get(&key).await? else {
        return Ok(None);
    };
    // Other requests go on meanwhile.
    match spawn_blocking(move || object.content()).await? {
        Ok(content) => Ok(Some(content)),
        Err(damage) => Err(FetchError::Damaged { key, damage }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::object::Object;
    use crate::archive::store::Why;
    use crate::archive::store::memory::Memory;

    const NAME: &str = "00000002.history";

    fn store_with(content: &[u8]) -> Memory {
        let store = Memory::default();
        let object = Object::of(content, 42).unwrap();
        let key = format!("wal/{NAME}.lz4");
        store.objects.borrow_mut().insert(key, object);
        store
    }

    async fn restore(store: &Memory, name: &str) -> Result<Option<Vec<u8>>, FetchError> {
        fetch(store, &Place::new("", None), &WalFile::parse(name).unwrap()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_there_or_not_and_trouble_is_neither() {
        let store = store_with(b"text");
        let found = restore(&store, NAME).await.unwrap();
        assert_eq!(found.as_deref(), Some(b"text".as_slice()));
        assert_eq!(restore(&store, "00000003.history").await.unwrap(), None);

        store.refuses.set(3);
        let found = restore(&store, NAME).await.unwrap();
        assert_eq!(
            found.as_deref(),
            Some(b"text".as_slice()),
            "after three tries"
        );

        for why in [Why::Trouble, Why::Forbidden, Why::NoBucket] {
            store.refused_for.set(Some(why));
            store.refuses.set(100);
            let error = restore(&store, "00000003.history").await.unwrap_err();
            assert!(matches!(error, FetchError::Store(_)), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_damaged_object_is_an_error_and_no_file() {
        let store = store_with(b"text");
        let key = format!("wal/{NAME}.lz4");
        store
            .objects
            .borrow_mut()
            .get_mut(&key)
            .unwrap()
            .body
            .truncate(8);
        let error = restore(&store, NAME).await.unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}
