//! extensions.toml, the scripts that install from it and the parser that judges it agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fake_substrate::command::Program;
use fake_substrate::image::Pins;
use fake_substrate::progress::Quiet;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in a workspace")
}

fn manifest_text() -> String {
    std::fs::read_to_string(root().join("extensions.toml")).expect("extensions.toml")
}

fn scripts() -> Vec<(PathBuf, String)> {
    let folder = std::fs::read_dir(root().join("packer/scripts")).expect("packer/scripts");
    let mut scripts: Vec<_> = folder
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sh"))
        .map(|path| {
            (
                path.clone(),
                std::fs::read_to_string(path).expect("a script"),
            )
        })
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    scripts
}

/// What one of manifest.sh's functions prints for a file of this content.
async fn shell(function: &str, manifest: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("extensions.toml");
    let mut file = std::fs::File::create(&path).expect("a copy of the manifest");
    std::io::Write::write_all(&mut file, manifest.as_bytes()).expect("a copy of the manifest");
    let script = format!(
        "set -euo pipefail; MANIFEST={}; source packer/scripts/lib/manifest.sh; {function}",
        path.display()
    );
    Program::named("bash")
        .args(["-c", &script])
        .in_folder(root())
        .run(&Quiet)
        .await
        .expect("bash")
}

fn pairs(lines: &str) -> BTreeMap<String, String> {
    let pairs = lines
        .lines()
        .map(|line| line.split_once(' ').expect("name and version"));
    pairs
        .map(|(package, version)| (package.to_owned(), version.to_owned()))
        .collect()
}

#[tokio::test]
async fn the_scripts_and_the_parser_read_the_same_pins() {
    let text = manifest_text();
    assert_eq!(
        pairs(&shell("pins", &text).await),
        Pins::parse(&text).unwrap().versions
    );
}

#[tokio::test]
async fn the_scripts_read_other_spellings_as_the_parser_does() {
    let text = "\
[base]
suite = \"forky\"
[packages]
# \"commented\" = \"1\"
\"libc6\"=\"2.43-7\" # a reason = \"why\"
  \"quoted-and-indented\"   =   \"1:2.0~rc1+dfsg-1\"

[[extension]]
version = \"0.8.7-1\"
package = \"postgresql-18-pgvector\"
name = \"vector\"
after = [
    \"SELECT 'package = \\\"x\\\"'\",
]
[[extension]]
name = \"pg_trgm\"
";
    let expected = Pins::parse(text).unwrap().versions;
    assert_eq!(pairs(&shell("pins", text).await), expected);
    assert_eq!(shell("extension_names", text).await, "vector\npg_trgm\n");
    assert_eq!(
        shell("extension_packages", text).await,
        "postgresql-18-pgvector\n"
    );
}

#[tokio::test]
async fn every_package_a_script_names_is_pinned_and_every_pin_is_installed() {
    let text = manifest_text();
    let mut named: BTreeSet<String> = shell("extension_packages", &text)
        .await
        .lines()
        .map(str::to_owned)
        .collect();
    for (_, script) in scripts() {
        let joined = script.replace("\\\n", " ");
        let calls = joined
            .lines()
            .filter_map(|line| line.trim().strip_prefix("install_pinned "));
        let packages = calls
            .flat_map(str::split_whitespace)
            .filter(|word| !word.starts_with('"'));
        named.extend(packages.map(str::to_owned));
    }
    let pinned: BTreeSet<String> = Pins::parse(&text).unwrap().versions.into_keys().collect();
    assert_eq!(named, pinned);
}

#[test]
fn nothing_is_installed_past_the_pins() {
    for (path, script) in scripts() {
        assert!(
            !script.contains("apt-get install"),
            "{} installs by itself",
            path.display()
        );
    }
}

#[test]
fn every_script_stops_at_its_first_failure_and_can_be_executed() {
    use std::os::unix::fs::PermissionsExt as _;
    for (path, script) in scripts() {
        assert!(script.starts_with("#!/bin/bash\n# "), "{}", path.display());
        assert!(
            script.contains("\nset -euo pipefail\n"),
            "{}",
            path.display()
        );
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{}", path.display());
    }
}

#[test]
fn a_preloaded_library_is_contrib_or_an_extension_of_the_manifest() {
    let document: toml::Table = manifest_text().parse().unwrap();
    let names: Vec<_> = document["extension"]
        .as_array()
        .unwrap()
        .iter()
        .map(|extension| extension["name"].as_str().unwrap())
        .collect();
    // Libraries of contrib without an extension that the image creates.
    let contrib = ["auto_explain", "pg_prewarm"];
    for library in document["preload"].as_array().unwrap() {
        let library = library.as_str().unwrap();
        assert!(
            names.contains(&library) || contrib.contains(&library),
            "{library}"
        );
    }
    let mut once = names.clone();
    once.dedup();
    assert_eq!(names, once);
    assert!(
        !names.contains(&"beyond_auth"),
        "its own service creates it"
    );
}
