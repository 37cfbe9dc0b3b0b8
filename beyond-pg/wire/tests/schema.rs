//! The schema of the control RPC is what is packed: no field without a row, no row without a field.

use std::collections::BTreeMap;

use serde_json::Value;
use wire::lsn::Lsn;
use wire::rpc::schema::{self, Field, Kind};
use wire::rpc::{
    Archive, Backup, Command, CommandName, CommandRow, Configuration, Disk, Health, Lifecycle,
    Request, Response, Server, Standby, Upstream, Versions, Wal,
};

/// Every command once. The match makes a new one appear here.
fn example(name: CommandName) -> Command {
    match name {
        CommandName::Capabilities => Command::Capabilities,
        CommandName::Health => Command::Health,
        CommandName::Checkpoint => Command::Checkpoint,
        CommandName::Reload => Command::Reload,
        CommandName::Backup => Command::Backup,
        CommandName::PrepareFork => Command::PrepareFork,
        CommandName::Promote => Command::Promote,
        CommandName::SetSyncStandbys => Command::SetSyncStandbys {
            names: vec!["sink".to_owned()],
        },
        CommandName::ArchiveNow => Command::ArchiveNow,
        CommandName::Shutdown => Command::Shutdown,
    }
}

const LSN: Option<Lsn> = Some(Lsn::new(0x16_B374_D848));

fn text() -> String {
    "text".to_owned()
}

fn server() -> Server {
    Server {
        up: true,
        pid: Some(17),
        since: Some(1),
        starts: 1,
        last_exit: Some(text()),
        last_exit_at: Some(1),
    }
}

/// With something in every field, spelt out so that a new one does not compile without.
fn full_health() -> Health {
    Health {
        state: text(),
        ready_since: Some(1),
        degraded: vec![text()],
        unanswered: vec![text()],
        postgres: server(),
        pooler: server(),
        in_recovery: Some(false),
        timeline: Some(1),
        wal: Wal {
            insert_lsn: LSN,
            flush_lsn: LSN,
            replay_lsn: LSN,
            redo_lsn: LSN,
            checkpoint_at: Some(1),
        },
        backup: Backup {
            name: Some(text()),
            since: Some(1),
            bytes: Some(1),
            last_name: Some(text()),
            last_at: Some(1),
            last_lsn: LSN,
            last_error: Some(text()),
        },
        archive: Archive {
            by: Some(text()),
            target: Some(text()),
            last_segment: Some(text()),
            last_at: Some(1),
            failures: Some(1),
            last_failed_segment: Some(text()),
            last_failed_at: Some(1),
            last_error: Some(text()),
            waiting: Some(1),
            unarchived_first: Some(text()),
            unarchived_last: Some(text()),
        },
        upstream: Some(Upstream {
            receiving: true,
            from: Some(text()),
            slot: Some(text()),
            end_lsn: LSN,
            heard_at: Some(1),
            replay_lag_bytes: Some(1),
        }),
        standbys: vec![Standby {
            name: text(),
            state: text(),
            sync_state: text(),
            sent_lsn: LSN,
            flush_lsn: LSN,
            replay_lsn: LSN,
            sent_lag_bytes: Some(1),
            flush_lag_bytes: Some(1),
            replay_lag_bytes: Some(1),
        }],
        disk: Disk {
            bytes: Some(1),
            free_bytes: Some(1),
            error: Some(text()),
        },
        configuration: Configuration {
            loaded_at: Some(1),
            in_force: vec![text()],
            pending_restart: vec![text()],
            objections: vec![text()],
        },
        versions: Versions {
            beyond_pg: text(),
            postgres: Some(text()),
        },
        boot: Some(serde_json::Map::new()),
    }
}

fn full_answer() -> Response {
    Response {
        ok: true,
        error: Some(text()),
        lsn: LSN,
        flush_lsn: LSN,
        timeline: Some(1),
        sync_standbys: Some(text()),
        segment: Some(text()),
        backup: Some(text()),
        objections: vec![text()],
        commands: Some(vec![text()]),
        health: Some(full_health()),
    }
}

