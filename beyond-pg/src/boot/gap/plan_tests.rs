//! Claims about what is fetched from a sink, and when nothing is.

use wire::lsn::Lsn;
use wire::sink::{Base, Description, Holding, Segment};

use super::plan::{Gap, Local, Mismatch, Part, cluster};
use crate::wal::{SegmentName, SegmentSize};

const SIZE: u64 = 16 << 20;

fn local(end: u64) -> Local {
    Local {
        system_id: 17,
        instance: Some("db".to_owned()),
        timeline: 2,
        segment: SegmentSize::DEFAULT,
        end: Lsn::new(end),
        left: vec![(1, Lsn::new(2 * SIZE + 80))],
    }
}

fn name(number: u64) -> SegmentName {
    SegmentName::new(2, number, SegmentSize::DEFAULT).unwrap()
}

fn whole(number: u64) -> Segment {
    Segment {
        name: name(number).to_string(),
        bytes: SIZE,
        partial: false,
    }
}

fn partial(number: u64, bytes: u64) -> Segment {
    Segment {
        name: format!("{}.partial", name(number)),
        bytes,
        partial: true,
    }
}

/// A sink that has everything from segment 3 to this position.
fn sink(flushed: u64) -> Holding {
    let last = flushed / SIZE;
    let mut segments: Vec<_> = (3..last).map(whole).collect();
    if !flushed.is_multiple_of(SIZE) {
        segments.push(partial(last, flushed % SIZE));
    }
    Holding {
        system_id: "17".to_owned(),
        instance_id: Some("db".to_owned()),
        timeline: 2,
        segment_bytes: SIZE,
        flushed_lsn: Lsn::new(flushed),
        segments,
        histories: vec!["00000002.history".to_owned()],
    }
}

fn part(number: u64, bytes: u64) -> Part {
    Part {
        segment: name(number),
        served: name(number).to_string(),
        bytes,
    }
}

fn growing(number: u64, bytes: u64) -> Part {
    Part {
        served: format!("{}.partial", name(number)),
        ..part(number, bytes)
    }
}

