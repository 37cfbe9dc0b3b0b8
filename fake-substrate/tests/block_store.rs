//! The block store's control API as its client sees it, and NBD on its socket: no privilege needed.
#![expect(clippy::unwrap_used, reason = "a test's own steps fail it")]

use std::os::unix::net::UnixListener;
use std::path::Path;

use fake_substrate::admin::{
    AdminClient, AdminError, AdminToken, CreateVolume, CutPower, FileSystem, ForkVolume,
    GrowVolume, VolumeStanding,
};
use fake_substrate::volume::VolumeName;
use fake_substrate::volume::daemon::{self, BlockStoreOptions, ObjectStorage};
use fake_substrate::volume::trouble::{Requests, Trouble, Verdict};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Store {
    client: AdminClient,
    url: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), daemon::BlockStoreError>>,
}

impl Store {
    async fn start(folder: &Path) -> Self {
        let control = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", control.local_addr().unwrap());
        let socket = folder.join(format!("nbd-{}", control.local_addr().unwrap().port()));
        let options = BlockStoreOptions {
            host_name: "one".to_owned(),
            state_dir: folder.join("state"),
            objects: ObjectStorage::Folder(folder.join("objects")),
            mount_dir: None,
            nbd_listener: Some(UnixListener::bind(socket).unwrap()),
            control,
            token: token("right"),
        };
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(daemon::run(options, async {
            stopped.await.unwrap_or_default();
        }));
        Self {
            client: AdminClient::new(url.clone(), token("right")).unwrap(),
            url,
            stop,
            serving,
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
    }
}

fn token(text: &str) -> AdminToken {
    AdminToken::new(text).unwrap()
}

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

fn durable(text: &str) -> CreateVolume {
    CreateVolume {
        name: name(text),
        bytes: 16 << 20,
        file_system: None,
        ephemeral: false,
        ttl_s: None,
    }
}

fn status(result: Result<(), AdminError>) -> (u16, String) {
    match result {
        Err(AdminError::Refused {
            status, refusal, ..
        }) => (status.as_u16(), refusal.hint),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_volume_grows_in_object_storage_as_well_and_never_shrinks() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    store.client.create_volume(&durable("db")).await.unwrap();
    let to = |bytes| GrowVolume { bytes };
    let grown = store.client.grow_volume(&name("db"), to(32 << 20)).await;
    grown.unwrap();
    assert_eq!(
        store.client.volume(&name("db")).await.unwrap().bytes,
        32 << 20
    );
    assert_eq!(store.client.roots().await.unwrap()[0].bytes, 32 << 20);
    let smaller = store.client.grow_volume(&name("db"), to(16 << 20)).await;
    let refused = status(smaller.map(drop));
    assert_eq!(refused.0, 422);
    assert!(refused.1.contains("can take a dump"), "{refused:?}");

    let scratch = CreateVolume {
        ephemeral: true,
        ..durable("scratch")
    };
    store.client.create_volume(&scratch).await.unwrap();
    let grown = store
        .client
        .grow_volume(&name("scratch"), to(32 << 20))
        .await;
    grown.unwrap();
    store.stop().await;
}

#[tokio::test]
async fn a_volume_and_its_fork_are_listed_with_who_is_whose_parent() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    store.client.create_volume(&durable("db")).await.unwrap();
    let fork = ForkVolume {
        child: name("preview"),
        ephemeral: true,
        ttl_s: Some(3600),
    };
    store.client.fork_volume(&name("db"), &fork).await.unwrap();
    let point = store.client.flush_volume(&name("db")).await.unwrap();
    let volumes = store.client.volumes().await.unwrap();
    let [db, preview] = &volumes[..] else {
        panic!("{volumes:?}")
    };
    assert_eq!(db.children, [name("preview")]);
    assert_eq!(db.flush_point, Some(point));
    assert_eq!(
        (&preview.parent, preview.ephemeral),
        (&Some(name("db")), true)
    );
    assert!(preview.expires_ms.is_some());

    let refused = status(store.client.destroy_volume(&name("db"), false).await);
    assert_eq!(refused.0, 409);
    assert!(refused.1.contains("children are kept"), "{refused:?}");
    store
        .client
        .destroy_volume(&name("db"), true)
        .await
        .unwrap();
    assert_eq!(
        store.client.volume(&name("preview")).await.unwrap().parent,
        None
    );
    store.stop().await;
}

#[tokio::test]
async fn a_durable_volume_has_a_flush_point_as_soon_as_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    store.client.create_volume(&durable("db")).await.unwrap();
    let report = store.client.volume(&name("db")).await.unwrap();
    assert!(report.flush_point.is_some());
    store.stop().await;
}