/// What a packed value is. A number's unit and what a text means are not in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Bool,
    Number,
    Text,
    Texts,
    Map,
    Maps,
}

fn declared(kind: Kind) -> Shape {
    match kind {
        Kind::Bool => Shape::Bool,
        Kind::Number | Kind::Bytes | Kind::Time => Shape::Number,
        Kind::Lsn | Kind::Text => Shape::Text,
        Kind::Texts => Shape::Texts,
        Kind::Map | Kind::Record => Shape::Map,
        Kind::Maps => Shape::Maps,
    }
}

fn packed(value: &Value) -> Shape {
    match value {
        Value::Bool(_) => Shape::Bool,
        Value::Number(_) => Shape::Number,
        Value::String(_) => Shape::Text,
        Value::Array(items) if items.iter().all(Value::is_object) => Shape::Maps,
        Value::Array(_) => Shape::Texts,
        Value::Object(_) => Shape::Map,
        Value::Null => panic!("an absent field is left out, never null"),
    }
}

/// The names and shapes within a map, as rows have them.
fn fields_of(map: &Value, path: &str, found: &mut BTreeMap<String, Shape>) {
    for (name, value) in map.as_object().expect("a map") {
        let path = format!("{path}{name}");
        found.insert(path.clone(), packed(value));
        match value {
            Value::Object(_) => fields_of(value, &format!("{path}."), found),
            Value::Array(items) => {
                for item in items.iter().filter(|item| item.is_object()) {
                    fields_of(item, &format!("{path}[]."), found);
                }
            }
            _ => {}
        }
    }
}

fn unpacked(body: &[u8]) -> Value {
    rmp_serde::from_slice(body).expect("a body is MessagePack")
}

fn rows(fields: &[Field]) -> BTreeMap<String, Shape> {
    let rows = fields
        .iter()
        .map(|row| (row.name.to_owned(), declared(row.kind)));
    let map: BTreeMap<_, _> = rows.collect();
    assert_eq!(map.len(), fields.len(), "a row stands there twice");
    map
}

#[test]
fn every_field_of_an_answer_has_its_row() {
    let mut answer = unpacked(&full_answer().encode().expect("it packs"));
    let health = answer["health"].take();
    let mut found = BTreeMap::new();
    answer["health"] = Value::Object(serde_json::Map::new());
    fields_of(&answer, "", &mut found);
    assert_eq!(found, rows(schema::ANSWER));

    let mut found = BTreeMap::new();
    fields_of(&health, "", &mut found);
    assert_eq!(found, rows(schema::HEALTH));
}

#[test]
fn every_command_is_packed_as_its_row_says() {
    for row in &schema::COMMANDS {
        let request = Request::Known(example(row.name));
        let mut body = unpacked(&request.encode().expect("it packs"));
        let map = body.as_object_mut().expect("a map");
        assert_eq!(map.remove("cmd"), Some(Value::from(row.name.as_str())));
        let mut found = BTreeMap::new();
        fields_of(&body, "", &mut found);
        assert_eq!(found, rows(row.arguments), "{}", row.name);
        assert_eq!(row.name.row().name, row.name, "the rows' order");
        assert_eq!(example(row.name).name(), row.name);
    }
}

#[test]
fn a_command_answers_with_fields_that_there_are() {
    let known = rows(schema::ANSWER);
    for row in &schema::COMMANDS {
        for field in row.fills {
            assert!(known.contains_key(*field), "{}: {field}", row.name);
        }
    }
}

#[test]
fn every_state_is_told_in_the_row_of_the_state() {
    let row = schema::HEALTH.iter().find(|row| row.name == "state");
    let meaning = row.expect("health has a state").meaning;
    for state in Lifecycle::ALL {
        assert!(meaning.contains(&format!("`{state}`")), "{state}");
    }
}

#[test]
fn a_command_is_found_by_its_name_and_by_nothing_else() {
    assert!(CommandRow::named("prepare_fork").is_some());
    assert!(CommandRow::named("PrepareFork").is_none());
    assert!(CommandRow::named("").is_none());
}
