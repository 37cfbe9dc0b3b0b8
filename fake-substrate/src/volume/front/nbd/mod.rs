//! Volumes as network block devices on a unix socket, for a machine with a kernel of its own: QEMU
//! takes `nbd:unix:PATH:exportname=VOLUME` for a drive. A connection is an attachment: it begins
//! with the choice of an export and ends with the connection.

pub mod wire;

#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use super::super::host::{Host, HostError};
use super::super::store::Handle;
use super::super::store::map::BLOCK_BYTES;
use crate::volume::VolumeName;
use crate::volume::trouble::Requests;
use wire::{Answer, ClientOption, Command, Incoming};

/// Longer options are nobody's export name.
const LONGEST_OPTION: u32 = 4096;
const EINVAL: u32 = 22;

/// Serves one connection to its end.
pub fn serve(host: &Host, mut stream: UnixStream) -> io::Result<()> {
    let Some((handle, bytes)) = negotiate(host, &mut stream)? else {
        return Ok(());
    };
    tracing::info!(volume = %handle.volume, bytes, "attached over NBD");
    let served = transmit(host, &handle, &mut stream);
    // Somebody else may have ended the attachment and begun another, which is not ours to end.
    if host.with_books(|books| books.disk(&handle).is_ok()) {
        host.detach(&handle.volume).map_err(io::Error::other)?;
    }
    served
}

fn negotiate(host: &Host, stream: &mut UnixStream) -> io::Result<Option<(Handle, u64)>> {
    stream.write_all(wire::GREETING)?;
    let [_, _, _, flags] = array::<4>(stream)?;
    let no_zeroes = flags & 2 != 0;
    loop {
        if array::<8>(stream)? != *wire::OPTION {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not an option"));
        }
        let option = u32::from_be_bytes(array(stream)?);
        let length = u32::from_be_bytes(array(stream)?);
        if length > LONGEST_OPTION {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an option too long",
            ));
        }
        let data = bytes(stream, length)?;
        let mut answer =
            |answer, data: &[u8]| stream.write_all(&wire::option_reply(option, answer, data));
        match wire::client_option(option, &data) {
            ClientOption::Abort => {
                answer(Answer::Ack, &[])?;
                return Ok(None);
            }
            ClientOption::List => {
                for name in exports(host) {
                    let length = u32::try_from(name.as_str().len()).unwrap_or_default();
                    let mut entry = length.to_be_bytes().to_vec();
                    entry.extend(name.as_str().bytes());
                    answer(Answer::Server, &entry)?;
                }
                answer(Answer::Ack, &[])?;
            }
            ClientOption::Info(name) => match size(host, &name) {
                Some((_name, size)) => {
                    answer(Answer::Info, &wire::export_info(size))?;
                    answer(Answer::Info, &wire::block_size_info())?;
                    answer(Answer::Ack, &[])?;
                }
                None => answer(Answer::UnknownExport, b"there is no such volume here")?,
            },
            ClientOption::Go(name) => match attach(host, &name) {
                Ok((handle, size)) => {
                    answer(Answer::Info, &wire::export_info(size))?;
                    answer(Answer::Info, &wire::block_size_info())?;
                    answer(Answer::Ack, &[])?;
                    return Ok(Some((handle, size)));
                }
                Err(why) => answer(Answer::UnknownExport, why.as_bytes())?,
            },
            ClientOption::ExportName(name) => {
                // This option has no answer for "no" but the end of the connection.
                let attached = attach(host, &name).map_err(io::Error::other)?;
                let mut start = attached.1.to_be_bytes().to_vec();
                start.extend(wire::EXPORT_FLAGS.to_be_bytes());
                start.resize(start.len() + if no_zeroes { 0 } else { 124 }, 0);
                stream.write_all(&start)?;
                return Ok(Some(attached));
            }
            ClientOption::Unknown => answer(Answer::Unsupported, &[])?,
            ClientOption::Malformed => answer(Answer::Invalid, &[])?,
        }
    }
}

