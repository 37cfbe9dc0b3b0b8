//! Claims about what is fetched from an archive, and when nothing is.

#![expect(clippy::disallowed_methods, reason = "the tests lay out a PGDATA")]

use std::fs;
use std::path::Path;

use tokio_postgres::types::PgLsn;

use super::*;
use crate::archive::object::Object;
use crate::archive::store::memory::Memory;
use crate::postgres::controldata::ControlData;
use crate::sys::user::Account;
use crate::wal::forge::Forge;
use crate::wal::{SegmentSize, Stream};

const STREAM: Stream = Stream {
    system_id: 17,
    timeline: 1,
    segment: SegmentSize::DEFAULT,
};
const FIRST: u64 = 3;

fn segment(timeline: u32, number: u64) -> Segment {
    Segment { timeline, number }
}

fn local(end: u64) -> Local {
    Local {
        system_id: 17,
        instance: None,
        timeline: 1,
        segment: SegmentSize::DEFAULT,
        end: Lsn::new(end),
        left: Vec::new(),
    }
}

/// How far an archive with these reaches from the middle of segment 3, and what is stranded.
fn reach(archived: &[Segment]) -> (Option<u64>, Option<String>) {
    let reach = Reach::of(&local(3 * SEGMENT_BYTES + 100), archived);
    let end = reach
        .holding
        .map(|holding| holding.flushed_lsn.get() / SEGMENT_BYTES);
    (end, reach.stranded.map(|segment| segment.to_string()))
}

#[test]
fn an_archive_reaches_as_far_as_its_segments_follow_one_another() {
    let stranded = |name: &str| Some(name.to_owned());
    assert_eq!(reach(&[]), (None, None));
    assert_eq!(reach(&[segment(1, 3)]), (Some(4), None));
    assert_eq!(reach(&[segment(1, 3), segment(1, 4)]), (Some(5), None));
    assert_eq!(
        reach(&[segment(1, 3), segment(1, 5)]),
        (Some(4), stranded("000000010000000000000005"))
    );
    assert_eq!(
        reach(&[segment(1, 4)]),
        (None, stranded("000000010000000000000004"))
    );
    assert_eq!(
        reach(&[segment(1, 3), segment(2, 4)]),
        (Some(4), stranded("000000020000000000000004")),
        "it went on to another timeline"
    );
}

#[test]
fn a_volume_that_ends_with_a_segment_lacks_the_next_one() {
    let at_the_border = local(4 * SEGMENT_BYTES);
    let reach = Reach::of(&at_the_border, &[segment(1, 4)]);
    let gap = at_the_border.gap(&reach.holding.unwrap()).unwrap();
    assert_eq!((gap.compare, gap.fetch.len()), (None, 1));
}

/// A server that has filled segment after segment, each with the record of which the volume has the first.
struct Story {
    forge: Forge,
    middle: Lsn,
}

impl Story {
    fn new() -> Story {
        let mut forge = Forge::at(STREAM, Lsn::new(FIRST * SEGMENT_BYTES + 40));
        forge.record(b"before the flush point");
        let middle = forge.end;
        Story { forge, middle }
    }

    fn goes_on(mut self, with: &[u8], segments: u64) -> Story {
        for _segment in 0..segments {
            self.forge.record(with);
            self.forge.switch();
        }
        self
    }

    fn segment(&self, number: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(SEGMENT_BYTES).unwrap()];
        let begin = number * SEGMENT_BYTES;
        for (at, page) in self.forge.pages.0.range(begin..begin + SEGMENT_BYTES) {
            let at = usize::try_from(at - begin).unwrap();
            bytes[at..at + page.len()].copy_from_slice(&page[..]);
        }
        bytes
    }
}