#[tokio::test]
async fn a_volume_whose_file_system_cannot_be_made_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    let formatted = CreateVolume {
        file_system: Some(FileSystem::Ext4),
        ..durable("db")
    };
    let refused = status(store.client.create_volume(&formatted).await);
    assert_eq!(refused.0, 501);
    assert!(refused.1.contains("--mount-dir"), "{refused:?}");
    assert_eq!(store.client.volumes().await.unwrap(), []);
    store.stop().await;
}

#[tokio::test]
async fn a_lost_volume_comes_back_from_object_storage_and_an_ephemeral_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    let ephemeral = CreateVolume {
        ephemeral: true,
        ..durable("scratch")
    };
    store.client.create_volume(&durable("db")).await.unwrap();
    store.client.create_volume(&ephemeral).await.unwrap();
    store.client.flush_volume(&name("db")).await.unwrap();
    for volume in ["db", "scratch"] {
        store.client.lose_volume(&name(volume)).await.unwrap();
        let report = store.client.volume(&name(volume)).await.unwrap();
        assert_eq!(report.standing, VolumeStanding::Lost);
    }
    let refused = status(store.client.rehome_volume(&name("scratch")).await);
    assert!(refused.1.contains("B-009"), "{refused:?}");
    store.client.rehome_volume(&name("db")).await.unwrap();
    let report = store.client.volume(&name("db")).await.unwrap();
    assert_eq!(report.flush_point.unwrap().generation, 2);
    store.stop().await;
}

#[tokio::test]
async fn a_power_cut_tells_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    store.client.create_volume(&durable("db")).await.unwrap();
    let cut = CutPower {
        seed: Some(7),
        ..CutPower::default()
    };
    let report = store.client.cut_power(&name("db"), cut).await.unwrap();
    assert_eq!((report.seed, report.unsynced), (7, 0));
    store.stop().await;
}

#[tokio::test]
async fn without_a_mount_there_are_no_disks_and_without_the_token_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    store.client.health().await.unwrap();
    store.client.create_volume(&durable("db")).await.unwrap();
    let attached = store
        .client
        .attach_volume(&name("db"))
        .await
        .map(|_disk| ());
    assert_eq!(status(attached).0, 501);
    let stranger = AdminClient::new(store.url.clone(), token("wrong")).unwrap();
    assert_eq!(status(stranger.create_volume(&durable("x")).await).0, 401);
    let missing = store.client.detach_volume(&name("nothing")).await;
    assert_eq!(status(missing).0, 404);
    let odd = CreateVolume {
        bytes: 1000,
        ..durable("odd")
    };
    assert_eq!(status(store.client.create_volume(&odd).await).0, 422);
    store.stop().await;
}

#[tokio::test]
async fn a_disk_is_in_trouble_until_it_is_healed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::start(folder.path()).await;
    store.client.create_volume(&durable("db")).await.unwrap();
    let troubles = [
        Trouble::new(Requests::Writes, Verdict::Fail).times(2),
        Trouble::new(Requests::Reads, Verdict::Delay { ms: 500 }),
    ];
    let told = store.client.trouble_volume(&name("db"), &troubles).await;
    told.unwrap();
    let seen = async || {
        let report = store.client.volume(&name("db")).await.unwrap();
        let troubles = report.troubles.iter().map(|struck| struck.trouble);
        troubles.collect::<Vec<_>>()
    };
    assert_eq!(seen().await, troubles);
    store.client.heal_volume(&name("db")).await.unwrap();
    assert_eq!(seen().await, []);
    let (client, nobody) = (&store.client, name("nobody"));
    let refused = status(client.trouble_volume(&nobody, &troubles).await);
    assert_eq!(refused.0, 404);
    store.stop().await;
}
