//! One mount with one file per attachment. A loop device with direct I/O on such a file is the disk
//! of a container.
//!
//! - A file belongs to one attachment and is named after it: what a power cut or a rehome ended
//!   answers EIO for ever, and the next attachment is another file.
//! - The kernel keeps no pages of these files (`FOPEN_DIRECT_IO`) and FUSE's write-back cache is
//!   off: a completed write is in the store, else a fork would miss it.
//! - A block device's FLUSH reaches us as fsync, FUA as a write and an fsync, a discard as
//!   fallocate.

mod files;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fuser::{
    Config, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, Session, WriteFlags,
};

use crate::volume::host::{Held, Host, HostError};
use crate::volume::store::Handle;
use crate::volume::store::map::BLOCK_BYTES;
use crate::volume::trouble::Requests;
use files::{Files, attributes};

pub use files::{Mounted, file_name};

/// The largest request: what the kernel sends in one piece by default.
const LARGEST: u32 = 1 << 20;
/// Requests that the kernel has open here at a time. A loop device has 128.
const MOST_OPEN: u16 = 4096;
const PUNCH_HOLE: i32 = 0x02;
const ZERO_RANGE: i32 = 0x10;
const KEEP_SIZE: i32 = 0x01;
/// Attributes change behind the kernel's back only when a volume grows, and then it is told.
const FOR_EVER: Duration = Duration::from_secs(3600);

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
            // What fails on purpose was told when that began.
            let on_purpose = matches!(error, HostError::InTrouble { .. });
            if !on_purpose && told.insert(handle.attachment) {
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
    fn write_now(
        &self,
        inode: INodeNo,
        offset: u64,
        data: &[u8],
        held: Option<Held>,
        reply: ReplyWrite,
    ) {
        match self.answer(inode, "write", |handle| {
            self.host.hold(handle, held)?;
            self.host.write(handle, offset, data, false)
        }) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    /// Does what has no answer but that it is done, after it was held.
    fn finish(
        &self,
        inode: INodeNo,
        what: &'static str,
        held: Option<Held>,
        work: impl FnOnce(&Host, &Handle) -> Result<(), HostError>,
        reply: ReplyEmpty,
    ) {
        let done = self.answer(inode, what, |handle| {
            self.host.hold(handle, held)?;
            work(&self.host, handle)
        });
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    /// Whether a write, or what zeroes a range, is held on purpose, and whether there is room for it now.
    fn ask_to_write(
        &self,
        inode: INodeNo,
        what: &'static str,
    ) -> Result<(Option<Held>, bool), Errno> {
        self.answer(inode, what, |handle| {
            let held = self.host.strike(handle, Requests::Writes)?;
            Ok((held, self.host.has_room(handle)?))
        })
    }

    /// What waits, for object storage or on purpose, does so on a thread of its own, or it would hold up every disk of
    /// this host. How many there are is bounded by how many requests a kernel has open.
    fn aside(&self, work: impl FnOnce(Self) + Send + 'static) {
        let front = self.clone();
        std::thread::spawn(move || work(front));
    }
}

fn is_whole(bytes: u64) -> bool {
    bytes.is_multiple_of(BLOCK_BYTES)
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
        let now = self.answer(inode, "read", |handle| {
            let held = self.host.strike(handle, Requests::Reads)?;
            let here = held.is_none() && self.host.read_here(handle, offset, &mut buffer)?;
            Ok((held, here))
        });
        match now {
            Ok((_, true)) => reply.data(&buffer),
            Ok((held, false)) => self.aside(move |front| {
                let read = |handle: &Handle| {
                    front.host.hold(handle, held)?;
                    front.host.read(handle, offset, &mut buffer)
                };
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
        match self.ask_to_write(inode, "write") {
            // A part of a block keeps the rest of it, which may have to be fetched.
            Ok((None, true)) if is_whole(offset) && is_whole(data.len() as u64) => {
                self.write_now(inode, offset, data, None, reply);
            }
            Ok((held, _)) => {
                let data = data.to_vec();
                self.aside(move |front| front.write_now(inode, offset, &data, held, reply));
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
        let strike = |handle: &Handle| self.host.strike(handle, Requests::Flushes);
        match self.answer(inode, "flush", strike) {
            Ok(None) => self.finish(inode, "flush", None, Host::flush, reply),
            Ok(held) => {
                self.aside(move |front| front.finish(inode, "flush", held, Host::flush, reply));
            }
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
        let zero = move |host: &Host, handle: &Handle| host.zero(handle, offset, length, false);
        match self.ask_to_write(inode, "discard") {
            Ok((None, true)) => self.finish(inode, "discard", None, zero, reply),
            Ok((held, _)) => {
                self.aside(move |front| front.finish(inode, "discard", held, zero, reply));
            }
            Err(error) => reply.error(error),
        }
    }
}
