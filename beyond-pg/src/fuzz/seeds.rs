//! Where the fuzzer begins: the goldens, the image's own manifest, and what was written by hand for
//! the readers that have no golden. A crash that was found is a seed too, and stays one.

use std::fs;
use std::path::{Path, PathBuf};

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Whose input it is.
    pub target: String,
    /// What it is called.
    pub name: String,
    /// The input.
    pub input: Vec<u8>,
}

/// All of them, from the checkout that this was compiled in.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = by_hand();
    seeds.extend(goldens());
    seeds.extend(super::wal::forged());
    seeds.extend(super::backup::forged());
    let manifest = root().join("extensions.toml");
    seeds.push(seed("extension_manifest", "image", read(&manifest)));
    seeds
}

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(super) fn seed(target: &str, name: &str, input: Vec<u8>) -> Seed {
    Seed {
        target: target.to_owned(),
        name: name.to_owned(),
        input,
    }
}

/// `fuzz/seeds/<target>/<name>`, as they are.
fn by_hand() -> Vec<Seed> {
    let folders = entries(&root().join("fuzz/seeds"));
    let of = |(target, folder): (String, PathBuf)| {
        let files = entries(&folder).into_iter();
        files.map(move |(name, file)| seed(&target, &name, read(&file)))
    };
    folders.into_iter().flat_map(of).collect()
}

/// The bytes of `wire/golden`, in the form in which each target takes them.
fn goldens() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, file) in entries(&root().join("beyond-pg/wire/golden")) {
        let bytes = from_hex(&String::from_utf8_lossy(&read(&file)));
        let behind_the_length = bytes.get(4..).unwrap_or_default().to_vec();
        if name.starts_with("rpc-") {
            seeds.push(seed("control_rpc", &name, behind_the_length));
        } else {
            seeds.push(seed("link_message", &name, behind_the_length));
        }
        // In pieces of seven bytes.
        seeds.push(seed(
            "link_stream",
            &name,
            [&[7], bytes.as_slice()].concat(),
        ));
    }
    seeds
}

/// Pairs of hexadecimal digits, and remarks behind `#`.
fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.lines().filter_map(|line| line.split('#').next());
    let pairs = digits.flat_map(str::split_whitespace);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("a golden is pairs of hexadecimal digits"))
        .collect()
}

fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut entries: Vec<_> = entries
        .map(|entry| entry.expect("a readable entry"))
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            )
        })
        .collect();
    entries.sort();
    entries
}

fn read(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
