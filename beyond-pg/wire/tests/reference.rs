//! `docs/wire.md` cannot drift from the schema it describes (facts 94).

use std::fmt::Write as _;
use std::path::Path;

use wire::rpc::schema::{self, Field};
use wire::rpc::{CommandRow, Lifecycle};

fn commands_table() -> String {
    let mut table = String::from(
        "| cmd | what it does | arguments | answers with | within |\n|---|---|---|---|---|\n",
    );
    for row in &schema::COMMANDS {
        let (name, does, within) = (row.name, row.does, row.deadline.as_secs());
        let (arguments, fills) = (arguments(row), fills(row));
        writeln!(
            table,
            "| `{name}` | {does} | {arguments} | {fills} | {within} s |"
        )
        .expect("a string takes all");
    }
    table
}

fn arguments(row: &CommandRow) -> String {
    let argument = |field: &Field| {
        let (name, kind, meaning) = (field.name, field.kind.words(), field.meaning);
        format!("`{name}`: {kind}; {meaning}")
    };
    joined(row.arguments.iter().map(argument), "; ")
}

fn fills(row: &CommandRow) -> String {
    joined(row.fills.iter().map(|name| format!("`{name}`")), ", ")
}

fn joined(words: impl Iterator<Item = String>, between: &str) -> String {
    let words: Vec<_> = words.collect();
    if words.is_empty() {
        "–".to_owned()
    } else {
        words.join(between)
    }
}

fn states_table() -> String {
    let heads = joined(
        Lifecycle::ALL.iter().map(|state| format!("`{state}`")),
        " | ",
    );
    let rule = "---|".repeat(Lifecycle::ALL.len());
    let mut table = format!("| cmd | {heads} |\n|---|{rule}\n");
    for row in &schema::COMMANDS {
        let cell = |state: &Lifecycle| match row.states.contains(state) {
            true => "yes".to_owned(),
            false => "no".to_owned(),
        };
        let cells = joined(Lifecycle::ALL.iter().map(cell), " | ");
        writeln!(table, "| `{}` | {cells} |", row.name).expect("a string takes all");
    }
    table.push_str("\n| state | meaning |\n|---|---|\n");
    for state in Lifecycle::ALL {
        writeln!(table, "| `{state}` | {} |", state.meaning()).expect("a string takes all");
    }
    table
}

fn fields_table(fields: &[Field]) -> String {
    let mut table = String::from("| field | type | meaning |\n|---|---|---|\n");
    for field in fields {
        let (name, kind, meaning) = (field.name, field.kind.words(), field.meaning);
        writeln!(table, "| `{name}` | {kind} | {meaning} |").expect("a string takes all");
    }
    table
}

/// `text` with what stands between the markers of `name` replaced.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name}: generated -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let (before, rest) = text.split_once(&begin).expect("the begin marker");
    let (_, after) = rest.split_once(&end).expect("the end marker");
    format!("{before}{begin}{table}{end}{after}")
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test run itself")]
fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a page in the checkout need not be atomic"
)]
fn the_page_has_the_tables_of_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/wire.md");
    let page = std::fs::read_to_string(&path).expect("the page is there");
    let mut fresh = page.clone();
    for (name, table) in [
        ("rpc commands", commands_table()),
        ("rpc states", states_table()),
        ("rpc answer", fields_table(schema::ANSWER)),
        ("rpc health", fields_table(schema::HEALTH)),
    ] {
        fresh = with_table(&fresh, name, &table);
    }
    if updating() {
        std::fs::write(&path, &fresh).expect("the page can be written");
        return;
    }
    assert!(
        page == fresh,
        "docs/wire.md is stale; UPDATE_GOLDEN=1 cargo test -p wire rewrites its tables"
    );
}
