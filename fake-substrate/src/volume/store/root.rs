//! What object storage holds, beside the packs:
//!
//! ```text
//! packs/<id>     up to 1024 blocks, see `pack`                          never changed
//! tables/<id>    leaves: where each of their 512 blocks is              never changed
//! claims/<nonce> empty: this start of a host may need other hosts' objects, roots or no roots
//! roots/<name>   one volume: what it is, generation, which table holds which leaf
//!                the only object that is ever replaced, and only by whoever read the last version
//! ```
//!
//! A flush writes packs, then a table, then replaces the root: until the last step nothing of it
//! counts, after it all of it does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::codec::{self, Damaged};
use super::map::{LEAF_BLOCKS, LeafNo, ObjectId};
use super::record::Meta;
use super::slots::Remote;
use crate::volume::VolumeName;

const ROOT: [u8; 4] = *b"BYR1";
const TABLE: [u8; 4] = *b"BYT1";

/// Where the roots are.
pub const ROOTS: &str = "roots/";
/// Where the packs are.
pub const PACKS: &str = "packs/";
/// Where hosts say that they may need objects of others beyond what roots mention.
pub const CLAIMS: &str = "claims/";
/// Where the tables are.
pub const TABLES: &str = "tables/";

/// The flush point of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// What it is.
    pub meta: Meta,
    /// Which attachment wrote it.
    pub generation: u64,
    /// Which flush.
    pub sequence: u64,
    /// When the snapshot was taken.
    pub at_ms: u64,
    /// Which table holds which leaf.
    pub tables: BTreeMap<LeafNo, ObjectId>,
    /// Which host wrote it, for people.
    #[serde(default)]
    pub host: String,
}

/// Where the blocks of a leaf are; `None` is a hole.
pub type RemoteLeaf = Vec<Option<Remote>>;

/// Some leaves, as of one flush.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Table(pub BTreeMap<LeafNo, RemoteLeaf>);

/// The key of a root.
pub fn root_key(volume: &VolumeName) -> String {
    format!("{ROOTS}{volume}")
}

/// The key of a pack.
pub fn pack_key(id: ObjectId) -> String {
    format!("{PACKS}{id}")
}

/// The key of a table.
pub fn table_key(id: ObjectId) -> String {
    format!("{TABLES}{id}")
}

/// The key of a claim.
pub fn claim_key(nonce: u32) -> String {
    format!("{CLAIMS}{nonce:08x}")
}

/// Which start of a host a claim is of.
pub fn claimant(key: &str) -> Option<u32> {
    u32::from_str_radix(key.strip_prefix(CLAIMS)?, 16).ok()
}

/// Which pack or table a key names.
pub fn id_of(key: &str) -> Option<ObjectId> {
    let id = key.strip_prefix(PACKS).or(key.strip_prefix(TABLES))?;
    u64::from_str_radix(id, 16).ok().map(ObjectId)
}

impl Root {
    /// The object.
    pub fn encode(&self) -> Result<Vec<u8>, Damaged> {
        codec::seal(ROOT, self)
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        whole(ROOT, bytes)
    }
}

impl Table {
    /// The object.
    pub fn encode(&self) -> Result<Vec<u8>, Damaged> {
        codec::seal(TABLE, self)
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let table: Self = whole(TABLE, bytes)?;
        if table.0.values().all(|leaf| leaf.len() == LEAF_BLOCKS) {
            Ok(table)
        } else {
            Err(Damaged::Content(format!(
                "a leaf that has not {LEAF_BLOCKS} blocks"
            )))
        }
    }
}

fn whole<T: serde::de::DeserializeOwned>(magic: [u8; 4], bytes: &[u8]) -> Result<T, Damaged> {
    let (value, length) = codec::open(magic, bytes)?;
    if length == bytes.len() {
        Ok(value)
    } else {
        Err(Damaged::Content(format!(
            "{} bytes follow it",
            bytes.len() - length
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::{Damaged, ObjectId, Table, id_of, pack_key, table_key};

    #[test]
    fn a_key_names_its_object_again() {
        let id = ObjectId(0xdead_beef_0000_0001);
        assert_eq!(pack_key(id), "packs/deadbeef00000001");
        assert_eq!([id_of(&pack_key(id)), id_of(&table_key(id))], [Some(id); 2]);
        assert_eq!(id_of("packs/x"), None);
        assert_eq!(id_of("roots/deadbeef00000001"), None);
    }

    #[test]
    fn a_table_is_read_back_and_one_with_a_short_leaf_or_a_tail_is_refused() {
        let mut table = Table::default();
        let mut leaf = vec![None; 512];
        leaf[3] = Some((ObjectId(1), 2));
        table.0.insert(7, leaf);
        let mut bytes = table.encode().unwrap();
        assert_eq!(Table::decode(&bytes).unwrap(), table);
        bytes.push(0);
        assert!(matches!(Table::decode(&bytes), Err(Damaged::Content(_))));
        table.0.insert(8, vec![None; 3]);
        let bytes = table.encode().unwrap();
        assert!(matches!(Table::decode(&bytes), Err(Damaged::Content(_))));
    }
}
