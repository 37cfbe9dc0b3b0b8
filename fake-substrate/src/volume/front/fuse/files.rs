//! What is in the mount: a file for each attachment.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use fuser::{BackgroundSession, FileAttr, FileType, INodeNo};

use crate::volume::store::Handle;
use crate::volume::store::map::BLOCK_BYTES;

/// The mount; dropping it unmounts.
#[derive(Debug)]
pub struct Mounted {
    pub(super) session: BackgroundSession,
    pub(super) files: Files,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Files(Arc<Mutex<BTreeMap<u64, (Handle, u64)>>>);

impl Files {
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<u64, (Handle, u64)>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The file of an attachment.
pub fn file_name(handle: &Handle) -> String {
    format!("{}.{}", handle.volume, handle.attachment)
}

impl Mounted {
    /// Shows a file for an attachment of a volume of `bytes`.
    pub fn show(&self, handle: &Handle, bytes: u64) {
        let inode = INodeNo::ROOT.0 + handle.attachment;
        self.files
            .with(|files| files.insert(inode, (handle.clone(), bytes)));
    }

    /// Lets the file of a volume have so many bytes, and the kernel forget what it knows of it. Answers the
    /// file's name; a volume without one is nobody's disk.
    pub fn grow(
        &self,
        volume: &crate::volume::VolumeName,
        bytes: u64,
    ) -> io::Result<Option<String>> {
        let grown = self.files.with(|files| {
            let mut files = files.iter_mut();
            let (inode, file) = files.find(|(_inode, (handle, _))| handle.volume == *volume)?;
            file.1 = bytes;
            Some((*inode, file_name(&file.0)))
        });
        let Some((inode, name)) = grown else {
            return Ok(None);
        };
        // A negative offset is: its attributes, and none of its pages.
        let notifier = self.session.notifier();
        notifier.inval_inode(INodeNo(inode), -1, 0)?;
        Ok(Some(name))
    }

    /// Forgets the files of a volume. Who has one open keeps it, and gets errors.
    pub fn hide(&self, volume: &crate::volume::VolumeName) {
        self.files
            .with(|files| files.retain(|_inode, (handle, _)| handle.volume != *volume));
    }

    /// Unmounts. Fails while a loop device still has a file.
    pub fn unmount(self) -> io::Result<()> {
        self.session.umount_and_join()
    }
}

pub(super) fn attributes(inode: INodeNo, kind: FileType, bytes: u64) -> FileAttr {
    FileAttr {
        ino: inode,
        size: bytes,
        blocks: bytes / 512,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: if kind == FileType::Directory {
            0o700
        } else {
            0o600
        },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: u32::try_from(BLOCK_BYTES).unwrap_or(4096),
        flags: 0,
    }
}
