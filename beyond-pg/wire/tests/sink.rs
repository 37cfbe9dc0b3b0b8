//! The JSON of a sink's description, written by hand, in both directions.

use serde_json::Value;
use wire::lsn::Lsn;
use wire::sink::{Base, Description, Holding, Segment, base, base_asked, file};

const GOLDEN: &str = include_str!("golden/sink-description.json");

fn description() -> Description {
    let segment = |name: &str, bytes, partial| Segment {
        name: name.to_owned(),
        bytes,
        partial,
    };
    Description {
        receiving: true,
        holding: Some(Holding {
            system_id: "7575400226518282265".to_owned(),
            instance_id: Some("db-1".to_owned()),
            timeline: 2,
            segment_bytes: 16 << 20,
            flushed_lsn: Lsn::new(0x500_2148),
            segments: vec![
                segment("000000020000000000000004", 16 << 20, false),
                segment("000000020000000000000005.partial", 8520, true),
            ],
            histories: vec!["00000002.history".to_owned()],
        }),
        base: Some(Base {
            system_id: "7575400226518282265".to_owned(),
            instance_id: Some("db-1".to_owned()),
            redo_lsn: Lsn::new(0x200_0028),
            bytes: 40_997_376,
            sha256: "ab".repeat(32),
        }),
    }
}

#[test]
fn a_description_is_the_golden_in_both_directions() {
    let read: Description = serde_json::from_str(GOLDEN).expect("the golden is a description");
    assert_eq!(read, description());
    let golden: Value = serde_json::from_str(GOLDEN).expect("the golden is JSON");
    let written = serde_json::to_value(description()).expect("a description is JSON");
    assert_eq!(written, golden);
}

#[test]
fn a_sink_that_holds_nothing_says_so() {
    let nothing: Description = serde_json::from_str(r#"{"receiving":false}"#).expect("JSON");
    assert_eq!(nothing, Description::default());
}

#[test]
fn a_field_that_is_new_is_no_obstacle_and_one_that_misses_is() {
    let newer = GOLDEN.replacen('{', r#"{"colour":"blue","#, 1);
    let read: Description = serde_json::from_str(&newer).expect("a newer sink is understood");
    assert_eq!(read, description());
    let without = GOLDEN.replace("\"flushed_lsn\"", "\"flushed\"");
    serde_json::from_str::<Description>(&without).expect_err("no position");
}

#[test]
fn files_lie_under_the_description() {
    assert_eq!(file("00000002.history"), "/v1/wal/00000002.history");
}

#[test]
fn a_base_is_asked_for_from_a_byte_on() {
    assert_eq!(base(8_388_608), "/v1/base/8388608");
    assert_eq!(base_asked("/v1/base/8388608"), Some(8_388_608));
    for other in ["/v1/base/", "/v1/base/-1", "/v1/base/1/2", "/v1/wal"] {
        assert_eq!(base_asked(other), None, "{other}");
    }
}
