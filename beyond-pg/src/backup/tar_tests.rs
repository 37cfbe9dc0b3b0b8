//! Claims about streams of tar, hostile ones among them.

use proptest::prelude::*;

use super::forge::{header, read, seal, stream};
use super::*;

fn refused(header: &[u8]) -> TarError {
    read(header, &[]).unwrap_err()
}

#[test]
fn files_and_folders_come_out_as_they_went_in() {
    let told = read(
        &stream(&[
            ("base/", b""),
            ("base/1/1259", &[7; 1000]),
            ("./pg_wal/archive_status/", b""),
            ("empty", b""),
            ("block", &[1; 512]),
        ]),
        &[],
    )
    .unwrap();
    let seen: Vec<_> = told
        .0
        .iter()
        .map(|(entry, content, ended)| (entry.path.to_string(), entry.kind, content.len(), *ended))
        .collect();
    let file = |bytes| Kind::File { bytes };
    assert_eq!(
        seen,
        [
            ("base".to_owned(), Kind::Folder, 0, true),
            ("base/1/1259".to_owned(), file(1000), 1000, true),
            ("pg_wal/archive_status".to_owned(), Kind::Folder, 0, true),
            ("empty".to_owned(), file(0), 0, true),
            ("block".to_owned(), file(512), 512, true),
        ]
    );
    assert_eq!(told.0[1].0.mode, 0o600);
}

#[test]
fn no_entry_lies_outside_of_the_root() {
    for name in [
        "/etc/passwd",
        "..",
        "../x",
        "base/../../x",
        "base//x",
        "./",
        "././x",
        ".//x",
        "",
        "base/./x",
    ] {
        let error = refused(&header(name, b'0', 0));
        assert!(matches!(error, TarError::Path(_)), "{name}: {error}");
    }
    let deep = ["a"; DEEPEST + 1].join("/");
    assert!(matches!(
        refused(&header(&deep, b'0', 0)),
        TarError::Path(_)
    ));
    let mut prefixed = header("x", b'0', 0);
    prefixed[PREFIX.start..PREFIX.start + 2].copy_from_slice(b"..");
    seal(&mut prefixed);
    assert!(matches!(refused(&prefixed), TarError::Path(_)));
}

#[test]
fn links_and_devices_are_refused() {
    for kind in [b'1', b'2', b'3', b'4', b'6', b'L', b'x', b'g'] {
        let error = refused(&header("pg_tblspc/1", kind, 0));
        assert!(matches!(error, TarError::Kind { .. }), "{error}");
    }
    let full = refused(&header("base/", b'5', 1));
    assert_eq!(full, TarError::FullFolder("base/".into()));
}

#[test]
fn a_large_file_has_its_size_in_binary() {
    let mut large = header("base/1/1", b'0', 0);
    large[SIZE].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0]);
    seal(&mut large);
    let mut told = forge::Told::default();
    Reader::new().push(&large, &mut told).unwrap();
    assert_eq!(told.0[0].0.kind, Kind::File { bytes: 3 << 40 });
    large[SIZE].copy_from_slice(&[0xFF; 12]);
    seal(&mut large);
    assert_eq!(refused(&large), TarError::Number("size"));
}

#[test]
fn a_stream_that_was_cut_or_goes_on_is_not_whole() {
    let whole = stream(&[("a", b"content"), ("b", b"")]);
    for cut in 0..whole.len() {
        assert_eq!(read(&whole[..cut], &[]), Err(TarError::Torn), "{cut}");
    }
    let mut padded = whole;
    padded.resize(10_240, 0);
    read(&padded, &[]).unwrap();
    padded.push(1);
    assert_eq!(read(&padded, &[]), Err(TarError::Trailing));
}

#[test]
fn a_header_that_was_spoilt_is_noticed() {
    let whole = header("base/1/1259", b'0', 0);
    // The last byte of the checksum is behind its end.
    for at in (0..BLOCK).filter(|at| *at != CHECKSUM.end - 1) {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 1;
        assert_eq!(refused(&spoilt), TarError::Checksum, "{at}");
    }
}

proptest! {
    #[test]
    fn however_it_is_cut_into_pieces_the_same_comes_out(
        files in prop::collection::vec(("[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..1500)), 0..5),
        lengths in prop::collection::vec(1_usize..700, 1..4),
    ) {
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, content)| (name.as_str(), content.as_slice()))
            .collect();
        let stream = stream(&files);
        let whole = read(&stream, &[]).unwrap();
        prop_assert_eq!(&read(&stream, &lengths).unwrap(), &whole);
        let came: Vec<_> = whole.0.iter().map(|(_, content, _)| content.as_slice()).collect();
        let went: Vec<_> = files.iter().map(|(_, content)| *content).collect();
        prop_assert_eq!(came, went);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _either = read(&bytes, &[100]);
    }
}
