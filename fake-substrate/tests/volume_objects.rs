//! What every object storage of the block store promises, and what the S3 of a substrate does when it
//! goes wrong: over real sockets, with the substrate's own process.
#![expect(clippy::unwrap_used, reason = "a test's own steps fail it")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fake_substrate::admin::{AdminClient, AdminToken};
use fake_substrate::s3::faults::Operation;
use fake_substrate::serve::{self, ServeOptions};
use fake_substrate::substrate::S3;
use fake_substrate::until::Budget;
use fake_substrate::volume::VolumeName;
use fake_substrate::volume::backing::folder::{self, FolderObjects};
use fake_substrate::volume::backing::s3::{S3Location, S3Objects};
use fake_substrate::volume::backing::{ObjectError, Objects};
use fake_substrate::volume::host::Host;
use fake_substrate::volume::store::decide::NewVolume;
use tokio::runtime::Handle;

/// A substrate's process without a container.
async fn substrate(state_dir: &Path) -> S3 {
    let token = || AdminToken::new("test-token").unwrap();
    let options = ServeOptions::on_loopback(state_dir.to_owned(), token());
    let options = options.await.unwrap();
    let http = options.s3_listener.local_addr().unwrap().to_string();
    let https = options.s3_tls_listener.local_addr().unwrap().to_string();
    let admin = format!("http://{}", options.admin_listener.local_addr().unwrap());
    tokio::spawn(serve::run(options, std::future::pending()));
    let admin = AdminClient::new(admin, token()).unwrap();
    let access = admin.s3().await.unwrap();
    S3::new(&admin, access, &http, &https)
}

fn objects(s3: &S3, bucket: &str) -> S3Objects {
    let location = S3Location {
        endpoint: s3.host_endpoint.clone(),
        bucket: bucket.to_owned(),
        prefix: "volumes".to_owned(),
        keys: s3.keys.clone(),
    };
    S3Objects::new(location, Handle::current()).unwrap()
}

/// A story with a client that waits on its own thread.
async fn told<T: Send + 'static>(story: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(story).await.unwrap()
}

fn is_object_storage(objects: &dyn Objects) {
    let conflict = |result| matches!(result, Err(ObjectError::Conflict { .. }));
    assert_eq!(objects.get("roots/a").unwrap(), None);
    assert_eq!(objects.get_range("packs/1", 0, 1).unwrap(), None);
    assert!(objects.list("packs/").unwrap().is_empty());
    objects.delete("packs/1").unwrap();

    assert!(conflict(objects.replace(
        "roots/a",
        b"1",
        Some("\"guess\"")
    )));
    let first = objects.replace("roots/a", b"1", None).unwrap();
    assert!(conflict(objects.replace("roots/a", b"2", None)));
    let second = objects.replace("roots/a", b"2", Some(&first)).unwrap();
    assert!(conflict(objects.replace("roots/a", b"3", Some(&first))));
    let there = objects.get("roots/a").unwrap();
    assert_eq!(there, Some((b"2".to_vec(), second)));

    objects.put("packs/1", b"0123456789").unwrap();
    objects.put("tables/1", b"").unwrap();
    let range = |from, length| objects.get_range("packs/1", from, length).unwrap().unwrap();
    assert_eq!(range(2, 3), b"234");
    assert_eq!(range(8, 5), b"89");
    assert_eq!(range(20, 5), b"");
    let list = |prefix| {
        let listed = objects.list(prefix).unwrap();
        let figures = listed.into_iter().map(|object| (object.key, object.bytes));
        figures.collect::<Vec<_>>()
    };
    assert_eq!(list("packs/"), [("packs/1".to_owned(), 10)]);
    assert_eq!(list("roots/"), [("roots/a".to_owned(), 1)]);
    objects.delete("packs/1").unwrap();
    assert!(objects.list("packs/").unwrap().is_empty());
}

#[test]
fn a_folder_is_object_storage() {
    let folder = tempfile::tempdir().unwrap();
    is_object_storage(&FolderObjects::open(folder.path()).unwrap());
}

#[tokio::test]
async fn a_bucket_is_object_storage_and_is_made_when_it_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = substrate(folder.path()).await;
    let new = objects(&s3, "hosts");
    told(move || is_object_storage(&new)).await;
}

