//! A tar stream as `pg_basebackup` writes it, read as it comes: entries, bytes, ends. Pure.
//!
//! What is read may come out of a bucket that somebody else could write to, so it is taken for hostile:
//! files and folders only, each at a plain path below the root, and no more bytes than its header says.
//!
//! ```text
//!  | header 512 | content, filled up to 512 | header | … | zeros 512 | zeros 512 |
//! ```

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use thiserror::Error;

/// Everything in a tar stream is a multiple of it.
const BLOCK: usize = 512;
/// Folders within folders; PGDATA has four.
const DEEPEST: usize = 32;

/// What a stream is not allowed to be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TarError {
    #[error("a header of the tar stream has a checksum that is not its own")]
    Checksum,
    #[error("a header of the tar stream has a {0} that is no number")]
    Number(&'static str),
    #[error("the tar stream has an entry at {0:?}, which is no plain path below the root")]
    Path(String),
    #[error(
        "the tar stream has an entry {path:?} of type {kind:?}, which is neither file nor folder"
    )]
    Kind { path: String, kind: char },
    #[error("the tar stream has a folder {0:?} with content")]
    FullFolder(String),
    #[error("the tar stream ends in the middle")]
    Torn,
    #[error("something follows the end of the tar stream")]
    Trailing,
}

/// The place of an entry below the root: components of names, no `.`, no `..`, nothing absolute. Bytes, since
/// a file in PGDATA may be called anything.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryPath(Vec<u8>);

impl EntryPath {
    pub(crate) fn parse(bytes: &[u8]) -> Option<EntryPath> {
        let mut depth = 0;
        let plain = bytes.split(|byte| *byte == b'/').all(|name| {
            depth += 1;
            !name.is_empty() && name != b"." && name != b".." && !name.contains(&0)
        });
        (plain && depth <= DEEPEST).then(|| EntryPath(bytes.to_vec()))
    }

    pub(crate) fn below(&self, root: &Path) -> std::path::PathBuf {
        root.join(OsStr::from_bytes(&self.0))
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.0 == name.as_bytes()
    }

    /// How much memory it takes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// What stands before the content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: EntryPath,
    pub(crate) kind: Kind,
    /// The permission bits.
    pub(crate) mode: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File { bytes: u64 },
    Folder,
}

/// Whoever is told what is in a stream, in order: each entry, its content in pieces, its end.
pub(crate) trait Visit {
    type Error: From<TarError>;
    fn entry(&mut self, entry: &Entry) -> Result<(), Self::Error>;
    fn content(&mut self, piece: &[u8]) -> Result<(), Self::Error>;
    fn end(&mut self) -> Result<(), Self::Error>;
}

/// Where in the stream it is.
#[derive(Debug)]
enum At {
    Header,
    Content {
        left: u64,
        /// What fills the last block up.
        padding: u64,
    },
    Padding(u64),
    /// One block of zeros was there; a second ends the stream.
    HalfOver,
    /// More zeros may follow, up to whatever the writer's record size was.
    Over,
}

/// Reads a stream in pieces of any size.
#[derive(Debug)]
pub(crate) struct Reader {
    at: At,
    header: Vec<u8>,
}

impl Reader {
    pub(crate) fn new() -> Reader {
        Reader {
            at: At::Header,
            header: Vec::with_capacity(BLOCK),
        }
    }

    /// Takes the next bytes in.
    pub(crate) fn push<V: Visit>(
        &mut self,
        mut bytes: &[u8],
        visit: &mut V,
    ) -> Result<(), V::Error> {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Header | At::HalfOver => {
                    let missing = BLOCK - self.header.len();
                    let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
                    self.header.extend_from_slice(taken);
                    bytes = rest;
                    if self.header.len() == BLOCK {
                        self.header_is_there(visit)?;
                    }
                }
                At::Content { left, padding } => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
                    visit.content(taken)?;
                    bytes = rest;
                    *left -= taken.len() as u64;
                    if *left == 0 {
                        self.at = padded(*padding);
                        visit.end()?;
                    }
                }
                At::Padding(left) => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let taken = most.min(bytes.len());
                    bytes = &bytes[taken..];
                    self.at = padded(*left - taken as u64);
                }
                At::Over => {
                    if bytes.iter().any(|byte| *byte != 0) {
                        return Err(TarError::Trailing.into());
                    }
                    bytes = &[];
                }
            }
        }
        Ok(())
    }

    /// The stream has ended; whether it was whole.
    pub(crate) fn finish(self) -> Result<(), TarError> {
        match self.at {
            At::Over => Ok(()),
            At::Header | At::Content { .. } | At::Padding(_) | At::HalfOver => Err(TarError::Torn),
        }
    }

    fn header_is_there<V: Visit>(&mut self, visit: &mut V) -> Result<(), V::Error> {
        let zeros = self.header.iter().all(|byte| *byte == 0);
        self.at = match (&self.at, zeros) {
            (At::HalfOver, true) => At::Over,
            (At::HalfOver, false) => return Err(TarError::Trailing.into()),
            (_, true) => At::HalfOver,
            (_, false) => {
                let entry = entry(&self.header)?;
                visit.entry(&entry)?;
                match entry.kind {
                    Kind::File { bytes: left } if left > 0 => At::Content {
                        left,
                        padding: left.next_multiple_of(BLOCK as u64) - left,
                    },
                    Kind::File { .. } | Kind::Folder => {
                        visit.end()?;
                        At::Header
                    }
                }
            }
        };
        self.header.clear();
        Ok(())
    }
}

