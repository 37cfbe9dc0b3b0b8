//! Which volume is which disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

#[cfg(target_os = "linux")]
use super::loops;
use super::loops::Loop;
use super::{BlockStoreError, growth};
use crate::serve::chain;
use crate::volume::VolumeName;
#[cfg(target_os = "linux")]
use crate::volume::front::fuse::{self, Mounted};
use crate::volume::host::Host;
use crate::volume::store::Handle;
use crate::volume::store::map::BLOCK_BYTES;

#[cfg(not(target_os = "linux"))]
type Mounted = std::convert::Infallible;

/// The disks of this host's containers.
pub(super) struct Disks {
    host: Arc<Host>,
    mount: Option<(PathBuf, Mounted)>,
    devices: Mutex<Devices>,
}

#[derive(Default)]
struct Devices {
    now: BTreeMap<VolumeName, Loop>,
    /// A container that is started again has the device that it was made with.
    before: BTreeMap<VolumeName, String>,
}

impl Disks {
    /// Mounts below `folder`, and unmounts what an earlier process of this host has left.
    pub(super) fn start(host: Arc<Host>, folder: Option<&Path>) -> Result<Self, BlockStoreError> {
        let mount = match folder {
            None => None,
            Some(folder) => Some(mount(&host, folder)?),
        };
        Ok(Self {
            host,
            mount,
            devices: Mutex::default(),
        })
    }

    /// Which disk a volume is.
    pub(super) async fn device(&self, volume: &VolumeName) -> Option<String> {
        let devices = self.devices.lock().await;
        devices.now.get(volume).map(|disk| disk.device.clone())
    }

    /// Makes a volume a disk.
    pub(super) async fn attach(&self, volume: &VolumeName) -> Result<String, BlockStoreError> {
        let (_handle, device) = self.open(volume).await?;
        // Best effort: with less room than there is, everything is there.
        let devices = self.devices.lock().await;
        if let Err(error) = self.fit(volume, &devices).await {
            tracing::warn!(%volume, error = %chain(&error), "its file system stays smaller than its disk");
        }
        Ok(device)
    }

    /// Makes a volume larger, and with it the disk that it is, and the file system on that.
    pub(super) async fn grow(
        &self,
        volume: &VolumeName,
        bytes: u64,
    ) -> Result<(), BlockStoreError> {
        let devices = self.devices.lock().await;
        self.host.grow(volume, bytes)?;
        #[cfg(target_os = "linux")]
        if let Some((folder, mounted)) = &self.mount
            && let Some(disk) = devices.now.get(volume).filter(|_| self.is_attached(volume))
        {
            let grown = mounted.grow(volume, bytes);
            let grown = grown.map_err(|source| BlockStoreError::Mount {
                path: folder.clone(),
                source,
            })?;
            if let Some(file) = grown {
                loops::grow(&disk.device, &folder.join(file), bytes).await?;
            }
        }
        self.fit(volume, &devices).await
    }

    /// A power cut ends the attachment and leaves the device.
    fn is_attached(&self, volume: &VolumeName) -> bool {
        self.host.with_books(|books| {
            let volume = books.volume(volume);
            volume.is_ok_and(|volume| volume.attachment.is_some())
        })
    }

    /// Lets the file system of a disk have all of it.
    async fn fit(&self, volume: &VolumeName, devices: &Devices) -> Result<(), BlockStoreError> {
        let (Some((folder, _mounted)), Some(disk)) = (
            &self.mount,
            devices.now.get(volume).filter(|_| self.is_attached(volume)),
        ) else {
            return Ok(());
        };
        let bytes = self.host.with_books(|books| {
            let here = books.here(volume);
            here.map_or(0, |here| {
                u64::from(here.disk.current().blocks()) * BLOCK_BYTES
            })
        });
        let mount_point = folder.with_file_name(format!("{volume}.growing"));
        growth::fit(&disk.device, bytes, &mount_point).await
    }

