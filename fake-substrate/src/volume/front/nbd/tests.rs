//! A small client of our own against the server.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::{serve, wire};
use crate::volume::backing::memory::{MemoryArena, MemoryJournal, MemoryObjects};
use crate::volume::host::Host;
use crate::volume::store::cut::Tear;
use crate::volume::store::decide::NewVolume;
use crate::volume::trouble::{Requests, Trouble, Verdict};

const FLUSH: u16 = 3;
const TRIM: u16 = 4;

fn host() -> Arc<Host> {
    let host = Host::open(
        Box::new(MemoryArena::default()),
        Box::new(MemoryJournal::default()),
        Arc::new(MemoryObjects::default()),
        1,
    )
    .unwrap();
    let new = NewVolume {
        name: "db".parse().unwrap(),
        bytes: 1 << 20,
        ephemeral: false,
        expires_ms: None,
    };
    host.create(new, 0).unwrap();
    Arc::new(host)
}

struct Client {
    stream: UnixStream,
    server: JoinHandle<()>,
}

impl Client {
    fn connect(host: &Arc<Host>) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let host = Arc::clone(host);
        let server = std::thread::spawn(move || serve(&host, theirs).unwrap());
        let mut client = Self {
            stream: ours,
            server,
        };
        assert_eq!(&client.take::<18>(), wire::GREETING);
        client.stream.write_all(&[0, 0, 0, 3]).unwrap();
        client
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Sends an option, returns the kinds of its answers up to the last and that one's data.
    fn option(&mut self, option: u32, data: &[u8]) -> (Vec<u32>, Vec<u8>) {
        let length = u32::try_from(data.len()).unwrap();
        let mut bytes = wire::OPTION.to_vec();
        bytes.extend(option.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(data);
        self.stream.write_all(&bytes).unwrap();
        let mut kinds = Vec::new();
        loop {
            let _magic_and_option = self.take::<12>();
            let kind = u32::from_be_bytes(self.take());
            let length = u32::from_be_bytes(self.take());
            let mut data = vec![0; length as usize];
            self.stream.read_exact(&mut data).unwrap();
            kinds.push(kind);
            if kind == 1 || kind >= 1 << 31 {
                return (kinds, data);
            }
        }
    }

    fn go(host: &Arc<Host>, name: &str) -> Self {
        let mut client = Self::connect(host);
        let (kinds, _) = client.option(7, &go(name));
        assert_eq!(kinds, [3, 3, 1]);
        client
    }

    fn request(&mut self, kind: u16, fua: bool, offset: u64, length: u32, data: &[u8]) -> u32 {
        let mut bytes = 0x2560_9513u32.to_be_bytes().to_vec();
        bytes.extend(u16::from(fua).to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend(b"a cookie");
        bytes.extend(offset.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(data);
        self.stream.write_all(&bytes).unwrap();
        let reply = self.take::<16>();
        assert_eq!(reply[8..], *b"a cookie");
        u32::from_be_bytes([reply[4], reply[5], reply[6], reply[7]])
    }

    fn write(&mut self, offset: u64, byte: u8, fua: bool) {
        assert_eq!(self.request(1, fua, offset, 4096, &[byte; 4096]), 0);
    }

    fn read(&mut self, offset: u64) -> u8 {
        assert_eq!(self.request(0, false, offset, 4096, &[]), 0);
        let block = self.take::<4096>();
        assert_eq!(block, [block[0]; 4096]);
        block[0]
    }

    fn disconnect(mut self) {
        let mut bytes = b"\x25\x60\x95\x13\0\0\0\x02".to_vec();
        bytes.resize(28, 0);
        self.stream.write_all(&bytes).unwrap();
        self.server.join().unwrap();
    }
}

fn go(name: &str) -> Vec<u8> {
    let mut data = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
    data.extend(name.bytes());
    data.extend([0, 0]);
    data
}

#[test]
fn what_is_written_is_read_back_after_a_new_connection() {
    let host = host();
    let mut client = Client::go(&host, "db");
    client.write(8192, 7, false);
    assert_eq!((client.read(8192), client.read(0)), (7, 0));
    assert_eq!(client.request(TRIM, false, 8192, 4096, &[]), 0);
    assert_eq!(client.read(8192), 0);
    client.write(4096, 9, false);
    client.disconnect();
    let mut again = Client::go(&host, "db");
    assert_eq!(again.read(4096), 9);
    again.disconnect();
}

#[test]
fn flush_and_fua_hold_through_a_power_cut_and_the_connection_gets_errors_after_it() {
    let host = host();
    let mut client = Client::go(&host, "db");
    client.write(0, 1, false);
    assert_eq!(client.request(FLUSH, false, 0, 0, &[]), 0);
    client.write(4096, 2, true);
    let cut = host
        .power_cut(&"db".parse().unwrap(), 3, Tear::Sector)
        .unwrap();
    assert_eq!(cut.unsynced, 0);
    assert_eq!(client.request(1, false, 0, 4096, &[9; 4096]), 5);
    client.disconnect();
    let mut again = Client::go(&host, "db");
    assert_eq!((again.read(0), again.read(4096)), (1, 2));
    again.disconnect();
}

#[test]
fn a_second_connection_is_refused_while_the_first_has_the_volume() {
    let host = host();
    let first = Client::go(&host, "db");
    let mut second = Client::connect(&host);
    let (kinds, why) = second.option(7, &go("db"));
    assert_eq!(kinds, [1 << 31 | 6]);
    assert!(String::from_utf8(why).unwrap().contains("is attached"));
    assert_eq!(second.option(7, &go("nothing")).0, [1 << 31 | 6]);
    assert_eq!(second.option(8, &[]).0, [1 << 31 | 1]);
    assert_eq!(second.option(7, &[1]).0, [1 << 31 | 3]);
    assert_eq!(second.option(3, &[]).0, [2, 1]);
    assert_eq!(second.option(2, &[]).0, [1]);
    second.server.join().unwrap();
    first.disconnect();
}

#[test]
fn a_request_outside_the_volume_is_an_error_and_the_connection_goes_on() {
    let host = host();
    let mut client = Client::go(&host, "db");
    assert_eq!(client.request(0, false, 1 << 20, 4096, &[]), 22);
    assert_eq!(client.request(1, false, u64::MAX, 512, &[0; 512]), 22);
    assert_eq!(client.request(0, false, 0, 33 << 20, &[]), 22);
    assert_eq!(client.request(9, false, 0, 0, &[]), 22);
    client.write(0, 1, false);
    client.disconnect();
}

#[test]
fn a_disk_in_trouble_answers_with_errors_and_nothing_of_it_is_done() {
    let host = host();
    let volume = "db".parse().unwrap();
    let mut client = Client::go(&host, "db");
    client.write(0, 1, false);
    for (on, kind, fua) in [
        (Requests::Reads, 0, false),
        (Requests::Writes, 1, false),
        (Requests::Writes, TRIM, false),
        (Requests::Flushes, FLUSH, false),
        (Requests::Flushes, 1, true),
    ] {
        let trouble = Trouble::new(on, Verdict::Fail);
        host.set_troubles(&volume, &[trouble]).unwrap();
        let data: &[u8] = if kind == 1 { &[9; 4096] } else { &[] };
        let length = if kind == FLUSH { 0 } else { 4096 };
        assert_eq!(client.request(kind, fua, 0, length, data), 5, "{on} {kind}");
        host.set_troubles(&volume, &[]).unwrap();
        assert_eq!(client.read(0), 1, "{on} {kind}");
    }
    let late = Trouble::new(Requests::Reads, Verdict::Delay { ms: 1 });
    host.set_troubles(&volume, &[late]).unwrap();
    assert_eq!(client.read(0), 1);
    assert_eq!(host.troubles(&volume)[0].struck, 1);
    client.disconnect();
}