/// The volume as of `middle`, in that folder.
fn volume<'a>(layout: &'a Layout, story: &Story) -> Volume<'a> {
    let wal = layout.pgdata().join("pg_wal");
    fs::create_dir_all(&wal).unwrap();
    fs::create_dir_all(layout.pgdata().join("beyond")).unwrap();
    let before = Story::new();
    fs::write(
        wal.join(segment(1, FIRST).to_string()),
        before.segment(FIRST),
    )
    .unwrap();
    let control = ControlData {
        state: "in production".to_owned(),
        redo: PgLsn::from(FIRST * SEGMENT_BYTES + 40),
        checkpoint: PgLsn::from(FIRST * SEGMENT_BYTES + 40),
        system_id: 17,
        timeline: 1,
        segment_bytes: SEGMENT_BYTES,
    };
    let volume = Volume::of(layout, Account::current(), None, control).unwrap();
    assert_eq!(volume.local.end, story.middle);
    volume
}

fn archive(story: &Story, numbers: &[u64]) -> (Memory, Place) {
    let (store, place) = (Memory::default(), Place::new("a", Some("db")));
    for number in numbers {
        let key = place.file(&WalFile::from(segment(1, *number)));
        let object = Object::of(&story.segment(*number), 17).unwrap();
        store.objects.borrow_mut().insert(key, object);
    }
    (store, place)
}

async fn caught(root: &Path, ours: &Story, theirs: &Story, numbers: &[u64]) -> Caught {
    let layout = Layout::new(root);
    let volume = volume(&layout, ours);
    let (store, place) = archive(theirs, numbers);
    let archived = listed(&store, &place, &volume.local).await.unwrap();
    fill(&volume, &store, &place, &archived).await.unwrap()
}

#[tokio::test]
async fn what_was_archived_since_is_put_in_place_and_is_valid_wal() {
    let root = tempfile::tempdir().unwrap();
    let story = Story::new().goes_on(b"since", 2);
    // The one before was archived, too, and is of no interest.
    let came = caught(root.path(), &story, &story, &[2, 3, 4]).await;
    let until = Lsn::new(5 * SEGMENT_BYTES);
    let expected = Caught::Up {
        end: story.middle,
        until,
        fetched: 2,
        left: None,
    };
    assert_eq!(came, expected);
    let told = Told::of(&Ok(came));
    assert_eq!((told.words, told.again), (None, false));
    assert_eq!(told.filled.unwrap().until, until);
    let wal = Layout::new(root.path()).pgdata().join("pg_wal");
    for number in [3, 4] {
        let there = fs::read(wal.join(segment(1, number).to_string())).unwrap();
        assert!(there == story.segment(number), "segment {number}");
    }
}

#[tokio::test]
async fn another_course_of_the_same_timeline_is_left_alone_and_named() {
    let root = tempfile::tempdir().unwrap();
    let (ours, mut theirs) = (Story::new(), Story::new());
    // In a segment that begins otherwise.
    theirs.forge = Forge::at(STREAM, Lsn::new(FIRST * SEGMENT_BYTES + 40));
    let theirs = theirs.goes_on(b"from the very beginning", 2);
    let came = caught(root.path(), &ours, &theirs, &[3, 4]).await;
    assert!(
        matches!(&came, Caught::Not { why } if why.contains("is not the same in both")),
        "{came:?}"
    );
    let wal = Layout::new(root.path()).pgdata().join("pg_wal");
    let there = fs::read(wal.join(segment(1, FIRST).to_string())).unwrap();
    assert!(there == Story::new().segment(FIRST));
    let told = Told::of(&Ok(came));
    assert!(
        told.words
            .unwrap()
            .starts_with("what the archive has does not follow")
    );
    assert!(!told.again);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_fetched_now_is_waited_for_and_what_never_can_is_not() {
    let story = Story::new().goes_on(b"since", 2);
    for (why, again) in [
        (Why::Trouble, true),
        (Why::NoBucket, true),
        (Why::Forbidden, false),
    ] {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let volume = volume(&layout, &story);
        let (store, place) = archive(&story, &[3, 4]);
        let archived = listed(&store, &place, &volume.local).await.unwrap();
        store.refuses.set(100);
        store.refused_for.set(Some(why));
        let came = fill(&volume, &store, &place, &archived).await.unwrap();
        assert_eq!(Told::of(&Ok(came)).again, again, "{why:?}");
    }
    let unasked = Told::of(&Err("no route".to_owned()));
    assert!(
        unasked
            .words
            .unwrap()
            .starts_with("started without asking the archive")
    );
    assert!(!unasked.again);
}
