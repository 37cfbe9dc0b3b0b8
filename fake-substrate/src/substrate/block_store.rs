//! The container of the block store: the only one of a substrate that is privileged, and no more than
//! it takes to mount FUSE and to make loop devices.

use crate::admin::AdminToken;
use crate::docker::{ContainerSpec, Mount, Published};
use crate::labels::Labels;

use super::service::{ADMIN_PORT, TOKEN_ENV};

/// Where the host's own disk and object storage lie, on one volume.
const STATE_PATH: &str = "/var/lib/block-store";
/// Where volumes are mounted as files: a folder in memory, for nothing but mount points.
const MOUNT_PATH: &str = "/run/volumes";

/// The container. Its disks are devices of the machine that runs Docker, for the containers of
/// machines to be given by name.
pub fn container(
    name: String,
    image: &str,
    volume: String,
    token: &AdminToken,
    labels: Labels,
) -> ContainerSpec {
    let at = |folder: &str| format!("{STATE_PATH}/{folder}");
    let options = [
        ("--state-dir", at("host")),
        ("--objects-dir", at("objects")),
        ("--mount-dir", MOUNT_PATH.to_owned()),
        ("--nbd-socket", at("nbd.sock")),
    ];
    let options = options
        .into_iter()
        .flat_map(|(option, value)| [option.to_owned(), value]);
    ContainerSpec {
        name,
        image: image.to_owned(),
        hostname: "block-store".to_owned(),
        command: std::iter::once("block-store".to_owned())
            .chain(options)
            .collect(),
        env: vec![(TOKEN_ENV.to_owned(), token.expose().to_owned())],
        labels,
        user: Some("0:0".to_owned()),
        capabilities: ["SYS_ADMIN", "MKNOD"].map(str::to_owned).to_vec(),
        read_only_root: true,
        mounts: vec![Mount {
            volume,
            target: STATE_PATH.to_owned(),
            blank: true,
        }],
        tmpfs: vec![MOUNT_PATH.to_owned()],
        devices: ["/dev/fuse", "/dev/loop-control"]
            .map(|device| (device.to_owned(), device.to_owned()))
            .to_vec(),
        // Which loop device will be free is not known before.
        device_rules: vec!["b 7:* rwm".to_owned()],
        published: vec![Published {
            container: ADMIN_PORT,
            host: None,
        }],
        stop_timeout: std::time::Duration::from_secs(10),
        ..ContainerSpec::default()
    }
}
