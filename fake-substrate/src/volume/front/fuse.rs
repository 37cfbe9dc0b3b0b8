//! One mount with one file per attachment. A loop device with direct I/O on such a file is the disk
//! of a container.
//!
//! - A file belongs to one attachment and is named after it: what a power cut or a rehome ended
//!   answers EIO for ever, and the next attachment is another file.
//! - The kernel keeps no pages of these files (`FOPEN_DIRECT_IO`) and FUSE's write-back cache is
//!   off: a completed write is in the store, else a fork would miss it.
//! - A block device's FLUSH reaches us as fsync, FUA as a write and an fsync, a discard as
//!   fallocate.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, Session,
    WriteFlags,
};

use crate::volume::host::{Host, HostError};
use crate::volume::store::Handle;
use crate::volume::store::map::BLOCK_BYTES;

/// The largest request: what the kernel sends in one piece by default.
const LARGEST: u32 = 1 << 20;
/// Requests that the kernel has open here at a time. A loop device has 128.
const MOST_OPEN: u16 = 4096;
const PUNCH_HOLE: i32 = 0x02;
const ZERO_RANGE: i32 = 0x10;
const KEEP_SIZE: i32 = 0x01;
/// Attributes change behind the kernel's back only when a volume grows, and then it is told.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The mount; dropping it unmounts.
#[derive(Debug)]
pub struct Mounted {
    session: BackgroundSession,
    files: Files,
}

#[derive(Debug, Clone, Default)]
struct Files(Arc<Mutex<BTreeMap<u64, (Handle, u64)>>>);

impl Files {
    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<u64, (Handle, u64)>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The file of an attachment.
pub fn file_name(handle: &Handle) -> String {
    format!("{}.{}", handle.volume, handle.attachment)
}

/// Mounts the host's volumes at `folder`.
pub fn mount(host: Arc<Host>, folder: &Path) -> io::Result<Mounted> {
    let files = Files::default();
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("beyond-volumes".to_owned()),
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::NoExec,
    ];
    config.n_threads = Some(2);
    config.clone_fd = true;
    let front = Front {
        host,
        files: files.clone(),
        told: Arc::default(),
    };
    let session = Session::new(front, folder, &config)?.spawn()?;
    Ok(Mounted { session, files })
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

/// Clones are the same front.
#[derive(Clone)]
struct Front {
    host: Arc<Host>,
    files: Files,
    /// Attachments whose failure was told; a dying guest asks a thousand times.
    told: Arc<Mutex<BTreeSet<u64>>>,
}

impl Front {
    fn file(&self, inode: INodeNo) -> Result<(Handle, u64), Errno> {
        let found = self.files.with(|files| files.get(&inode.0).cloned());
        found.ok_or(Errno::EIO)
    }