#[tokio::test]
async fn a_listing_of_many_pages_is_told_whole() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = substrate(folder.path()).await;
    let client = s3.client().unwrap();
    let keys: Vec<_> = (0..1005)
        .map(|number| format!("packs/{number:016x}"))
        .collect();
    for some in keys.chunks(64) {
        let puts = some.iter().map(async |key| {
            let put = client.put(&format!("volumes/{key}"), "x").await.unwrap();
            assert!(put.status.is_success());
        });
        futures_util::future::join_all(puts).await;
    }
    // Another store's.
    client.put("volumes-2/packs/1", "x").await.unwrap();
    let bucket = objects(&s3, s3.bucket);
    let listed = told(move || bucket.list("packs/")).await.unwrap();
    assert!(listed.iter().all(|object| object.bytes == 1));
    let listed: Vec<_> = listed.into_iter().map(|object| object.key).collect();
    assert_eq!(listed, keys);
}

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

fn host(folder: &Path, objects: Arc<dyn Objects>, nonce: u32) -> Host {
    let local = folder::open(folder).unwrap();
    Host::open(
        Box::new(local.arena),
        Box::new(local.journal),
        objects,
        nonce,
    )
    .unwrap()
}

fn created(host: &Host) {
    let new = NewVolume {
        name: name("db"),
        bytes: 1 << 20,
        ephemeral: false,
        expires_ms: None,
    };
    host.create(new, 1).unwrap();
}

#[tokio::test]
async fn a_flush_whose_reply_was_lost_is_recognised_and_the_next_one_goes_through() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = substrate(folder.path()).await;
    let bucket = Arc::new(objects(&s3, s3.bucket));
    let lost = s3.lose_reply(Operation::Put).of("*/roots/*").times(1);
    let _guard = lost.start().await.unwrap();
    let path = folder.path().join("host");
    told(move || {
        let host = host(&path, bucket, 1);
        created(&host);
        host.flush_point(&name("db"), 1).unwrap_err();
        let roots = host.roots().unwrap();
        assert_eq!(roots[0].sequence, 1, "it was carried out");
        let handle = host.attach(&name("db")).unwrap();
        host.write(&handle, 0, &[1; 4096], false).unwrap();
        let point = host.flush_point(&name("db"), 2).unwrap().unwrap();
        assert_eq!((point.generation, point.at_ms), (1, 2));
    })
    .await;
}

/// A host that has flushed a block, and another that has taken the volume over and not a byte of it.
async fn taken_over(folder: &Path, s3: &S3, patience: Budget) -> Host {
    let first = Arc::new(objects(s3, s3.bucket));
    let second = Arc::new(objects(s3, s3.bucket).waiting(patience));
    let (one, two) = (folder.join("one"), folder.join("two"));
    told(move || {
        let host_one = host(&one, first, 1);
        created(&host_one);
        let handle = host_one.attach(&name("db")).unwrap();
        host_one.write(&handle, 0, &[7; 4096], false).unwrap();
        host_one.flush_point(&name("db"), 1).unwrap();
        drop(host_one);
        let host_two = host(&two, second, 2);
        host_two.rehome(&name("db")).unwrap();
        host_two
    })
    .await
}

fn read(host: &Host) -> Result<u8, nix::errno::Errno> {
    let handle = host.attach(&name("db")).unwrap();
    let mut block = [0; 4096];
    let read = host.read(&handle, 0, &mut block);
    host.detach(&name("db")).unwrap();
    read.map(|()| block[0]).map_err(|error| error.errno())
}

const PATIENT: Budget = Budget {
    name: "test",
    limit: Duration::from_secs(60),
    every: Duration::from_millis(5),
};

#[tokio::test]
async fn a_read_waits_out_an_object_storage_that_refuses_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = substrate(folder.path()).await;
    let host = taken_over(folder.path(), &s3, PATIENT).await;
    let refused = s3.refuse(Operation::Get).of("*/packs/*").times(3);
    let _guard = refused.start().await.unwrap();
    assert_eq!(told(move || read(&host)).await, Ok(7));
}

#[tokio::test]
async fn a_read_fails_when_its_block_is_not_to_be_had_and_works_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = substrate(folder.path()).await;
    let impatient = Budget {
        limit: Duration::from_millis(100),
        ..PATIENT
    };
    let host = Arc::new(taken_over(folder.path(), &s3, impatient).await);
    let guard = s3.refuse(Operation::Get).start().await.unwrap();
    let reader = Arc::clone(&host);
    assert_eq!(
        told(move || read(&reader)).await,
        Err(nix::errno::Errno::EIO)
    );
    guard.heal().await.unwrap();
    assert_eq!(told(move || read(&host)).await, Ok(7));
}

#[tokio::test]
async fn a_wrong_key_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut s3 = substrate(folder.path()).await;
    s3.keys.secret_key = "guess".to_owned();
    let bucket = objects(&s3, s3.bucket).waiting(PATIENT);
    let refused = told(move || bucket.get_range("packs/1", 0, 1)).await;
    let refused = refused.unwrap_err();
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert!(
        cause.contains("403") && cause.contains("SignatureDoesNotMatch"),
        "{cause}"
    );
}
