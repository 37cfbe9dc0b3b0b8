//! The block store's routes: their JSON shapes, and the client's side. The store is a process of its
//! own, with a token of its own, since it alone is privileged.

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{AdminClient, AdminError, Body};
use crate::volume::VolumeName;
use crate::volume::store::cut::Tear;
use crate::volume::trouble::{Struck, Trouble};

/// Whatever waits for object storage or for a loop device.
const SLOW: Duration = Duration::from_secs(120);

/// `POST /volumes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    /// Its name.
    pub name: VolumeName,
    /// Its size, a multiple of 4096.
    pub bytes: u64,
    /// What is on it at first; zeroes when absent.
    #[serde(default)]
    pub file_system: Option<FileSystem>,
    /// Never written to object storage.
    #[serde(default)]
    pub ephemeral: bool,
    /// After so many seconds it is destroyed, once nobody uses it.
    #[serde(default)]
    pub ttl_s: Option<u64>,
}

/// An empty file system that a volume is born with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSystem {
    /// What machines mount (K-002): blocks of 4096 bytes, labelled `beyond-data`.
    Ext4,
}

/// `POST /volumes/{name}/fork`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkVolume {
    /// The child's name.
    pub child: VolumeName,
    /// Never written to object storage.
    #[serde(default)]
    pub ephemeral: bool,
    /// After so many seconds it is destroyed, once nobody uses it.
    #[serde(default)]
    pub ttl_s: Option<u64>,
}

/// `POST /volumes/{name}/grow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrowVolume {
    /// Its size from now on, a multiple of 4096, and not less than it has.
    pub bytes: u64,
}

/// `POST /volumes/{name}/power-cut`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutPower {
    /// The choice; a random one when absent.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The smallest piece that is written whole.
    #[serde(default)]
    pub tear: Tear,
}

/// What a power cut did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerCutReport {
    /// The choice it made: given again for the same cache, the same cut.
    pub seed: u64,
    /// Blocks that were not synced.
    pub unsynced: usize,
    /// How many of them did not simply fall back to what was synced.
    pub survived: usize,
    /// How many of those came out torn.
    pub torn: usize,
}

/// `POST /volumes/{name}/attach`: the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedDisk {
    /// The loop device, for a container's `--device DEVICE:/dev/vdb`.
    pub device: String,
}

/// `DELETE /volumes/{name}?keep_children=true`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestroyQuery {
    /// Forks stay; without it a volume with forks is not destroyed.
    #[serde(default)]
    pub keep_children: bool,
}

/// Where a volume's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeStanding {
    /// On the host, in nobody's hands.
    Detached,
    /// On the host, a machine has it.
    Attached,
    /// Lost with its host; object storage may have it.
    Lost,
    /// Taken over by another host.
    Fenced,
}

/// The state that losing the host falls back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushPointReport {
    /// Counts rehomes.
    pub generation: u64,
    /// Counts flushes.
    pub sequence: u64,
    /// When its snapshot was taken, milliseconds of the Unix epoch.
    pub at_ms: u64,
}

/// `GET /volumes`: one of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeReport {
    /// Its name.
    pub name: VolumeName,
    /// Its size.
    pub bytes: u64,
    /// Never written to object storage.
    pub ephemeral: bool,
    /// Whose fork it is.
    pub parent: Option<VolumeName>,
    /// Its forks.
    pub children: Vec<VolumeName>,
    /// Where it is.
    pub standing: VolumeStanding,
    /// Its disk, while attached to a container.
    pub device: Option<String>,
    /// What a power cut may take: blocks written and not flushed by the guest.
    pub unsynced_blocks: u64,
    /// What the loss of the host would take: bytes written since the flush point.
    pub dirty_bytes: u64,
    /// That is so much that writes wait for object storage.
    pub writes_wait: bool,
    /// Which requests fail or come late on purpose.
    #[serde(default)]
    pub troubles: Vec<Struck>,
    /// What the loss of the host falls back to.
    pub flush_point: Option<FlushPointReport>,
    /// When it may be destroyed by itself, milliseconds of the Unix epoch.
    pub expires_ms: Option<u64>,
}

/// `GET /roots`: a volume as object storage has it, on whichever host it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootReport {
    /// Its name.
    pub name: VolumeName,
    /// Its size.
    pub bytes: u64,
    /// Whose fork it is, as its host had it at the flush.
    pub parent: Option<VolumeName>,
    /// The state that a rehome brings back.
    pub flush_point: FlushPointReport,
    /// Which host wrote it.
    pub host: String,
    /// Whether it is on the host that was asked, and not fenced there.
    pub here: bool,
    /// When it may be destroyed by itself, milliseconds of the Unix epoch.
    pub expires_ms: Option<u64>,
}

/// `GET /stats`: the host's own disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// Bytes of blocks in use.
    pub used_bytes: u64,
    /// Bytes of blocks that can be used again.
    pub free_bytes: u64,
}