    fn answer<T>(
        &self,
        inode: INodeNo,
        what: &'static str,
        work: impl FnOnce(&Handle) -> Result<T, HostError>,
    ) -> Result<T, Errno> {
        let (handle, _bytes) = self.file(inode)?;
        work(&handle).map_err(|error| {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.insert(handle.attachment) {
                tracing::warn!(
                    volume = %handle.volume, attachment = handle.attachment, what,
                    error = %crate::serve::chain(&error),
                    "a request of a guest fails; further ones of this attachment are not told"
                );
            }
            Errno::from_i32(error.errno() as i32)
        })
    }
}

impl Front {
    fn write_now(&self, inode: INodeNo, offset: u64, data: &[u8], reply: ReplyWrite) {
        match self.answer(inode, "write", |handle| {
            self.host.write(handle, offset, data, false)
        }) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    /// What waits for object storage does so on a thread of its own, or it would hold up every disk of
    /// this host. How many there are is bounded by how many requests a kernel has open.
    fn aside(&self, work: impl FnOnce(Self) + Send + 'static) {
        let front = self.clone();
        std::thread::spawn(move || work(front));
    }
}

fn is_whole(bytes: u64) -> bool {
    bytes.is_multiple_of(BLOCK_BYTES)
}

fn attributes(inode: INodeNo, kind: FileType, bytes: u64) -> FileAttr {
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

impl Filesystem for Front {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // The kernel takes the nearest value that it can do.
        config.set_max_write(LARGEST).ok();
        // Without these a disk has one request open at a time, or sixteen with all others, and a write that
        // waits for object storage would hold up the reads and the FLUSHes behind it.
        config.set_max_background(MOST_OPEN).ok();
        if config.add_capabilities(InitFlags::FUSE_ASYNC_DIO).is_err() {
            tracing::warn!(
                "this kernel has no asynchronous direct I/O for FUSE: a write that waits holds up its disk"
            );
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.files.with(|files| {
            let mut files = files.iter();
            let found = files.find(|(_inode, (handle, _))| *file_name(handle) == *name);
            found.map(|(inode, (_, bytes))| (*inode, *bytes))
        });
        match found {
            None => reply.error(Errno::ENOENT),
            Some((inode, bytes)) => {
                let file = attributes(INodeNo(inode), FileType::RegularFile, bytes);
                reply.entry(&FOR_EVER, &file, Generation(0));
            }
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _file: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        if inode == INodeNo::ROOT {
            return reply.attr(&FOR_EVER, &attributes(inode, FileType::Directory, 0));
        }
        match self.file(inode) {
            Ok((_, bytes)) => {
                reply.attr(&FOR_EVER, &attributes(inode, FileType::RegularFile, bytes));
            }
            Err(error) => reply.error(error),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _file: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let names = self.files.with(|files| {
            let names = files.iter();
            names
                .map(|(inode, (handle, _))| (INodeNo(*inode), file_name(handle)))
                .collect::<Vec<_>>()
        });
        for (place, (inode, name)) in (1..).zip(names) {
            if place > offset && reply.add(inode, place, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn open(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.file(inode) {
            Ok(_) => {
                let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
                reply.opened(FileHandle(0), flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _file: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let size = match self.file(inode) {
            // A file ends where it ends; a disk has no such read.
            Ok((_, bytes)) => u64::from(size).min(bytes.saturating_sub(offset)),
            Err(error) => return reply.error(error),
        };
        let mut buffer = vec![0; usize::try_from(size).unwrap_or_default()];
        let here = self.answer(inode, "read", |handle| {
            self.host.read_here(handle, offset, &mut buffer)
        });
        match here {
            Ok(true) => reply.data(&buffer),
            Ok(false) => self.aside(move |front| {
                let read = |handle: &Handle| front.host.read(handle, offset, &mut buffer);
                match front.answer(inode, "read", read) {
                    Ok(()) => reply.data(&buffer),
                    Err(error) => reply.error(error),
                }
            }),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _request: &Request,
        inode: INodeNo,
        _file: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.answer(inode, "write", |handle| self.host.has_room(handle)) {
            // A part of a block keeps the rest of it, which may have to be fetched.
            Ok(true) if is_whole(offset) && is_whole(data.len() as u64) => {
                self.write_now(inode, offset, data, reply);
            }
            Ok(_) => {
                let data = data.to_vec();
                self.aside(move |front| front.write_now(inode, offset, &data, reply));
            }
            Err(error) => reply.error(error),
        }
    }

    fn fsync(
        &self,
        _request: &Request,
        inode: INodeNo,
        _file: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        match self.answer(inode, "flush", |handle| self.host.flush(handle)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    /// The close of a file, which promises nothing about what was written.
    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _file: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fallocate(
        &self,
        _request: &Request,
        inode: INodeNo,
        _file: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if ![PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE | KEEP_SIZE, ZERO_RANGE].contains(&mode) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let discard = move |front: Self| {
            let zero = |handle: &Handle| front.host.zero(handle, offset, length, false);
            match front.answer(inode, "discard", zero) {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(error),
            }
        };
        match self.answer(inode, "discard", |handle| self.host.has_room(handle)) {
            Ok(true) => discard(self.clone()),
            Ok(false) | Err(_) => self.aside(discard),
        }
    }
}