    /// Makes a volume a disk; tells also which attachment that is.
    #[cfg(target_os = "linux")]
    pub(super) async fn open(
        &self,
        volume: &VolumeName,
    ) -> Result<(Handle, String), BlockStoreError> {
        let (folder, mounted) = self.mount.as_ref().ok_or(BlockStoreError::NoDisks)?;
        let mut devices = self.devices.lock().await;
        let handle = self.host.attach(volume)?;
        let blocks = self.host.with_books(|books| {
            let disk = books.disk(&handle).map(|disk| disk.current().blocks());
            disk.unwrap_or_default()
        });
        // A power cut ended the attachment and left the device, which has nothing to say any more.
        devices.now.remove(volume);
        mounted.hide(volume);
        mounted.show(&handle, u64::from(blocks) * BLOCK_BYTES);
        let file = folder.join(fuse::file_name(&handle));
        let before = devices.before.get(volume).map(String::as_str);
        match loops::attach(&file, before).await {
            Ok(disk) => {
                let device = disk.device.clone();
                devices.now.insert(volume.clone(), disk);
                devices.before.insert(volume.clone(), device.clone());
                tracing::info!(%volume, device, "attached");
                Ok((handle, device))
            }
            Err(error) => {
                mounted.hide(volume);
                self.host.detach(volume)?;
                Err(error.into())
            }
        }
    }

    /// Without loop devices there are no disks.
    #[cfg(not(target_os = "linux"))]
    pub(super) async fn open(
        &self,
        _volume: &VolumeName,
    ) -> Result<(Handle, String), BlockStoreError> {
        std::future::ready(Err(BlockStoreError::NoDisks)).await
    }

    /// Takes the disk away: first from the kernel, so that what it still holds is written.
    pub(super) async fn detach(&self, volume: &VolumeName) -> Result<(), BlockStoreError> {
        self.devices.lock().await.now.remove(volume);
        self.host.detach(volume)?;
        #[cfg(target_os = "linux")]
        if let Some((_folder, mounted)) = &self.mount {
            mounted.hide(volume);
        }
        Ok(())
    }

    /// Takes every disk away, then the mount. Best effort: the process ends.
    pub(super) async fn end(&self) {
        let volumes: Vec<_> = self.devices.lock().await.now.keys().cloned().collect();
        for volume in volumes {
            if let Err(error) = self.detach(&volume).await {
                tracing::warn!(%volume, error = %chain(&error), "its disk is left behind");
            }
        }
        #[cfg(target_os = "linux")]
        if let Some((folder, _mounted)) = &self.mount {
            unmount(folder);
        }
    }
}

/// Each start mounts at a folder of its own name, so that what an earlier one left is told apart.
#[cfg(target_os = "linux")]
fn mount(host: &Arc<Host>, folder: &Path) -> Result<(PathBuf, Mounted), BlockStoreError> {
    let names: Vec<_> = host.with_books(|books| {
        books
            .nonces()
            .iter()
            .map(|nonce| format!("{nonce:08x}"))
            .collect()
    });
    for name in &names {
        unmount(&folder.join(name));
    }
    let folder = folder.join(format!("{:08x}", host.with_books(|books| books.nonce())));
    let failed = |source| BlockStoreError::Mount {
        path: folder.clone(),
        source,
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let mounted = fuse::mount(Arc::clone(host), &folder).map_err(failed)?;
    Ok((folder, mounted))
}

/// Lazily: a machine that is being killed may still have a file. Best effort: in a container the
/// mount goes with it.
#[cfg(target_os = "linux")]
fn unmount(folder: &Path) {
    match nix::mount::umount2(folder, nix::mount::MntFlags::MNT_DETACH) {
        Ok(()) => {
            // Empty by now, and in nobody's way if not.
            std::fs::remove_dir(folder).ok();
        }
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
        Err(errno) => tracing::warn!(folder = %folder.display(), %errno, "cannot unmount"),
    }
}

#[cfg(not(target_os = "linux"))]
fn mount(_host: &Arc<Host>, _folder: &Path) -> Result<(PathBuf, Mounted), BlockStoreError> {
    Err(BlockStoreError::NoDisks)
}
