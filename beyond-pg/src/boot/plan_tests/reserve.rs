//! The reserve file on a volume that fills up.

use super::*;

#[test]
fn on_a_full_volume_the_reserve_makes_room_before_anything_is_written() {
    let full = Volume {
        reserve: 66 << 20,
        ..filled(100)
    };
    let steps = disk(&Facts {
        volume: full,
        ..booted()
    });
    assert_eq!(
        steps[0],
        "release the reserve file but for 2 MB: the volume is full"
    );
    assert!(
        !steps
            .iter()
            .any(|step| step.starts_with("make the reserve"))
    );
}

#[test]
fn a_full_volume_that_is_as_it_should_be_gets_nothing_written_to_it() {
    let layout = Layout::new("/");
    let as_it_should_be = settled(&layout);
    let facts = Facts {
        volume: filled(100),
        ..as_it_should_be
    };
    assert_eq!(disk(&facts), Vec::<String>::new());
}

#[test]
fn the_reserve_is_made_where_it_is_missing_and_there_is_room() {
    let step = "make the reserve file (66 MB)".to_owned();
    for (percent, made) in [(50, true), (84, true), (85, false), (100, false)] {
        let volume = filled(percent);
        let steps = disk(&Facts { volume, ..booted() });
        assert_eq!(steps.contains(&step), made, "at {percent} %");
    }
}

#[test]
fn the_last_part_of_the_reserve_stays_for_sessions_and_is_no_reserve() {
    let volume = |percent| Volume {
        reserve: 2 << 20,
        ..filled(percent)
    };
    let steps = |percent| {
        let volume = volume(percent);
        disk(&Facts { volume, ..booted() })
    };
    let about_it = |step: &String| step.contains("the reserve file");
    assert!(!steps(100).iter().any(about_it), "{:?}", steps(100));
    let made = "make the reserve file (66 MB)".to_owned();
    assert!(steps(50).contains(&made), "{:?}", steps(50));
}

#[test]
fn beside_a_running_server_the_reserve_is_not_released() {
    let settings = settings(&[]);
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let layout = Layout::new("/");
    let facts = Facts {
        volume: Volume {
            reserve: 66 << 20,
            ..filled(100)
        },
        ..booted()
    };
    for holds_volume in [true, false] {
        let boot = Boot {
            settings: &settings,
            machine: &MACHINE,
            manifest: &manifest,
            layout: &layout,
            holds_volume,
        };
        let steps = boot.plan(&facts).unwrap().disk;
        let releases = steps
            .iter()
            .any(|step| matches!(step, DiskStep::ReleaseReserve { .. }));
        assert_eq!(releases, holds_volume);
    }
}
