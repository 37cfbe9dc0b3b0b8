//! Loop devices, through `losetup`: their ioctls would be this crate's only unsafe code.
//!
//! A device is told to go as soon as it is made, while we have it open: the kernel then keeps it to
//! the last close, and neither a killed process nor a killed container leaves one behind.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::command::{CommandError, Program};
use crate::progress::Quiet;

/// Somebody else may take the device that was free a moment ago; on a machine with many substrates
/// that happens a few times in a row at most.
const TRIES: usize = 16;
/// The loop driver's major number.
#[cfg(target_os = "linux")]
const MAJOR: u64 = 7;

/// A disk for as long as this lives, and longer while somebody else has it open.
#[derive(Debug)]
pub(super) struct Loop {
    /// Its name below /dev.
    pub(super) device: String,
    _open: File,
}

/// Makes `file` a disk, with direct I/O. `preferred` is what it was before, for a container that
/// was made with that device.
pub(super) async fn attach(file: &Path, preferred: Option<&str>) -> Result<Loop, CommandError> {
    let mut wanted = preferred.map(str::to_owned);
    let mut last = None;
    for _try in 0..TRIES {
        let device = match wanted.take() {
            Some(device) => device,
            None => free().await?,
        };
        make_node(&device).map_err(|source| CommandError::Io {
            command: format!("mknod {device}"),
            source,
        })?;
        let set = losetup(["--direct-io=on", &device])
            .arg(file)
            .run(&Quiet)
            .await;
        match set {
            Ok(_nothing) => return kept(device).await,
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| CommandError::NotInstalled {
        program: "losetup".to_owned(),
    }))
}

/// Lets a disk be as large as `file` is by now, which must come to `bytes`. The kernel asks the file anew,
/// and forgets the answer when a write comes between: then it is asked again.
pub(super) async fn grow(device: &str, file: &Path, bytes: u64) -> Result<(), CommandError> {
    let failed = |source| CommandError::Io {
        command: format!("losetup --set-capacity {device}"),
        source,
    };
    for _try in 0..TRIES {
        tokio::fs::metadata(file).await.map_err(failed)?;
        losetup(["--set-capacity", device]).run(&Quiet).await?;
        if capacity(device).await.map_err(failed)? == bytes {
            return Ok(());
        }
    }
    let why = format!("it did not become {bytes} bytes large");
    Err(failed(io::Error::other(why)))
}

async fn capacity(device: &str) -> io::Result<u64> {
    const SECTOR: u64 = 512;
    let name = device.trim_start_matches("/dev/");
    let text = tokio::fs::read_to_string(format!("/sys/class/block/{name}/size")).await?;
    let sectors: u64 = text.trim().parse().map_err(io::Error::other)?;
    Ok(sectors.saturating_mul(SECTOR))
}

async fn kept(device: String) -> Result<Loop, CommandError> {
    let open = File::open(&device);
    // Also without a file of ours it has to go: nobody would know of it.
    losetup(["-d", &device]).run(&Quiet).await?;
    match open {
        Ok(open) => Ok(Loop {
            device,
            _open: open,
        }),
        Err(source) => Err(CommandError::Io {
            command: format!("open {device}"),
            source,
        }),
    }
}

/// The first device that nobody uses. In a container its node may be missing, which losetup tells by
/// a word after the name.
async fn free() -> Result<String, CommandError> {
    let answer = losetup(["-f"]).run(&Quiet).await?;
    Ok(answer
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}

fn losetup<const N: usize>(arguments: [&str; N]) -> Program {
    Program::named("losetup").args(arguments)
}

#[cfg(target_os = "linux")]
fn make_node(device: &str) -> io::Result<()> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    if Path::new(device).exists() {
        return Ok(());
    }
    let minor = device
        .strip_prefix("/dev/loop")
        .and_then(|minor| minor.parse().ok());
    let minor = minor.ok_or_else(|| io::Error::other("losetup named no loop device"))?;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    Ok(mknod(device, SFlag::S_IFBLK, mode, makedev(MAJOR, minor))?)
}

#[cfg(not(target_os = "linux"))]
fn make_node(_device: &str) -> io::Result<()> {
    Err(io::Error::other("only Linux has loop devices"))
}