fn padded(left: u64) -> At {
    match left {
        0 => At::Header,
        left => At::Padding(left),
    }
}

const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..262;
const PREFIX: std::ops::Range<usize> = 345..500;

fn entry(header: &[u8]) -> Result<Entry, TarError> {
    if number(&header[CHECKSUM]) != Some(checksum(header)) {
        return Err(TarError::Checksum);
    }
    let name = path(header);
    let words = || String::from_utf8_lossy(&name).into_owned();
    let kind = match header[KIND] {
        b'0' | 0 => b'0',
        b'5' => b'5',
        other => {
            let (path, kind) = (words(), char::from(other));
            return Err(TarError::Kind { path, kind });
        }
    };
    // Postgres calls the folders within pg_wal `./pg_wal/…`, and all else by its plain path.
    let plain = name.strip_prefix(b"./").unwrap_or(&name);
    let plain = match kind {
        b'5' => plain.strip_suffix(b"/").unwrap_or(plain),
        _ => plain,
    };
    let path = EntryPath::parse(plain).ok_or_else(|| TarError::Path(words()))?;
    let mode = number(&header[MODE]).ok_or(TarError::Number("mode"))?;
    let mode = u32::try_from(mode & 0o7777).map_err(|_too_large| TarError::Number("mode"))?;
    // A size near the end of 64 bits could not be filled up to a block.
    let bytes = number(&header[SIZE])
        .filter(|bytes| *bytes < 1 << 62)
        .ok_or(TarError::Number("size"))?;
    let kind = match (kind, bytes) {
        (b'5', 0) => Kind::Folder,
        (b'5', _) => return Err(TarError::FullFolder(words())),
        _ => Kind::File { bytes },
    };
    Ok(Entry { path, kind, mode })
}

fn path(header: &[u8]) -> Vec<u8> {
    let text = |range: std::ops::Range<usize>| {
        let field = &header[range];
        let end = field.iter().position(|byte| *byte == 0);
        &field[..end.unwrap_or(field.len())]
    };
    let (name, prefix) = (text(NAME), text(PREFIX));
    if &header[MAGIC] == b"ustar" && !prefix.is_empty() {
        return [prefix, b"/", name].concat();
    }
    name.to_vec()
}

/// The sum of all bytes, those of the sum itself taken as blanks.
fn checksum(header: &[u8]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    sum(header) - sum(&header[CHECKSUM]) + u64::from(b' ') * CHECKSUM.len() as u64
}

/// Octal digits that end with a blank or a zero byte, or, where those do not suffice, big-endian bytes behind
/// a first one of 0x80.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first == 0x80 {
        return rest.iter().try_fold(0_u64, |number, byte| {
            Some(number.checked_mul(256)? + u64::from(*byte))
        });
    }
    let digits = field.trim_ascii_start();
    let end = digits
        .iter()
        .position(|byte| matches!(byte, 0 | b' '))
        .unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    digits[..end].iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(8)?;
        Some(number.checked_mul(8)? + u64::from(digit))
    })
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod forge {
    use super::{
        BLOCK, CHECKSUM, Entry, KIND, MAGIC, MODE, NAME, Reader, SIZE, TarError, Visit, checksum,
    };

    /// A header as Postgres writes it.
    pub(crate) fn header(name: &str, kind: u8, bytes: u64) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(NAME.start, name.as_bytes());
        put(MODE.start, b"0100600 ");
        put(SIZE.start, format!("{bytes:011o} ").as_bytes());
        put(KIND, &[kind]);
        put(MAGIC.start, b"ustar\x0000");
        seal(&mut header);
        header
    }

    pub(crate) fn seal(header: &mut [u8]) {
        let sum = checksum(header);
        header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    /// A stream of these files; a name that ends with a slash is a folder.
    pub(crate) fn stream(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut stream = Vec::new();
        for (name, content) in files {
            let kind = if name.ends_with('/') { b'5' } else { b'0' };
            stream.extend(header(name, kind, content.len() as u64));
            stream.extend_from_slice(content);
            stream.resize(stream.len().next_multiple_of(BLOCK), 0);
        }
        stream.resize(stream.len() + 2 * BLOCK, 0);
        stream
    }

    /// Everything that was told.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub(crate) struct Told(pub(crate) Vec<(Entry, Vec<u8>, bool)>);

    impl Visit for Told {
        type Error = TarError;

        fn entry(&mut self, entry: &Entry) -> Result<(), TarError> {
            self.0.push((entry.clone(), Vec::new(), false));
            Ok(())
        }

        fn content(&mut self, piece: &[u8]) -> Result<(), TarError> {
            if let Some((_, content, _)) = self.0.last_mut() {
                content.extend_from_slice(piece);
            }
            Ok(())
        }

        fn end(&mut self) -> Result<(), TarError> {
            if let Some((_, _, ended)) = self.0.last_mut() {
                *ended = true;
            }
            Ok(())
        }
    }

    /// What a stream holds that comes in pieces of these lengths, over and over.
    pub(crate) fn read(stream: &[u8], lengths: &[usize]) -> Result<Told, TarError> {
        let (mut reader, mut told) = (Reader::new(), Told::default());
        let mut rest = stream;
        let mut lengths = lengths.iter().cycle();
        while !rest.is_empty() {
            let length = lengths.next().copied().unwrap_or(rest.len()).max(1);
            let (piece, after) = rest.split_at(length.min(rest.len()));
            reader.push(piece, &mut told)?;
            rest = after;
        }
        reader.finish()?;
        Ok(told)
    }
}

#[cfg(test)]
#[path = "tar_tests.rs"]
mod tests;
