//! A base backup as it may lie in a bucket: a tar stream, and a manifest.

use super::seeds::{Seed, seed};
use crate::backup::manifest::{self, Manifest};
use crate::backup::tar::forge;
use crate::backup::witness::witness;

/// Read as a manifest, sealed and not, and as a stream, whole and in pieces of a length that the input chooses:
/// the same comes out, and every path of it lies below the root.
pub fn backup_stream(input: &[u8]) {
    let Some((length, input)) = super::chosen(input) else {
        return;
    };
    let text = String::from_utf8_lossy(input);
    let _either = (
        Manifest::parse(input),
        Manifest::parse(&manifest::forge::sealed(&text)),
    );
    let whole = forge::read(input, &[]);
    assert_eq!(whole, forge::read(input, &[length]));
    for (entry, _, _) in whole.map(|told| told.0).unwrap_or_default() {
        let path = entry.path.to_string();
        assert!(
            !path.starts_with('/') && !path.split('/').any(|name| name == ".."),
            "{path}"
        );
    }
    if let Ok(witnessed) = witness(input) {
        assert!(witnessed.manifest.bytes() <= input.len() as u64);
    }
}

/// A backup that is whole, and one that its manifest does not know.
pub(super) fn forged() -> Vec<Seed> {
    let files: [(&str, &[u8]); 3] = [
        ("backup_label", b"START WAL LOCATION"),
        ("./pg_wal/archive_status/", b""),
        ("base/1/1259", &[7; 1000]),
    ];
    let input = |listed: &[(&str, &[u8])]| {
        let text = manifest::forge::manifest(listed);
        let all = [&files[..], &[(manifest::NAME, text.as_slice())]].concat();
        [&[100], forge::stream(&all).as_slice()].concat()
    };
    vec![
        seed("backup_stream", "whole", input(&files)),
        seed("backup_stream", "unlisted", input(&files[..1])),
    ]
}
