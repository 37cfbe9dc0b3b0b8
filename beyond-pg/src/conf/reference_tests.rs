//! The pages under docs cannot drift from the tables they describe (facts 94).

use std::fmt::Write;
use std::path::Path;

use super::golden_tests::updating;
use super::{ConfFile, Owner};
use crate::layout::Layout;
use crate::settings::keys;

fn settings_table() -> String {
    let mut table = String::from("| key | meaning | accepted | default |\n|---|---|---|---|\n");
    for key in keys::ALL {
        let mut name = format!("`{}`", key.name);
        if let Some(alias) = key.env_alias {
            write!(name, " (environment also `{alias}`)").unwrap();
        }
        if key.env_file {
            write!(name, " (environment also `{}_FILE`)", key.name).unwrap();
        }
        let secret = if key.secret { "; secret" } else { "" };
        let (meaning, accepted, default) = (key.meaning, key.accepted, key.default);
        writeln!(
            table,
            "| {name} | {meaning}{secret} | {accepted} | {default} |"
        )
        .unwrap();
    }
    table
}

fn files_table() -> String {
    let layout = Layout::new("/");
    let mut table = String::from("| file | owner | when present |\n|---|---|---|\n");
    for file in ConfFile::ALL {
        let owner = match file.owner() {
            Owner::Image => "image",
            Owner::User => "user",
        };
        let path = file.path(&layout);
        writeln!(table, "| `{}` | {owner} | {} |", path.display(), when(file)).unwrap();
    }
    table
}

/// When it is there: `render` in words. The match makes a new file say so, too.
fn when(file: ConfFile) -> &'static str {
    match file {
        ConfFile::Beyond00 => "always, rewritten each boot",
        ConfFile::Tuning01 => "always, from this boot's RAM and vCPUs",
        ConfFile::Durability02 => "only when the volume is ephemeral",
        ConfFile::Replication03 => "tier primary or replica, or a sink is set",
        ConfFile::Pitr05 => "while a restore target is set; gone after the restore has ended",
        ConfFile::Tls06 => "always; lands after 05 so that it overrides",
        ConfFile::User99 => "created empty at first init, never touched again",
        ConfFile::UserHba99 => {
            "created empty at first init, never touched again; included by pg_hba.conf. Not in \
             conf.d, where Postgres would read it as settings and refuse to start"
        }
        ConfFile::Hba | ConfFile::Ident | ConfFile::PgBouncer => "always, rewritten each boot",
    }
}

/// `text` with what stands between the markers of `name` replaced.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name}: generated -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let (before, rest) = text.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}{table}{end}{after}")
}

/// The named tables of a page under docs are what the code would write.
#[expect(
    clippy::disallowed_methods,
    reason = "a page in the checkout need not be atomic"
)]
pub(crate) fn must_be_fresh(page: &str, tables: &[(&str, String)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(page);
    let written = std::fs::read_to_string(&path).unwrap();
    let fresh = tables.iter().fold(written.clone(), |text, (name, table)| {
        with_table(&text, name, table)
    });
    if updating() {
        std::fs::write(&path, &fresh).unwrap();
        return;
    }
    assert!(
        written == fresh,
        "docs/{page} is stale; UPDATE_GOLDEN=1 rewrites its tables"
    );
}

#[test]
fn the_reference_names_every_setting_and_every_file() {
    must_be_fresh(
        "settings.md",
        &[("settings", settings_table()), ("files", files_table())],
    );
}
