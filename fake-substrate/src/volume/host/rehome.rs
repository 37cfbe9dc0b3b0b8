//! A volume comes to this host from object storage alone.

use std::collections::BTreeMap;

use super::{Host, HostError};
use crate::volume::VolumeName;
use crate::volume::backing::ObjectError;
use crate::volume::store::map::{Entry, ObjectId};
use crate::volume::store::record::{Flushed, Record};
use crate::volume::store::refused::Refused;
use crate::volume::store::root::{ROOTS, Root, Table, claim_key, root_key, table_key};

impl Host {
    /// Takes a volume over as of its flush point. The root gets the next generation first: from
    /// then on whoever had the volume before cannot move the flush point any more. The map is read
    /// whole, blocks when somebody wants them.
    pub fn rehome(&self, volume: &VolumeName) -> Result<(), HostError> {
        let _one = self.one_at_a_time();
        self.books().may_rehome(volume)?;
        let key = root_key(volume);
        let (root, tag) = self.root(volume)?;
        let root = Root {
            generation: root.generation + 1,
            host: self.name.clone(),
            ..root
        };
        let bytes = root.encode().map_err(|damage| HostError::Object {
            key: key.clone(),
            damage,
        })?;
        let tag = self.objects.replace(&key, &bytes, Some(&tag))?;

        // A fenced copy that is still here.
        let stale = self.books().here(volume).is_ok();
        let mut batch = Vec::from_iter(stale.then(|| Record::Lost {
            volume: volume.clone(),
        }));
        let leaves = self.leaves(&root)?;
        self.claim(&leaves)?;
        batch.extend(leaves);
        let leaves = root
            .tables
            .keys()
            .zip(0..)
            .map(|(number, id)| (*number, id));
        let leaves = leaves.collect();
        batch.push(Record::Volume {
            meta: root.meta,
            flushed: Flushed {
                generation: root.generation,
                sequence: root.sequence,
                at_ms: root.at_ms,
                tag: Some(tag),
                tables: root.tables,
            },
            leaves,
            dirty: false,
        });
        let mut books = self.books_mut();
        books.may_rehome(volume)?;
        self.change(&mut books, batch)
    }

    /// Before anything here depends on objects of another host: from now on a fork may be the only one that
    /// needs them, and no root tells of a fork that is ephemeral or not flushed yet.
    fn claim(&self, leaves: &[Record]) -> Result<(), HostError> {
        let entries = leaves.iter().filter_map(|record| match record {
            Record::Leaf { entries, .. } => Some(entries),
            _ => None,
        });
        let (foreign, key) = {
            let books = self.books();
            let foreign = entries.flatten().any(|entry| match entry {
                Entry::Packed(pack, _index) => !books.nonces().contains(&pack.nonce()),
                Entry::Hole | Entry::Local(_) => false,
            });
            (foreign, claim_key(books.nonce()))
        };
        if foreign && self.objects.get(&key)?.is_none() {
            match self.objects.replace(&key, b"", None) {
                Ok(_) | Err(ObjectError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The flush points that object storage has, whoever wrote them.
    pub fn roots(&self) -> Result<Vec<Root>, HostError> {
        let listed = self.objects.list(ROOTS)?;
        let names = listed
            .iter()
            .filter_map(|root| root.key.strip_prefix(ROOTS)?.parse().ok());
        let mut roots = Vec::new();
        for name in names {
            match self.root(&name) {
                Ok((root, _tag)) => roots.push(root),
                // Destroyed between the list and the look.
                Err(HostError::Refused(Refused::NoFlushPoint(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(roots)
    }

    fn root(&self, volume: &VolumeName) -> Result<(Root, String), HostError> {
        let key = root_key(volume);
        let there = self.objects.get(&key)?;
        let (bytes, tag) = there.ok_or_else(|| Refused::NoFlushPoint(volume.clone()))?;
        let root = Root::decode(&bytes);
        let root = root.map_err(|damage| HostError::Object { key, damage })?;
        Ok((root, tag))
    }

    /// The leaves of a root in its own order, as the journal tells them.
    fn leaves(&self, root: &Root) -> Result<Vec<Record>, HostError> {
        let mut tables = BTreeMap::new();
        for object in root.tables.values() {
            if !tables.contains_key(object) {
                tables.insert(*object, self.table(*object)?);
            }
        }
        let mut leaves = Vec::with_capacity(root.tables.len());
        for ((number, object), id) in root.tables.iter().zip(0..) {
            let leaf = tables.get(object).and_then(|table| table.0.get(number));
            let leaf = leaf.ok_or_else(|| HostError::Missing(table_key(*object)))?;
            let entry = |remote: &Option<_>| {
                remote.map_or(Entry::Hole, |(pack, index)| Entry::Packed(pack, index))
            };
            leaves.push(Record::Leaf {
                id,
                entries: leaf.iter().map(entry).collect(),
            });
        }
        Ok(leaves)
    }

    pub(super) fn table(&self, object: ObjectId) -> Result<Table, HostError> {
        let key = table_key(object);
        let there = self.objects.get(&key)?;
        let (bytes, _tag) = there.ok_or_else(|| HostError::Missing(key.clone()))?;
        Table::decode(&bytes).map_err(|damage| HostError::Object { key, damage })
    }
}
