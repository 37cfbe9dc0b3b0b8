use super::pieces::{Kind, Piece, Purpose};
use super::{Facts, Finding, Room, Weight, findings};
use crate::docker::Facilities;
use crate::docker::engine::Engine;

fn well() -> Facts {
    Facts {
        engine: Engine {
            version: "20.10.24+dfsg1".to_owned(),
            storage: "overlay2".to_owned(),
            cgroup: "2".to_owned(),
            cpus: 2,
            memory: 8 << 30,
            root: "/var/lib/docker".to_owned(),
        },
        facilities: Facilities {
            system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            of_this_machine: true,
            remapped: false,
            devices: vec!["/dev/fuse", "/dev/loop-control"],
        },
        room: Some(Room {
            path: "/var/lib/docker".to_owned(),
            free: 80 << 30,
        }),
        images: vec!["beyond-postgres".to_owned()],
        ..Facts::default()
    }
}

fn piece(kind: Kind, purpose: Purpose) -> Piece {
    Piece {
        substrate: "local".parse().unwrap(),
        kind,
        name: "x".to_owned(),
        state: None,
        purpose,
        orphaned: false,
    }
}

fn machine(name: &str, host: Option<&str>) -> Piece {
    let (name, host) = (name.to_owned(), host.map(str::to_owned));
    piece(Kind::Container, Purpose::Machine { name, host })
}

fn fork_volume(machine: &str) -> Piece {
    let purpose = Purpose::Volume {
        machine: machine.to_owned(),
        parent: Some("db".to_owned()),
        block: false,
    };
    piece(Kind::Volume, purpose)
}

fn host_disk(name: &str) -> Piece {
    let name = name.to_owned();
    piece(Kind::Volume, Purpose::Host { name })
}

fn remarkable(facts: &Facts) -> Vec<Finding> {
    let all = findings(facts).into_iter();
    all.filter(|finding| finding.weight > Weight::Fine)
        .collect()
}

fn only(facts: &Facts) -> Finding {
    let [finding] = remarkable(facts).try_into().unwrap();
    finding
}

#[test]
fn where_all_is_well_there_is_nothing_to_do() {
    assert_eq!(remarkable(&well()), []);
    let all = findings(&well());
    assert!(all.iter().all(|finding| finding.hint.is_none()));
    assert_eq!(
        all[0].what,
        "Docker 20.10.24+dfsg1, storage driver overlay2, cgroup v2"
    );
    assert_eq!(all[2].what, "80.0 GiB free at /var/lib/docker");
}

#[test]
fn what_is_remarkable_says_what_to_do() {
    let old = Engine {
        version: "19.3.1".to_owned(),
        ..well().engine
    };
    let small = Engine {
        memory: (1 << 30) + (1 << 29),
        ..well().engine
    };
    let full = Room {
        path: "/d".to_owned(),
        free: 1 << 20,
    };
    let desktop = Facilities {
        system: "Docker Desktop".to_owned(),
        ..well().facilities
    };
    let silent = [("local".parse().unwrap(), "connection refused".to_owned())];
    let cases = [
        (
            Facts {
                engine: old,
                ..well()
            },
            Weight::Note,
            "Docker 19.3.1",
        ),
        (
            Facts {
                engine: small,
                ..well()
            },
            Weight::Note,
            "1.5 GiB of memory",
        ),
        (
            Facts {
                room: Some(full),
                ..well()
            },
            Weight::Trouble,
            "0.0 GiB free at /d",
        ),
        (
            Facts {
                facilities: desktop,
                ..well()
            },
            Weight::Note,
            "folders for volumes, since Docker Desktop",
        ),
        (
            Facts {
                images: Vec::new(),
                ..well()
            },
            Weight::Note,
            "image is not built",
        ),
        (
            Facts {
                silent: silent.into(),
                ..well()
            },
            Weight::Trouble,
            "does not answer: connection refused",
        ),
    ];
    for (facts, weight, words) in cases {
        let found = only(&facts);
        assert!(
            found.weight == weight && found.what.contains(words),
            "{found:?}"
        );
        assert!(found.hint.is_some(), "{found:?}");
    }
}

#[test]
fn a_disk_that_cannot_be_seen_is_not_spoken_of() {
    let facts = Facts {
        room: None,
        ..well()
    };
    assert_eq!(findings(&facts).len(), findings(&well()).len() - 1);
}

#[test]
fn a_volume_with_a_parent_and_no_machine_is_told_from_a_fork() {
    let mut facts = Facts {
        pieces: vec![fork_volume("copy"), machine("copy", None)],
        ..well()
    };
    assert_eq!(remarkable(&facts), []);
    facts.pieces.pop();
    let hint = only(&facts).hint.unwrap();
    assert!(hint.contains("fake-substrate fork db copy"), "{hint}");
}

#[test]
fn a_machine_without_its_host_waits_to_be_rehomed() {
    let mut facts = Facts {
        pieces: vec![machine("db", Some("host-1")), host_disk("host-1")],
        ..well()
    };
    assert_eq!(remarkable(&facts), []);
    facts.pieces.pop();
    let found = only(&facts);
    assert_eq!(found.what, "substrate local: db was lost with host-1");
    assert_eq!(
        found.hint.unwrap(),
        "`fake-substrate --substrate local rehome db`"
    );
}

#[test]
fn what_killed_runs_left_is_counted_and_not_taken_for_half_made() {
    let mut facts = Facts {
        pieces: vec![fork_volume("copy"), host_disk("host-1")],
        ..well()
    };
    for piece in &mut facts.pieces {
        piece.orphaned = true;
    }
    assert!(
        only(&facts)
            .what
            .starts_with("2 containers, networks and volumes are left over")
    );
}

#[test]
fn the_privileged_ones_are_the_hosts_and_the_machines_that_mount_a_disk() {
    let name = "host-1".to_owned();
    let store = piece(Kind::Container, Purpose::Host { name });
    assert!(store.privileges().contains("MKNOD"));
    assert!(
        machine("db", Some("host-1"))
            .privileges()
            .starts_with("SYS_ADMIN")
    );
    for piece in [
        machine("db", None),
        host_disk("host-1"),
        piece(Kind::Container, Purpose::Service),
    ] {
        assert_eq!(piece.privileges(), "none", "{piece}");
    }
}
