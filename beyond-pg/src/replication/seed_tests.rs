use super::*;
use tokio_postgres::types::PgLsn;

fn primary(system_id: &str, timeline: u32) -> Member {
    Member {
        system_id: system_id.to_owned(),
        instance_id: Some("i-b".to_owned()),
        timeline,
        in_recovery: false,
        flushed_lsn: None,
        slot: None,
    }
}

fn control(timeline: u32) -> ControlData {
    ControlData {
        state: "in production".to_owned(),
        system_id: 7,
        redo: PgLsn::from(1),
        timeline,
        checkpoint: PgLsn::from(1),
        segment_bytes: 16 << 20,
    }
}

#[test]
fn a_volume_follows_a_later_timeline_and_a_copy_its_own() {
    assert!(objection(&primary("7", 2), &control(1), false).is_none());
    assert!(objection(&primary("7", 2), &control(1), true).is_none());
    assert!(objection(&primary("7", 1), &control(1), true).is_none());
}

#[test]
fn another_cluster_an_earlier_timeline_and_a_second_writer_are_not_followed() {
    let of = |primary: &Member, timeline, copy| {
        objection(primary, &control(timeline), copy)
            .unwrap()
            .to_string()
    };
    let foreign = of(&primary("8", 2), 1, true);
    assert!(
        foreign.contains("holds the cluster 8, and this volume 7"),
        "{foreign}"
    );
    let later = of(&primary("7", 1), 2, false);
    assert!(
        later.contains("on timeline 2, which is later than the 1"),
        "{later}"
    );
    let twin = of(&primary("7", 1), 1, false);
    assert!(twin.contains("was written to on timeline 1"), "{twin}");
    for words in [foreign, later, twin] {
        assert!(words.contains("Nothing was changed.\nHINT: "), "{words}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test lays out a PGDATA")]
fn a_standby_keeps_what_is_the_clusters_and_nothing_of_another_machine() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let pgdata = layout.pgdata();
    for folder in ["beyond", "conf.d", "pg_replslot/of_another", "global"] {
        std::fs::create_dir_all(pgdata.join(folder)).unwrap();
    }
    for file in [
        "beyond/instance-id",
        "beyond/server.key",
        "beyond/promoted.json",
        "conf.d/02-durability.conf",
        "conf.d/99-user.conf",
        "pg_replslot/of_another/state",
        "global/pg_control",
    ] {
        std::fs::write(pgdata.join(file), "x").unwrap();
    }
    let name = crate::settings::StandbyName::parse("i-c").unwrap();
    let conninfo = crate::settings::Conninfo::parse("host=a").unwrap();
    let upstream = Upstream::of_standby(&layout, &conninfo, &name);
    let seeding = Seeding {
        layout: &layout,
        owner: Account::current(),
        upstream: &upstream,
        say: &|_words| {},
    };
    for _twice in 0..2 {
        seeding.make_standby(&pgdata).unwrap();
        let there = |file: &str| pgdata.join(file).exists();
        assert!(there("standby.signal") && there("conf.d/99-user.conf"));
        assert!(there("global/pg_control") && there("pg_replslot"));
        for gone in [
            "beyond/instance-id",
            "beyond/server.key",
            "beyond/promoted.json",
            "conf.d/02-durability.conf",
            "pg_replslot/of_another",
        ] {
            assert!(!there(gone), "{gone}");
        }
    }
}
