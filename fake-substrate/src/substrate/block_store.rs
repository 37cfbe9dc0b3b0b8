//! The container of the block store: the only one of a substrate that is privileged, and no more than
//! it takes to mount FUSE and to make loop devices.

use crate::admin::AdminToken;
use crate::docker::{Attachment, ContainerSpec, Mount, Published};
use crate::labels::Labels;
use crate::volume::backing::s3::S3Location;

use super::service::{ADMIN_PORT, TOKEN_ENV};

/// How the process learns what it signs requests to object storage with.
pub const ACCESS_KEY_ENV: &str = "AWS_ACCESS_KEY_ID";
/// The other half.
pub const SECRET_KEY_ENV: &str = "AWS_SECRET_ACCESS_KEY";
/// In front of the objects of every host of a substrate, in the bucket that is there from the start.
pub const PREFIX: &str = "volumes";
/// Where the host's own disk is.
const STATE_PATH: &str = "/var/lib/block-store";
/// Where volumes are mounted as files: a folder in memory, for nothing but mount points.
const MOUNT_PATH: &str = "/run/volumes";

/// The container of one host. `volume` is the host's own disk: with it goes what is not in `objects`.
/// On `network` it has a link-local address from its first instant, since it asks 169.254.169.254. Its
/// disks are devices of the machine that runs Docker, for the containers of machines to be given by name.
pub fn container(
    name: String,
    image: &str,
    volume: String,
    token: &AdminToken,
    labels: Labels,
    objects: &S3Location,
    network: Attachment,
) -> ContainerSpec {
    let at = |folder: &str| format!("{STATE_PATH}/{folder}");
    let options = [
        ("--host-name", name.clone()),
        ("--state-dir", at("host")),
        ("--s3-endpoint", objects.endpoint.clone()),
        ("--s3-bucket", objects.bucket.clone()),
        ("--s3-prefix", objects.prefix.clone()),
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
        env: [
            (TOKEN_ENV, token.expose()),
            (ACCESS_KEY_ENV, &objects.keys.access_key),
            (SECRET_KEY_ENV, &objects.keys.secret_key),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
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
        network: Some(network),
        stop_timeout: std::time::Duration::from_secs(10),
        ..ContainerSpec::default()
    }
}
