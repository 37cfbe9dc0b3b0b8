//! NBD's bytes: fixed newstyle negotiation and simple replies. All figures are big endian.
//!
//! ```text
//! server  "NBDMAGIC" "IHAVEOPT" flags u16          client  flags u32
//! client  "IHAVEOPT" option u32, length u32, data  server  magic u64, option u32, kind u32, length u32, data
//! client  magic u32, flags u16, kind u16, cookie u64, offset u64, length u32, data of a write
//! server  magic u32, errno u32, cookie u64, data of a read
//! ```

/// What the server says first.
pub const GREETING: &[u8; 18] = b"NBDMAGICIHAVEOPT\0\x03";
/// In front of every option.
pub const OPTION: &[u8; 8] = b"IHAVEOPT";
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
/// flags present, FLUSH, FUA, TRIM, WRITE_ZEROES.
pub const EXPORT_FLAGS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6;
/// The largest read or write; clients know this limit without being told.
pub const LARGEST: u32 = 32 << 20;
/// Bytes of a request without its data.
pub const REQUEST_BYTES: usize = 28;

/// What a client may ask for before the export is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientOption {
    /// The oldest way to choose an export: answered without an option reply.
    ExportName(String),
    /// The end.
    Abort,
    /// Which exports are there?
    List,
    /// What is this export like?
    Info(String),
    /// Let me have this export.
    Go(String),
    /// Anything else.
    Unknown,
    /// Data that does not fit the option.
    Malformed,
}

/// Reads an option's data.
pub fn client_option(option: u32, data: &[u8]) -> ClientOption {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    match option {
        1 => text(data).map_or(ClientOption::Malformed, ClientOption::ExportName),
        2 => ClientOption::Abort,
        3 => ClientOption::List,
        6 | 7 => {
            let name = data.split_first_chunk::<4>().and_then(|(length, rest)| {
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                let name = rest.get(..length)?;
                // The rest is a list of what the client would like to know.
                let (count, wishes) = rest[length..].split_first_chunk::<2>()?;
                let wanted = usize::from(u16::from_be_bytes(*count)) * 2;
                (wishes.len() == wanted).then(|| text(name))?
            });
            match (name, option) {
                (None, _) => ClientOption::Malformed,
                (Some(name), 6) => ClientOption::Info(name),
                (Some(name), _) => ClientOption::Go(name),
            }
        }
        _ => ClientOption::Unknown,
    }
}

/// How an option is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Answer {
    /// Done.
    Ack = 1,
    /// An export's name.
    Server = 2,
    /// Something about an export.
    Info = 3,
    /// Not known.
    Unsupported = 1 << 31 | 1,
    /// Not understood.
    Invalid = 1 << 31 | 3,
    /// No such export.
    UnknownExport = 1 << 31 | 6,
}

/// The answer to an option.
pub fn option_reply(option: u32, answer: Answer, data: &[u8]) -> Vec<u8> {
    let mut bytes = OPTION_REPLY.to_be_bytes().to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend((answer as u32).to_be_bytes());
    bytes.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// Size and flags, as INFO tells them.
pub fn export_info(bytes: u64) -> Vec<u8> {
    let mut info = 0u16.to_be_bytes().to_vec();
    info.extend(bytes.to_be_bytes());
    info.extend(EXPORT_FLAGS.to_be_bytes());
    info
}

/// Smallest, preferred and largest request, as INFO tells them.
pub fn block_size_info() -> Vec<u8> {
    let mut info = 3u16.to_be_bytes().to_vec();
    for size in [512u32, 4096, LARGEST] {
        info.extend(size.to_be_bytes());
    }
    info
}

/// What a client does to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Read.
    Read,
    /// Write; the data follows.
    Write,
    /// The end; not answered.
    Disconnect,
    /// Make everything durable.
    Flush,
    /// This range is not needed any more.
    Trim,
    /// This range shall be zeroes.
    WriteZeroes,
    /// Anything else.
    Unknown,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// What.
    pub command: Command,
    /// Whether it shall be durable when it is answered.
    pub fua: bool,
    /// How the client calls it.
    pub cookie: [u8; 8],
    /// Where.
    pub offset: u64,
    /// How much.
    pub length: u32,
}

