//! Claims about what a sink says it holds.

use std::fs;

use wire::lsn::Lsn;

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
    sink.store.admit(&look(), Account::current()).unwrap();
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
fn a_lost_slot_sets_aside_what_is_here_and_deletes_nothing() {
    let sink = sink();
    let slot = Slot {
        active: false,
        status: Some("lost".to_owned()),
    };
    assert!(slot.is_lost());
    let owner = Account::current();
    let first = sink.store.begin_again(None, owner).unwrap();
    assert!(first.contains("keeps no WAL for this sink yet"), "{first}");
    sink.put("000000010000000000000004", b"old");
    let words = sink.store.begin_again(Some(&slot), owner).unwrap();
    assert!(words.contains("was invalidated"), "{words}");
    assert!(sink.names().is_empty());
    let before = sink
        .layout
        .sink_wal_before()
        .join("000000010000000000000004");
    assert_eq!(fs::read(before).unwrap(), b"old");
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
