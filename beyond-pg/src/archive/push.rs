//! Putting one file into the archive: once, by content (contract 10).

use thiserror::Error;

use crate::archive::file::{Flaw, WalFile};
use crate::archive::object::{Damage, Object};
use crate::archive::place::{Cluster, Place};
use crate::archive::store::{Put, Store, StoreError};

/// Why a file is not archived.
#[derive(Debug, Error)]
pub(crate) enum PushError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{name} is not archived: {flaw}\nHINT: keep the volume as it is and look at the file with pg_waldump"
    )]
    Flawed { name: String, flaw: Flaw },
    #[error(
        "{key} holds another file of this name: its SHA-256 is {there}, and that of ours {ours}. Nothing was \
         overwritten.\n\
         HINT: two databases write here, or this one has lost what it had archived; give it a new \
         BEYOND_PG_ARCHIVE_TARGET, and take a snapshot: an archive begins at one"
    )]
    OtherContent {
        key: String,
        there: String,
        ours: String,
    },
    #[error(
        "{key} says that this is the archive of the cluster with system id {theirs}, and ours is {ours}. Nothing \
         was archived.\n\
         HINT: give this database a prefix of its own in BEYOND_PG_ARCHIVE_TARGET"
    )]
    OtherCluster { key: String, theirs: u64, ours: u64 },
    #[error(
        "{key} is there and does not say whose archive it is\nHINT: look at it, and remove it if nobody misses it"
    )]
    Nobodys { key: String },
    #[error(
        "{key} was there a moment ago and is gone\nHINT: somebody deletes what is being archived"
    )]
    Vanished { key: String },
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error("packing a file for the archive")]
    Pack(#[from] std::io::Error),
    #[error("packing whose archive this is")]
    Encode(#[from] serde_json::Error),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Stored,
    /// The same file was there already.
    WasThere,
}

/// Archives `content` as `file` of the cluster `system_id`.
pub(crate) async fn push(
    store: &impl Store,
    place: &Place,
    file: &WalFile,
    content: &[u8],
    system_id: u64,
) -> Result<Pushed, PushError> {
    file.check(content, system_id)
        .map_err(|flaw| PushError::Flawed {
            name: file.name().to_owned(),
            flaw,
        })?;
    claim(store, place, system_id).await?;
    let key = place.file(file);
    let object = Object::of(content, system_id)?;
    match store.put_if_absent(&key, &object).await? {
        Put::Stored => return Ok(Pushed::Stored),
        Put::Taken => {}
    }
    // Ours of a moment ago whose answer was lost, ours of before a crash (facts A 24), or another's.
    let Some(there) = store.head(&key).await? else {
        return Err(PushError::Vanished { key });
    };
    if there.sha256 == object.label.sha256 {
        return Ok(Pushed::WasThere);
    }
    let (there, ours) = (there.sha256, object.label.sha256);
    Err(PushError::OtherContent { key, there, ours })
}

/// Makes the place this cluster's, or sees that it is. Of several that come at once, one wins.
pub(crate) async fn claim(
    store: &impl Store,
    place: &Place,
    system_id: u64,
) -> Result<(), PushError> {
    let key = place.cluster();
    let mut there = store.get(&key).await?;
    if there.is_none() {
        let ours = serde_json::to_vec(&Cluster { system_id })?;
        match store
            .put_if_absent(&key, &Object::of(&ours, system_id)?)
            .await?
        {
            Put::Stored => return Ok(()),
            Put::Taken => there = store.get(&key).await?,
        }
    }
    let Some(there) = there else {
        return Err(PushError::Vanished { key });
    };
    match serde_json::from_slice::<Cluster>(&there.content()?) {
        Ok(cluster) if cluster.system_id == system_id => Ok(()),
        Ok(cluster) => Err(PushError::OtherCluster {
            key,
            theirs: cluster.system_id,
            ours: system_id,
        }),
        Err(_not_ours) => Err(PushError::Nobodys { key }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::file::tests::segment;
    use crate::archive::store::memory::Memory;

    const NAME: &str = "000000010000000000000002";

    async fn archive(store: &Memory, name: &str, content: &[u8]) -> Result<Pushed, PushError> {
        let file = WalFile::parse(name).unwrap();
        push(store, &Place::new("p", Some("i-1")), &file, content, 42).await
    }

    #[tokio::test]
    async fn the_same_file_twice_is_archived_once_and_another_of_its_name_never() {
        let store = Memory::default();
        let content = segment(NAME, 42);
        assert_eq!(
            archive(&store, NAME, &content).await.unwrap(),
            Pushed::Stored
        );
        assert_eq!(
            archive(&store, NAME, &content).await.unwrap(),
            Pushed::WasThere
        );
        let before = store.objects.borrow().clone();
        let mut other = content;
        other[9000] = 1;
        let error = archive(&store, NAME, &other).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("holds another file of this name"),
            "{error}"
        );
        assert_eq!(*store.objects.borrow(), before);
    }

    #[tokio::test]
    async fn histories_and_backup_labels_are_archived_as_they_are() {
        let store = Memory::default();
        for name in [
            "00000002.history",
            "000000010000000000000002.00000028.backup",
        ] {
            assert_eq!(
                archive(&store, name, b"text").await.unwrap(),
                Pushed::Stored
            );
            let key = format!("p/i-1/wal/{name}.lz4");
            let kept = store.objects.borrow()[&key].content().unwrap();
            assert_eq!(kept, b"text");
        }
    }

    #[tokio::test]
    async fn anothers_archive_is_refused_before_anything_is_put() {
        let store = Memory::default();
        let place = Place::new("p", Some("i-1"));
        claim(&store, &place, 7).await.unwrap();
        let error = archive(&store, NAME, &segment(NAME, 42)).await.unwrap_err();
        assert!(
            matches!(
                error,
                PushError::OtherCluster {
                    theirs: 7,
                    ours: 42,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(store.objects.borrow().len(), 1);
    }

    #[tokio::test]
    async fn a_segment_that_was_cut_short_never_reaches_the_archive() {
        let store = Memory::default();
        let error = archive(&store, NAME, &segment(NAME, 42)[..8192])
            .await
            .unwrap_err();
        assert!(error.to_string().contains("has 8192 bytes"), "{error}");
        assert_eq!(store.requests.get(), 0);
    }
}