/// Reads a request; `None` when it is none, after which nothing on the connection can be trusted.
pub fn request(bytes: &[u8; REQUEST_BYTES]) -> Option<Incoming> {
    let [magic, rest @ ..] = bytes.as_chunks::<4>().0 else {
        return None;
    };
    if u32::from_be_bytes(*magic) != REQUEST {
        return None;
    }
    let [[f0, f1, k0, k1], c0, c1, o0, o1, length] = rest else {
        return None;
    };
    let eight = |one: &[u8; 4], two: &[u8; 4]| {
        let mut eight = [0; 8];
        eight[..4].copy_from_slice(one);
        eight[4..].copy_from_slice(two);
        eight
    };
    Some(Incoming {
        command: match u16::from_be_bytes([*k0, *k1]) {
            0 => Command::Read,
            1 => Command::Write,
            2 => Command::Disconnect,
            3 => Command::Flush,
            4 => Command::Trim,
            6 => Command::WriteZeroes,
            _ => Command::Unknown,
        },
        fua: u16::from_be_bytes([*f0, *f1]) & 1 != 0,
        cookie: eight(c0, c1),
        offset: u64::from_be_bytes(eight(o0, o1)),
        length: u32::from_be_bytes(*length),
    })
}

/// The answer to a request; the data of a successful read follows.
pub fn reply(cookie: [u8; 8], errno: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&REPLY.to_be_bytes());
    bytes[4..8].copy_from_slice(&errno.to_be_bytes());
    bytes[8..].copy_from_slice(&cookie);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Answer, ClientOption, Command, client_option, export_info, option_reply, reply};
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    #[test]
    fn a_request_is_these_bytes() {
        let bytes = b"\x25\x60\x95\x13\0\x01\0\x01cookie!!\0\0\0\0\0\0\x10\0\0\0\x02\0";
        let request = super::request(bytes).unwrap();
        assert_eq!(request.command, Command::Write);
        assert_eq!((request.fua, &request.cookie), (true, b"cookie!!"));
        assert_eq!((request.offset, request.length), (4096, 512));
        assert_eq!(super::request(&[0; 28]), None);
    }

    #[test]
    fn answers_are_these_bytes() {
        assert_eq!(
            reply(*b"cookie!!", 5),
            *b"\x67\x44\x66\x98\0\0\0\x05cookie!!"
        );
        assert_eq!(
            option_reply(7, Answer::Info, &export_info(1 << 20)),
            b"\0\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x07\0\0\0\x03\0\0\0\x0c\0\0\0\0\0\0\0\x10\0\0\0\x6d"
        );
    }

    #[test]
    fn an_option_names_its_export() {
        let go = client_option(7, b"\0\0\0\x02db\0\x01\0\x03");
        assert_eq!(go, ClientOption::Go("db".to_owned()));
        assert_eq!(
            client_option(1, b"db"),
            ClientOption::ExportName("db".to_owned())
        );
        for malformed in [
            &b""[..],
            b"\0\0\0\x09db\0\0",
            b"\0\0\0\x02db\0\x02\0\0",
            b"\xff\xff\xff\xff",
        ] {
            assert_eq!(client_option(7, malformed), ClientOption::Malformed);
        }
    }

    proptest! {
        #[test]
        fn any_option_is_read_without_a_panic(option in 0u32..12, data in prop::collection::vec(any::<u8>(), 0..40)) {
            let read = client_option(option, &data);
            prop_assert_eq!(read == ClientOption::Unknown, ![1, 2, 3, 6, 7].contains(&option));
        }
    }
}
