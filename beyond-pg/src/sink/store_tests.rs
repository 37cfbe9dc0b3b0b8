//! Claims about what a sink says it holds.

use std::fs;

use wire::lsn::Lsn;
use wire::sink::Base;

use super::primary::{Look, Slot};
use super::store::{Store, StoreError};
use crate::layout::Layout;
use crate::sys::user::Account;
use crate::wal::forge::Forge;
use crate::wal::{SegmentSize, Stream};

const MIB: u64 = 1 << 20;

struct Sink {
    _dir: tempfile::TempDir,
    layout: Layout,
    store: Store,
}

fn look() -> Look {
    Look {
        system_id: "17".to_owned(),
        instance_id: Some("db".to_owned()),
        segment_bytes: MIB,
        redo_lsn: Lsn::new(4 * MIB),
        flush_lsn: Lsn::new(5 * MIB),
        slot: None,
    }
}

fn sink() -> Sink {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    fs::create_dir_all(layout.sink_wal()).unwrap();
    let store = Store::of(&layout);
    store.admit(&look(), Account::current()).unwrap();
    Sink {
        _dir: dir,
        layout,
        store,
    }
}

impl Sink {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test lays out what a receiver would"
    )]
    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.layout.sink_wal().join(name), bytes).unwrap();
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the test lays out what pg_basebackup would"
    )]
    fn put_base(&self, redo: u64) -> Base {
        let base = Base {
            system_id: "17".to_owned(),
            instance_id: Some("db".to_owned()),
            redo_lsn: Lsn::new(redo),
            bytes: 3,
            sha256: String::new(),
        };
        fs::create_dir(self.layout.sink_base()).unwrap();
        fs::write(self.layout.sink_base_tar(), b"tar").unwrap();
        let text = serde_json::to_vec(&base).unwrap();
        fs::write(self.layout.sink_base_description(), text).unwrap();
        base
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.layout.sink_wal()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A segment with two records, and where they end.
fn segment(number: u64) -> (Vec<u8>, Lsn) {
    let stream = Stream {
        system_id: 17,
        timeline: 1,
        segment: SegmentSize::new(MIB).unwrap(),
    };
    let mut forge = Forge::at(stream, Lsn::new(number * MIB));
    forge.record(&[1; 5000]);
    forge.record(&[2; 50_000]);
    let mut bytes: Vec<u8> = forge
        .pages
        .0
        .values()
        .flat_map(|page| page.to_vec())
        .collect();
    bytes.resize(1 << 20, 0);
    (bytes, forge.end)
}

#[test]
fn nothing_is_held_before_anything_came_in() {
    assert_eq!(sink().store.holding().unwrap(), None);
}

#[test]
fn what_is_safe_of_a_segment_that_grows_is_what_is_valid_in_it() {
    let sink = sink();
    let (bytes, end) = segment(5);
    sink.put("000000010000000000000004", &segment(4).0);
    sink.put("000000010000000000000005.partial", &bytes);
    sink.put("00000001.history", b"");
    sink.put("archive_status", b"");
    let holding = sink.store.holding().unwrap().unwrap();
    assert_eq!(holding.flushed_lsn, end);
    let listed: Vec<_> = holding
        .segments
        .iter()
        .map(|segment| (segment.name.as_str(), segment.bytes, segment.partial))
        .collect();
    assert_eq!(
        listed,
        [
            ("000000010000000000000004", MIB, false),
            (
                "000000010000000000000005.partial",
                end.get() - 5 * MIB,
                true
            ),
        ]
    );
    assert_eq!(holding.histories, ["00000001.history"]);
    assert_eq!(holding.instance_id.as_deref(), Some("db"));
}

#[test]
fn a_finished_segment_is_safe_whole_and_a_preallocated_one_adds_nothing() {
    let sink = sink();
    sink.put("000000010000000000000004", &segment(4).0);
    let flushed = || sink.store.holding().unwrap().unwrap().flushed_lsn;
    assert_eq!(flushed(), Lsn::new(5 * MIB));
    sink.put("000000010000000000000005.partial", &[0; 1 << 20]);
    assert_eq!(flushed(), Lsn::new(5 * MIB));
}

#[test]
fn a_segment_is_served_under_the_name_it_had_while_it_grew() {
    let sink = sink();
    sink.put("000000010000000000000004", b"whole");
    let file = |name: &str| sink.store.file(name).unwrap();
    assert_eq!(
        file("000000010000000000000004.partial").as_deref(),
        Some(&b"whole"[..])
    );
    assert_eq!(file("000000010000000000000005.partial"), None);
    for name in ["../identity.json", "identity.json", "", "archive_status"] {
        assert_eq!(file(name), None, "{name}");
    }
}

#[test]
fn another_primary_is_refused_and_the_same_one_is_not() {
    let sink = sink();
    sink.put("000000010000000000000004", b"");
    let fork = Look {
        instance_id: Some("fork".to_owned()),
        ..look()
    };
    let refused = sink.store.admit(&fork, Account::current()).unwrap_err();
    assert!(matches!(refused, StoreError::OtherDatabase { .. }));
    assert_eq!(
        refused.to_string().lines().next(),
        Some(
            "the primary is another database than the one whose WAL is here: system 17, instance fork instead of \
             system 17, instance db. Nothing was taken from it."
        )
    );
}

#[test]
fn a_primary_that_has_less_than_is_here_does_not_write_over_it() {
    let sink = sink();
    sink.put("000000010000000000000004", &segment(4).0);
    let admit = |flush_lsn| {
        let look = Look {
            flush_lsn,
            ..look()
        };
        sink.store.admit(&look, Account::current())
    };
    admit(Lsn::new(5 * MIB)).unwrap();
    let refused = admit(Lsn::new(5 * MIB - 8)).unwrap_err().to_string();
    assert!(
        refused.contains("ends at 0/4FFFF8, and what is here at 0/500000"),
        "{refused}"
    );
}

#[test]
fn only_what_ends_a_gibibyte_before_the_redo_point_is_forgotten() {
    let sink = sink();
    for name in [
        "000000010000000000000004",
        "000000010000000000000005",
        "000000010000000000000006.partial",
        "00000002.history",
    ] {
        sink.put(name, b"");
    }
    let all = sink.names();
    sink.store
        .forget_before(Lsn::new(1024 * MIB + 5 * MIB - 1))
        .unwrap();
    assert_eq!(sink.names(), all);
    sink.store
        .forget_before(Lsn::new(1024 * MIB + 5 * MIB))
        .unwrap();
    assert_eq!(sink.names(), all[1..]);
}

#[test]
fn a_slot_that_keeps_wal_only_behind_what_is_here_sets_that_aside_and_deletes_nothing() {
    let sink = sink();
    let owner = Account::current();
    let begin_again = |number: u64| {
        let slot = Slot {
            active: false,
            status: Some("reserved".to_owned()),
            restart_lsn: Some(Lsn::new(number * MIB + 8)),
        };
        sink.store.begin_again(&slot, owner).unwrap()
    };
    assert_eq!(
        begin_again(9),
        None,
        "nothing is here that could end in a hole"
    );
    sink.put("000000010000000000000004", b"old");
    assert_eq!(begin_again(5), None, "it goes on where what is here ends");
    let words = begin_again(6).unwrap();
    assert!(
        words.contains("keeps WAL from 0/600008 on, and what is here ends at 0/500000"),
        "{words}"
    );
    assert!(sink.names().is_empty());
    let before = sink
        .layout
        .sink_wal_before()
        .join("000000010000000000000004");
    assert_eq!(fs::read(before).unwrap(), b"old");
}

#[test]
fn a_slot_that_is_lost_keeps_nothing() {
    let slot = |status: &str| Slot {
        active: false,
        status: Some(status.to_owned()),
        restart_lsn: None,
    };
    assert!(slot("lost").is_lost());
    assert!(!slot("unreserved").is_lost());
}

/// The base and the WAL behind it are one whole.
#[test]
fn a_base_is_kept_with_the_wal_that_belongs_to_it() {
    let sink = sink();
    assert!(sink.store.wants_base(&look()).unwrap());
    let base = sink.put_base(4 * MIB);
    assert!(!sink.store.wants_base(&look()).unwrap());
    assert_eq!(sink.store.description(true).unwrap().base, Some(base));
    let piece = |from| sink.store.base_piece(from).unwrap();
    assert_eq!(piece(0).as_deref(), Some(&b"tar"[..]));
    assert_eq!(piece(2).as_deref(), Some(&b"r"[..]));
    assert_eq!(piece(9).as_deref(), Some(&b""[..]));
    // Its WAL begins in the segment with its redo point.
    sink.store
        .forget_before(Lsn::new(1024 * MIB + 4 * MIB))
        .unwrap();
    assert!(sink.layout.sink_base().exists());
    sink.store
        .forget_before(Lsn::new(1024 * MIB + 4 * MIB + 1))
        .unwrap();
    assert!(!sink.layout.sink_base().exists());
    assert_eq!(piece(0), None);
    sink.put_base(4 * MIB);
    sink.put("000000010000000000000004", b"old");
    let slot = Slot {
        active: false,
        status: None,
        restart_lsn: Some(Lsn::new(8 * MIB)),
    };
    sink.store
        .begin_again(&slot, Account::current())
        .unwrap()
        .unwrap();
    assert!(sink.store.wants_base(&look()).unwrap());
    let aside = sink.layout.sink_wal_before().join("base/base.tar");
    assert_eq!(fs::read(aside).unwrap(), b"tar");
}

#[test]
fn a_cluster_that_wrote_a_gibibyte_is_on_a_flushed_volume() {
    let wants = |redo: u64| {
        let look = Look {
            redo_lsn: Lsn::new(redo),
            ..look()
        };
        sink().store.wants_base(&look).unwrap()
    };
    assert!(wants(1024 * MIB - 1));
    assert!(!wants(1024 * MIB));
}

/// Nothing was acknowledged to the first one.
#[test]
fn a_sink_that_received_nothing_takes_another_primary() {
    let sink = sink();
    let other = Look {
        system_id: "18".to_owned(),
        ..look()
    };
    sink.store.admit(&other, Account::current()).unwrap();
    sink.put_base(4 * MIB);
    let refused = sink.store.admit(&look(), Account::current()).unwrap_err();
    assert!(matches!(refused, StoreError::OtherDatabase { .. }));
}

#[test]
fn the_tail_is_what_would_be_written_over_and_only_whole_records_of_it_count() {
    let sink = sink();
    sink.put("000000010000000000000004", &segment(4).0);
    assert_eq!(sink.store.tail().unwrap(), None);
    let (bytes, end) = segment(5);
    sink.put("000000010000000000000005.partial", &bytes);
    let tail = sink.store.tail().unwrap().unwrap();
    assert_eq!(tail.segment.to_string(), "000000010000000000000005");
    assert_eq!(tail.before.unwrap().to_string(), "000000010000000000000004");
    assert_eq!((tail.start, tail.records), (Lsn::new(5 * MIB), end));
    let counts = usize::try_from(end.get() - 5 * MIB).unwrap();
    let changed_at = |at: usize| {
        let mut theirs = bytes.clone();
        theirs[at] ^= 1;
        tail.differs(&bytes, &theirs)
    };
    assert_eq!(changed_at(counts), None);
    assert_eq!(changed_at(counts - 1), Some(counts - 1));
    assert_eq!(changed_at(0), Some(0));
    assert_eq!(tail.differs(&bytes, &bytes[..100]), Some(100));
}

#[test]
fn a_short_segment_that_grows_is_padded_and_keeps_its_bytes() {
    let sink = sink();
    sink.put("000000010000000000000004.partial", b"abc");
    sink.store.pad_partial(MIB).unwrap();
    let bytes = sink
        .store
        .file("000000010000000000000004.partial")
        .unwrap()
        .unwrap();
    assert_eq!((bytes.len(), &bytes[..3]), (1 << 20, &b"abc"[..]));
}