#[test]
fn what_lies_behind_the_end_of_the_volume_is_fetched_and_what_both_have_compared() {
    let (a, b) = (4 * SIZE + 800, 4 * SIZE + 1600);
    type Case = (&'static str, u64, u64, Option<Part>, Vec<Part>);
    let cases: [Case; 8] = [
        ("nothing is missing", a, a, Some(growing(4, 800)), vec![]),
        ("the volume is ahead", b, a, Some(growing(4, 800)), vec![]),
        (
            "the volume is ahead by segments",
            9 * SIZE,
            a,
            Some(growing(4, 800)),
            vec![],
        ),
        (
            "the tail of the segment that grows",
            a,
            b,
            Some(growing(4, 800)),
            vec![growing(4, 1600)],
        ),
        (
            "several segments",
            a,
            6 * SIZE + 8,
            Some(part(4, 800)),
            vec![part(4, SIZE), part(5, SIZE), growing(6, 8)],
        ),
        (
            "up to a border",
            a,
            6 * SIZE,
            Some(part(4, 800)),
            vec![part(4, SIZE), part(5, SIZE)],
        ),
        (
            "from a border",
            5 * SIZE,
            5 * SIZE + 48,
            Some(part(4, SIZE)),
            vec![growing(5, 48)],
        ),
        (
            "a beginning that the sink no longer has",
            3 * SIZE,
            3 * SIZE + 48,
            None,
            vec![growing(3, 48)],
        ),
    ];
    for (what, end, flushed, compare, fetch) in cases {
        let gap = local(end).gap(&sink(flushed)).unwrap();
        let until = Lsn::new(flushed);
        assert_eq!(
            gap,
            Gap {
                compare,
                fetch,
                until
            },
            "{what}"
        );
    }
}

#[test]
fn a_finished_segment_is_taken_before_the_one_that_it_was() {
    let mut both = sink(4 * SIZE + 800);
    both.segments.insert(1, whole(4));
    let gap = local(4 * SIZE + 80).gap(&both).unwrap();
    assert_eq!(gap.fetch, [part(4, 800)]);
}

#[test]
fn a_segment_of_the_timeline_before_does_until_there_is_one_of_ours() {
    let mut older = sink(5 * SIZE + 8);
    older.segments[1].name = older.segments[1].name.replacen("00000002", "00000001", 1);
    let gap = local(4 * SIZE + 80).gap(&older).unwrap();
    assert_eq!(gap.fetch[0].segment.timeline, 1);
    older.segments.push(whole(4));
    let gap = local(4 * SIZE + 80).gap(&older).unwrap();
    assert_eq!(gap.fetch[0].segment.timeline, 2);
}

#[test]
fn a_sink_that_is_not_this_databases_is_refused() {
    type Change = fn(&mut Holding);
    let cases: [(Change, Mismatch); 3] = [
        (
            |sink| sink.system_id = "18".to_owned(),
            Mismatch::OtherSystem {
                sink: "18".to_owned(),
                local: 17,
            },
        ),
        (
            |sink| sink.instance_id = Some("fork".to_owned()),
            Mismatch::OtherInstance {
                sink: "fork".to_owned(),
                local: "db".to_owned(),
            },
        ),
        (
            |sink| sink.segment_bytes = 1 << 20,
            Mismatch::SegmentSize {
                sink: 1 << 20,
                local: SIZE,
            },
        ),
    ];
    for (change, mismatch) in cases {
        let mut other = sink(4 * SIZE + 800);
        change(&mut other);
        assert_eq!(local(4 * SIZE).gap(&other), Err(mismatch));
    }
}

#[test]
fn an_instance_that_one_of_the_two_does_not_know_is_no_difference() {
    let mut nameless = sink(4 * SIZE);
    nameless.instance_id = None;
    local(4 * SIZE).gap(&nameless).unwrap();
    let without = Local {
        instance: None,
        ..local(4 * SIZE)
    };
    without.gap(&sink(4 * SIZE)).unwrap();
}

#[test]
fn a_hole_before_the_end_of_the_sink_is_refused() {
    let hole = |missing: u64, sink: &Holding| Mismatch::Hole {
        missing: name(missing).to_string(),
        local: Lsn::new(4 * SIZE + 80),
        sink: sink.flushed_lsn,
    };
    let mut without = sink(6 * SIZE + 8);
    without.segments.remove(2);
    let refused = local(4 * SIZE + 80).gap(&without);
    assert_eq!(refused, Err(hole(5, &without)));
    // It says that it has more than it lists.
    let mut lying = sink(6 * SIZE + 8);
    lying.segments[3].bytes = 7;
    assert_eq!(local(4 * SIZE + 80).gap(&lying), Err(hole(6, &lying)));
    let mut short = sink(6 * SIZE + 8);
    short.segments[1].bytes = SIZE - 8;
    assert_eq!(local(4 * SIZE + 80).gap(&short), Err(hole(4, &short)));
    // What the volume has anyway may miss.
    let mut late = sink(6 * SIZE + 8);
    late.segments.remove(0);
    local(4 * SIZE + 80).gap(&late).unwrap();
}

#[test]
fn a_sink_on_a_timeline_before_is_behind_unless_it_went_on_there() {
    let on_first = |flushed: u64| Holding {
        timeline: 1,
        ..sink(flushed)
    };
    let gap = local(4 * SIZE).gap(&on_first(2 * SIZE + 80)).unwrap();
    assert_eq!((gap.compare, gap.fetch), (None, vec![]));
    let refused = local(4 * SIZE).gap(&on_first(2 * SIZE + 88)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the sink's WAL and this volume's have diverged: this volume left timeline 1 at 0/2000050, the sink \
         followed it to 0/2000058. Nothing was changed, here or there.\n\
         HINT: one of the two holds commits that the other lacks. Keep both; compare them with pg_waldump, then \
         either restore the volume to a state of that history, or point this machine at a sink that is empty, \
         which gives up what only the old one has"
    );
}

#[test]
fn a_sink_on_a_timeline_that_this_volume_has_never_been_on_is_refused() {
    let ahead = Holding {
        timeline: 3,
        ..sink(4 * SIZE)
    };
    let refused = local(4 * SIZE).gap(&ahead).unwrap_err().to_string();
    assert!(
        refused.contains("on timeline 3, which this volume, on 2, has never been on"),
        "{refused}"
    );
}

fn base(system_id: &str, instance_id: Option<&str>) -> Base {
    Base {
        system_id: system_id.to_owned(),
        instance_id: instance_id.map(str::to_owned),
        redo_lsn: Lsn::new(SIZE),
        bytes: 1,
        sha256: String::new(),
    }
}

/// initdb writes no WAL: what a new cluster would take the place of, the sink alone can tell.
#[test]
fn a_volume_without_a_cluster_gets_the_one_that_the_sink_keeps_or_none_where_it_holds_wal_alone() {
    let of = |base: Option<Base>, holding: Option<Holding>| {
        let sink = Description {
            receiving: false,
            holding,
            base,
        };
        cluster(sink, Some("db"))
    };
    let ours = base("17", Some("db"));
    assert_eq!(of(None, None), Ok(None));
    assert_eq!(of(Some(ours.clone()), None), Ok(Some(ours.clone())));
    let wal = || Some(sink(4 * SIZE));
    assert_eq!(of(Some(ours.clone()), wal()), Ok(Some(ours)));
    let nameless = base("17", None);
    assert_eq!(of(Some(nameless.clone()), wal()), Ok(Some(nameless)));

    let refused = of(None, wal()).unwrap_err().to_string();
    assert_eq!(
        refused,
        "this volume holds no cluster, and the sink holds the WAL of one, system 17 up to 0/4000000, but not \
         the cluster: WAL alone makes none. Nothing was changed.\n\
         HINT: restore a snapshot or a backup of that database onto this volume; to begin with an empty \
         database, empty the sink's volume, which gives up what only it holds"
    );
    let others = Mismatch::OthersSink {
        sink: "fork".to_owned(),
        local: "db".to_owned(),
    };
    assert_eq!(
        of(Some(base("17", Some("fork"))), None),
        Err(others.clone())
    );
    let of_fork = Holding {
        instance_id: Some("fork".to_owned()),
        ..sink(4 * SIZE)
    };
    assert_eq!(of(None, Some(of_fork)), Err(others));
    let mixed = of(Some(base("18", Some("db"))), wal());
    assert!(
        matches!(mixed, Err(Mismatch::BaseOfAnother { .. })),
        "{mixed:?}"
    );
}