fn exports(host: &Host) -> Vec<VolumeName> {
    host.with_books(|books| {
        let volumes = books.volumes().map(|volume| volume.meta.name.clone());
        volumes.filter(|name| books.here(name).is_ok()).collect()
    })
}

fn size(host: &Host, name: &str) -> Option<(VolumeName, u64)> {
    let name: VolumeName = name.parse().ok()?;
    let blocks = host.with_books(|books| {
        let here = books.here(&name).ok()?;
        Some(here.disk.current().blocks())
    });
    Some((name, u64::from(blocks?) * BLOCK_BYTES))
}

fn attach(host: &Host, name: &str) -> Result<(Handle, u64), String> {
    let (name, size) = size(host, name).ok_or("there is no such volume here")?;
    let handle = host.attach(&name).map_err(|error| error.to_string())?;
    Ok((handle, size))
}

fn transmit(host: &Host, handle: &Handle, stream: &mut UnixStream) -> io::Result<()> {
    loop {
        let head = match array::<{ wire::REQUEST_BYTES }>(stream) {
            // A client may also just go.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            head => head?,
        };
        let Some(request) = wire::request(&head) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a request"));
        };
        if request.command == Command::Disconnect {
            return Ok(());
        }
        let oversized = request.length > wire::LARGEST;
        if oversized && request.command == Command::Write {
            // Its data cannot be told from the next request without reading it.
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a write too long",
            ));
        }
        let data = match request.command {
            Command::Write => bytes(stream, request.length)?,
            Command::Read if !oversized => vec![0; request.length as usize],
            _ => Vec::new(),
        };
        let refused = oversized && request.command == Command::Read;
        let outcome = match refused {
            true => Err(EINVAL),
            false => perform(host, handle, request, data),
        };
        let errno = outcome.as_ref().err().copied().unwrap_or_default();
        stream.write_all(&wire::reply(request.cookie, errno))?;
        stream.write_all(&outcome.unwrap_or_default())?;
    }
}

/// Does it, and returns what is sent back.
fn perform(
    host: &Host,
    handle: &Handle,
    request: Incoming,
    mut data: Vec<u8>,
) -> Result<Vec<u8>, u32> {
    let Incoming {
        offset,
        length,
        fua,
        ..
    } = request;
    in_trouble(host, handle, request).map_err(|error| errno(handle, &error))?;
    let done = match request.command {
        Command::Read => {
            host.read(handle, offset, &mut data)
                .map_err(|error| errno(handle, &error))?;
            return Ok(data);
        }
        Command::Write => host.write(handle, offset, &data, fua),
        Command::Flush => host.flush(handle),
        Command::Trim | Command::WriteZeroes => host.zero(handle, offset, length.into(), fua),
        Command::Disconnect | Command::Unknown => return Err(EINVAL),
    };
    done.map(|()| Vec::new())
        .map_err(|error| errno(handle, &error))
}

/// What is the matter with the disk on purpose, before anything is done.
fn in_trouble(host: &Host, handle: &Handle, request: Incoming) -> Result<(), HostError> {
    let kind = match request.command {
        Command::Read => Some(Requests::Reads),
        Command::Write | Command::Trim | Command::WriteZeroes => Some(Requests::Writes),
        Command::Flush => Some(Requests::Flushes),
        Command::Disconnect | Command::Unknown => None,
    };
    for on in kind
        .into_iter()
        .chain(request.fua.then_some(Requests::Flushes))
    {
        let held = host.strike(handle, on)?;
        host.hold(handle, held)?;
    }
    Ok(())
}

fn errno(handle: &Handle, error: &HostError) -> u32 {
    tracing::warn!(volume = %handle.volume, error = %crate::serve::chain(error), "a request over NBD fails");
    u32::try_from(error.errno() as i32).unwrap_or(EINVAL)
}

fn array<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bytes(stream: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
