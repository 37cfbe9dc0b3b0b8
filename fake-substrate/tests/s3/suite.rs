//! A client that we did not write, boto3, through everything that a machine's archive or a backup
//! tool does, and what neither must get away with.
//!
//! The suite itself is `suite.py`. boto3 goes into a virtual environment under `target/`, at the
//! version that is pinned here.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fake_substrate::command::{CommandError, Program};
use fake_substrate::progress::{Progress, Quiet};

use super::Serving;

const BOTO3: &str = "boto3==1.44.5";
const HINT: &str = "the S3 suite runs on Python with boto3\nHINT: install python3 and python3-venv (on Debian: apt-get install python3-venv); boto3 itself comes from PyPI, which must be reachable once";

#[tokio::test(flavor = "multi_thread")]
async fn boto3_finds_what_it_expects_of_s3() {
    let python = python_with_boto3().await.unwrap_or_else(|error| {
        panic!("{HINT}\n{error}");
    });
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Serving::start(&dir.path().join("state")).await;
    let authority = dir.path().join("authority.pem");
    write(&authority, &substrate.s3.authority_pem);
    let s3 = &substrate.s3;
    let keys = dir.path().join("keys.json");
    let given = serde_json::json!({
        "http": s3.host_endpoint, "https": s3.host_tls_endpoint, "authority": authority,
        "bucket": s3.bucket, "region": s3.region,
        "access_key": s3.keys.access_key, "secret_key": s3.keys.secret_key,
    });
    write(&keys, &given.to_string());
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/suite.py");
    let said = Said::default();
    let ran = Program::named(python).arg(suite).arg(keys).run(&said).await;
    let lines = said.0.into_inner().expect("no panic").join("\n");
    ran.unwrap_or_else(|error| panic!("{lines}\n{error}"));
    substrate.stop().await;
}

/// Everything that the suite says, for when it fails.
#[derive(Debug, Default)]
struct Said(Mutex<Vec<String>>);

impl Progress for Said {
    fn step(&self, _what: &str) {}

    fn detail(&self, line: &str) {
        self.0.lock().expect("no panic").push(line.to_owned());
    }
}

/// A Python that imports boto3, made when it is missing.
async fn python_with_boto3() -> Result<PathBuf, CommandError> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let venv = target.join("s3-suite");
    let python = venv.join("bin/python");
    let works = Program::named(&python).args(["-c", "import boto3"]);
    if works.run(&Quiet).await.is_ok() {
        return Ok(python);
    }
    let make = Program::named("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv);
    make.run(&Quiet).await?;
    let install = Program::named(&python).args(["-m", "pip", "install", "--quiet", BOTO3]);
    install.run(&Quiet).await?;
    Ok(python)
}

fn write(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("made");
    file.write_all(text.as_bytes()).expect("written");
}