/// `POST /collect`: what was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectReport {
    /// Blocks of the host's own disk.
    pub blocks: usize,
    /// Objects.
    pub objects: usize,
}

impl AdminClient {
    /// Every volume of the store, by name.
    pub async fn volumes(&self) -> Result<Vec<VolumeReport>, AdminError> {
        self.call(Method::GET, "/volumes", Body::None).await
    }

    /// One volume.
    pub async fn volume(&self, name: &VolumeName) -> Result<VolumeReport, AdminError> {
        self.call(Method::GET, &path(name, ""), Body::None).await
    }

    /// Makes a volume. One that is not ephemeral is in object storage when this returns.
    pub async fn create_volume(&self, new: &CreateVolume) -> Result<(), AdminError> {
        self.call_within(SLOW, Method::POST, "/volumes", Body::json(new))
            .await
    }

    /// Forks a volume as it is now.
    pub async fn fork_volume(
        &self,
        parent: &VolumeName,
        new: &ForkVolume,
    ) -> Result<(), AdminError> {
        self.act(parent, "/fork", Body::json(new)).await
    }

    /// Makes a volume larger, and with it the disk that it is and an ext4 on that. One that is not ephemeral
    /// has its new size in object storage when this returns. Asked for what it has, it completes what was cut.
    pub async fn grow_volume(&self, name: &VolumeName, to: GrowVolume) -> Result<(), AdminError> {
        self.act(name, "/grow", Body::json(&to)).await
    }

    /// Makes a volume a disk.
    pub async fn attach_volume(&self, name: &VolumeName) -> Result<AttachedDisk, AdminError> {
        self.act(name, "/attach", Body::None).await
    }

    /// Takes the disk away.
    pub async fn detach_volume(&self, name: &VolumeName) -> Result<(), AdminError> {
        self.act(name, "/detach", Body::None).await
    }

    /// Makes now the flush point.
    pub async fn flush_volume(&self, name: &VolumeName) -> Result<FlushPointReport, AdminError> {
        self.act(name, "/flush", Body::None).await
    }

    /// Cuts the power: the disk answers with errors from now on, and part of what was not synced is
    /// gone.
    pub async fn cut_power(
        &self,
        name: &VolumeName,
        cut: CutPower,
    ) -> Result<PowerCutReport, AdminError> {
        self.act(name, "/power-cut", Body::json(&cut)).await
    }

    /// The volume's host is gone.
    pub async fn lose_volume(&self, name: &VolumeName) -> Result<(), AdminError> {
        self.act(name, "/lose", Body::None).await
    }

    /// What object storage holds, of every host that shares it.
    pub async fn roots(&self) -> Result<Vec<RootReport>, AdminError> {
        self.call_within(SLOW, Method::GET, "/roots", Body::None)
            .await
    }

    /// Brings a volume back as of its flush point, from object storage alone, also one that this host
    /// never heard of. One that is here already stays as it is.
    pub async fn rehome_volume(&self, name: &VolumeName) -> Result<(), AdminError> {
        self.act(name, "/rehome", Body::None).await
    }

    /// Has requests of its disk fail or come late, in place of what was the matter with it before.
    pub async fn trouble_volume(
        &self,
        name: &VolumeName,
        troubles: &[Trouble],
    ) -> Result<(), AdminError> {
        let path = path(name, "/fault");
        self.call(Method::PUT, &path, Body::json(&troubles)).await
    }

    /// Has its disk serve every request as it should; those that are held at once.
    pub async fn heal_volume(&self, name: &VolumeName) -> Result<(), AdminError> {
        self.call(Method::DELETE, &path(name, "/fault"), Body::None)
            .await
    }

    /// Destroys a volume.
    pub async fn destroy_volume(
        &self,
        name: &VolumeName,
        keep_children: bool,
    ) -> Result<(), AdminError> {
        let path = path(name, &format!("?keep_children={keep_children}"));
        self.call_within(SLOW, Method::DELETE, &path, Body::None)
            .await
    }

    /// Gives back what no volume needs any more.
    pub async fn collect_garbage(&self) -> Result<CollectReport, AdminError> {
        self.call_within(SLOW, Method::POST, "/collect", Body::None)
            .await
    }

    /// The host's own disk.
    pub async fn store_stats(&self) -> Result<StoreReport, AdminError> {
        self.call(Method::GET, "/stats", Body::None).await
    }

    async fn act<T: serde::de::DeserializeOwned>(
        &self,
        name: &VolumeName,
        verb: &str,
        body: Body,
    ) -> Result<T, AdminError> {
        self.call_within(SLOW, Method::POST, &path(name, verb), body)
            .await
    }
}

/// A volume's name is a plain one, or it would not be one.
fn path(name: &VolumeName, rest: &str) -> String {
    format!("/volumes/{name}{rest}")
}
