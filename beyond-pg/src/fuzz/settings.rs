//! What the machine is asked to be.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;

use super::block_on;
use crate::conf::{ConfFile, ConfInputs};
use crate::layout::Layout;
use crate::machine::Machine;
use crate::metadata::{Metadata, env, mmds};
use crate::settings::{Settings, keys};

/// A document as the metadata service serves it.
pub fn mmds_document(input: &[u8]) {
    if let Ok(document) = mmds::document_of(input) {
        checked(document, input);
    }
}

/// What somebody who listens where the metadata service should be answers to a request.
pub fn mmds_answer(input: &[u8]) {
    if let Ok(document) = block_on(mmds::document_in_answer(input)) {
        checked(document, input);
    }
    if let Ok(Some(token)) = block_on(mmds::token_in_answer(input)) {
        let token = token.as_bytes();
        assert!(!token.is_empty() && token.iter().all(u8::is_ascii_graphic));
    }
}

/// An environment, one variable a line. A variable that names a file finds one.
pub fn settings(input: &[u8]) {
    let lines = input.split(|byte| *byte == b'\n');
    let vars = lines.filter_map(|line| {
        let equals = line.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (line[..equals].to_vec(), line[equals + 1..].to_vec());
        Some((OsString::from_vec(name), OsString::from_vec(value)))
    });
    let read_file = |path: &std::path::Path| match path.to_str() {
        Some("") | None => Err(io::ErrorKind::NotFound.into()),
        Some(path) => Ok(format!("{path}\n")),
    };
    checked(env::from_vars(vars, read_file), input);
}

/// In the place of each secret. What it is found in has leaked one.
const CANARY: &str = "c4n4ry-0f-4-s3cr3t";

/// A refusal has reasons and no text shows a secret; settings that are accepted make files that
/// Postgres can only read as they are meant.
fn checked(mut document: Metadata, input: &[u8]) {
    if let Ok((settings, _)) = Settings::from_metadata(&document) {
        conf_is_well_formed(&settings);
    }
    if String::from_utf8_lossy(input).contains(CANARY) {
        return;
    }
    for key in keys::ALL.into_iter().filter(|key| key.secret) {
        if let Some(value) = document.values.get_mut(key.name) {
            CANARY.clone_into(value);
        }
    }
    let said = match Settings::from_metadata(&document) {
        Ok((settings, warnings)) => {
            conf_is_well_formed(&settings);
            format!("{settings:?} {warnings:?}")
        }
        Err(problems) => {
            assert!(!problems.problems.is_empty(), "refused for nothing");
            problems.to_string()
        }
    };
    assert!(!said.contains(CANARY), "a secret is shown");
    assert!(
        !format!("{document:?}").contains(CANARY),
        "a secret is shown"
    );
}

fn conf_is_well_formed(settings: &Settings) {
    let layout = Layout::new("/");
    let inputs = ConfInputs {
        settings,
        machine: Machine {
            ram_bytes: 4 << 30,
            vcpus: 2,
        },
        volume_bytes: 100 << 30,
        preload: &[],
        client_ca: true,
        restores: true,
        layout: &layout,
    };
    for file in ConfFile::ALL {
        let Some(text) = file.render(&inputs) else {
            continue;
        };
        assert!(!text.contains(['\0', '\r']), "{file:?}: {text:?}");
        let is_postgres = file.name().ends_with(".conf") && !file.name().contains("hba");
        if is_postgres && file != ConfFile::Ident {
            for line in text.lines() {
                assert!(is_setting(line), "{file:?}: {line:?}");
            }
        }
    }
}

/// Whether Postgres reads a line of `postgresql.conf` as nothing, or as one setting and nothing
/// behind it (guc-file.l).
fn is_setting(line: &str) -> bool {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return true;
    }
    let Some((name, value)) = line.split_once('=') else {
        return line.starts_with("include");
    };
    let name = name.trim();
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    let rest = match value.trim().strip_prefix('\'') {
        Some(quoted) => behind_the_quote(quoted),
        None => value
            .trim()
            .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "._-".contains(c))
            .into(),
    };
    let nothing_behind =
        rest.is_some_and(|rest| rest.is_empty() || rest.trim_start().starts_with('#'));
    is_name && nothing_behind
}

/// What stands behind a quoted value: `''` is a quote in it, and so is whatever follows a backslash.
fn behind_the_quote(value: &str) -> Option<&str> {
    let mut rest = value;
    loop {
        let at = rest.find(['\'', '\\'])?;
        let (found, behind) = rest[at..].split_at(1);
        rest = match (found, behind.chars().next()) {
            ("\\", Some(escaped)) => &behind[escaped.len_utf8()..],
            ("'", Some('\'')) => &behind[1..],
            ("'", _) => return Some(behind),
            _ => return None,
        };
    }
}
