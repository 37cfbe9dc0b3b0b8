//! A world's block store, its volumes, and what a kernel does to a disk of it. A disk's blocks are
//! letters here: enough to tell which write is seen.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use fake_substrate::admin::{
    AdminClient, CreateVolume, CutPower, FileSystem, ForkVolume, PowerCutReport, VolumeReport,
    VolumeStanding,
};
use fake_substrate::docker::{Attachment, ContainerSpec, container, exec, volume};
use fake_substrate::substrate::{block_store, service};
use fake_substrate::volume::VolumeName;
use fake_substrate::volume::backing::s3::S3Location;
use fake_substrate::volume::store::cut::Tear;

use crate::budget;
use crate::until::{Look, until};
use crate::world::World;

const BYTES: u64 = 64 << 20;
const BLOCK: usize = 4096;
/// Where a machine has its volume.
const VDB: &str = "/dev/vdb";

/// The process with the volumes.
pub struct BlockStore<'a> {
    world: &'a World,
    container: String,
    token: fake_substrate::admin::AdminToken,
}

/// A volume of it.
pub struct Volume<'a> {
    store: &'a BlockStore<'a>,
    name: VolumeName,
}

/// A volume as some machine's disk.
pub struct Disk<'a> {
    world: &'a World,
    container: String,
}

impl World {
    /// Starts a block store beside the substrate, with its objects in the substrate's object storage.
    pub async fn block_store(&self) -> Result<BlockStore<'_>> {
        self.block_store_of_host(1).await
    }

    /// Starts the block store of one of several hosts, which share the object storage.
    pub async fn block_store_of_host(&self, host: u8) -> Result<BlockStore<'_>> {
        let site = &self.site;
        let network = site.substrate.name().network();
        let name = format!("{network}.block-store-{host}");
        volume::ensure(&site.docker, &name, site.client_labels()).await?;
        let token = service::new_token()?;
        let labels = site.client_labels();
        let image = &site.images.substrate;
        let s3 = self.s3().await?;
        let objects = S3Location {
            endpoint: s3.machine_endpoint,
            bucket: s3.bucket.to_owned(),
            prefix: block_store::PREFIX.to_owned(),
            keys: s3.keys,
        };
        let attachment = Attachment {
            network,
            // Outside what the substrate gives to machines.
            link_local: Ipv4Addr::new(169, 254, 20, host),
            aliases: Vec::new(),
        };
        let spec = block_store::container(
            name.clone(),
            image,
            name.clone(),
            &token,
            labels,
            &objects,
            attachment,
        );
        container::create(&site.docker, &spec).await?;
        let store = BlockStore {
            world: self,
            container: name,
            token,
        };
        store.start().await?;
        Ok(store)
    }
}

impl BlockStore<'_> {
    async fn start(&self) -> Result<()> {
        container::start(&self.world.site.docker, &self.container).await?;
        until(budget::SOON, "the block store answers", async || {
            Ok(match self.client().await?.health().await {
                Ok(()) => Look::Found(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
        .await
    }

    /// Kills its process and starts it again.
    pub async fn crash_and_start(&self) -> Result<()> {
        let docker = &self.world.site.docker;
        container::signal(docker, &self.container, "SIGKILL").await?;
        container::ended(docker, &self.container).await?;
        self.start().await
    }

    /// The host is gone, and its own disk with it.
    pub async fn lose(&self) -> Result<()> {
        let docker = &self.world.site.docker;
        container::signal(docker, &self.container, "SIGKILL").await?;
        container::ended(docker, &self.container).await?;
        container::remove(docker, &self.container).await?;
        volume::remove(docker, &self.container).await?;
        Ok(())
    }

    /// Takes over a volume that object storage has.
    pub async fn rehome(&self, name: &str) -> Result<Volume<'_>> {
        let name = name.parse()?;
        self.client().await?.rehome_volume(&name).await?;
        Ok(self.volume(name))
    }

    /// Every volume that object storage has.
    pub async fn roots(&self) -> Result<Vec<String>> {
        let roots = self.client().await?.roots().await?;
        Ok(roots
            .into_iter()
            .map(|root| root.name.to_string())
            .collect())
    }

    /// Waits until it knows that another host has the volume: at most a write-behind window.
    pub async fn has_fenced(&self, name: &str) -> Result<()> {
        let volume = self.volume(name.parse()?);
        until(budget::SOON, "the old host is fenced", async || {
            let report = volume.report().await?;
            Ok(match report.standing {
                VolumeStanding::Fenced => Look::Found(()),
                _ => Look::NotYet(format!("{report:?}")),
            })
        })
        .await
    }

    /// Docker chooses another port at each start.
    async fn client(&self) -> Result<AdminClient> {
        let observed = container::inspect(&self.world.site.docker, &self.container).await?;
        let port = observed.and_then(|seen| seen.open_ports.get(&service::ADMIN_PORT).copied());
        let port = port.context("the block store publishes no port")?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(AdminClient::new(url, self.token.clone())?)
    }

    /// Makes a volume of zeroes.
    pub async fn create(&self, name: &str) -> Result<Volume<'_>> {
        self.born(name, BYTES, None, false).await
    }

    /// Makes a volume of zeroes of so many bytes.
    pub async fn create_raw(&self, name: &str, bytes: u64) -> Result<Volume<'_>> {
        self.born(name, bytes, None, false).await
    }

    /// Makes a volume of zeroes that never goes to object storage.
    pub async fn create_ephemeral(&self, name: &str) -> Result<Volume<'_>> {
        self.born(name, BYTES, None, true).await
    }

    /// Makes a volume with an empty file system.
    pub async fn create_formatted(&self, name: &str, bytes: u64) -> Result<Volume<'_>> {
        self.born(name, bytes, Some(FileSystem::Ext4), false).await
    }

    async fn born(
        &self,
        name: &str,
        bytes: u64,
        file_system: Option<FileSystem>,
        ephemeral: bool,
    ) -> Result<Volume<'_>> {
        let new = CreateVolume {
            name: name.parse()?,
            bytes,
            file_system,
            ephemeral,
            ttl_s: None,
        };
        self.client().await?.create_volume(&new).await?;
        Ok(self.volume(new.name))
    }

    /// Bytes of its own disk that are in use.
    pub async fn used(&self) -> Result<u64> {
        Ok(self.client().await?.store_stats().await?.used_bytes)
    }

    /// Every volume there is.
    pub async fn names(&self) -> Result<Vec<String>> {
        let volumes = self.client().await?.volumes().await?;
        let names = volumes.into_iter().map(|volume| volume.name.to_string());
        Ok(names.collect())
    }

    fn volume(&self, name: VolumeName) -> Volume<'_> {
        Volume { store: self, name }
    }
}

impl<'a> Volume<'a> {
    /// Gives it to a machine as `/dev/vdb`.
    pub async fn attach(&self) -> Result<Disk<'a>> {
        let world = self.store.world;
        let disk = self.store.client().await?.attach_volume(&self.name).await?;
        let container = format!("{}-{}", self.store.container, self.name);
        let docker = &world.site.docker;
        container::remove(docker, &container).await?;
        let spec = ContainerSpec {
            name: container.clone(),
            image: world.site.images.substrate.clone(),
            hostname: self.name.to_string(),
            // As a machine that has it mounted: while somebody has the disk open, the kernel gives its device
            // to nobody else, however dead the store is.
            entrypoint: Some(
                ["/bin/bash", "-c", "exec sleep infinity <$0", VDB]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            labels: world.site.client_labels(),
            user: Some("root".to_owned()),
            // As a machine, which mounts its volume itself.
            capabilities: vec!["SYS_ADMIN".to_owned()],
            devices: vec![(disk.device, VDB.to_owned())],
            stop_timeout: budget::STOP,
            ..ContainerSpec::default()
        };
        container::create(docker, &spec).await?;
        container::start(docker, &container).await?;
        Ok(Disk { world, container })
    }

    /// Takes the disk away from its machine.
    pub async fn detach(&self) -> Result<()> {
        Ok(self.store.client().await?.detach_volume(&self.name).await?)
    }

    /// Forks it as it is now.
    pub async fn fork(&self, child: &str) -> Result<Volume<'a>> {
        let fork = ForkVolume {
            child: child.parse()?,
            ephemeral: false,
            ttl_s: None,
        };
        self.store
            .client()
            .await?
            .fork_volume(&self.name, &fork)
            .await?;
        Ok(self.store.volume(fork.child))
    }

    /// Makes now the flush point.
    pub async fn flush_point(&self) -> Result<()> {
        self.store.client().await?.flush_volume(&self.name).await?;
        Ok(())
    }

    /// Cuts its power; its disk is dead after that.
    pub async fn power_cut(&self, seed: u64) -> Result<PowerCutReport> {
        let cut = CutPower {
            seed: Some(seed),
            tear: Tear::Block,
        };
        Ok(self
            .store
            .client()
            .await?
            .cut_power(&self.name, cut)
            .await?)
    }

    /// Its host is gone; another one gets it from object storage.
    pub async fn lose_host_and_rehome(&self) -> Result<()> {
        let client = self.store.client().await?;
        client.lose_volume(&self.name).await?;
        Ok(client.rehome_volume(&self.name).await?)
    }

    /// Waits until its writes wait for object storage.
    pub async fn holds_back_writes(&self) -> Result<()> {
        until(budget::COMES_BACK, "writes wait", async || {
            let report = self.report().await?;
            Ok(match report.writes_wait {
                true => Look::Found(()),
                false => Look::NotYet(format!("{report:?}")),
            })
        })
        .await
    }

    /// What the store knows of it.
    pub async fn report(&self) -> Result<VolumeReport> {
        Ok(self.store.client().await?.volume(&self.name).await?)
    }
}

impl Disk<'_> {
    /// Writes a letter into the first blocks, past the page cache and without a flush.
    pub async fn write(&self, letter: char, blocks: usize) -> Result<()> {
        self.run(&format!(
            "tr '\\0' {letter} </dev/zero | dd of={VDB} bs={BLOCK} count={blocks} iflag=fullblock oflag=direct"
        ))
        .await
        .map(drop)
    }

    /// Writes so many MiB of letters, past the page cache.
    pub async fn write_megabytes(&self, count: usize) -> Result<()> {
        self.run(&format!(
            "tr '\\0' a </dev/zero | dd of={VDB} bs=1M count={count} iflag=fullblock oflag=direct"
        ))
        .await
        .map(drop)
    }

    /// What fsync does: the kernel sends the disk a FLUSH.
    pub async fn flush(&self) -> Result<()> {
        self.run(&format!("sync {VDB}")).await.map(drop)
    }

    /// Gives the first blocks back.
    pub async fn discard(&self, blocks: usize) -> Result<()> {
        let script = format!("blkdiscard --force --length {} {VDB}", blocks * BLOCK);
        self.run(&script).await.map(drop)
    }

    /// What a machine does at its first boot: mounts the file system, writes, unmounts; then a check of
    /// the whole file system. Answers with how many bytes there are.
    pub async fn mount_and_write(&self) -> Result<u64> {
        let script = format!(
            "mkdir -p /tmp/data; mount -t ext4 {VDB} /tmp/data; echo here >/tmp/data/file; \
             stat -f -c '%b*%S' /tmp/data >/tmp/size; umount /tmp/data; \
             e2fsck -fn {VDB} >/dev/null; echo $(($(cat /tmp/size)))"
        );
        Ok(self.run(&script).await?.trim().parse()?)
    }

    /// Groups of its file system whose inodes the kernel would still write zeroes to, in the background of the
    /// first mount.
    pub async fn groups_to_initialise(&self) -> Result<usize> {
        let script = format!("dumpe2fs {VDB} 2>/dev/null | grep '^Group [0-9]'");
        let groups = self.run(&script).await?;
        let left = groups
            .lines()
            .filter(|group| !group.contains("ITABLE_ZEROED"));
        Ok(left.count())
    }

    /// The letter in each of the first blocks; `.` where there is none.
    pub async fn read(&self, blocks: usize) -> Result<String> {
        let script = format!("dd if={VDB} bs={BLOCK} count={blocks} iflag=direct | tr '\\0' .");
        let bytes = self.run(&script).await?.into_bytes();
        let contents: Vec<_> = bytes.chunks(BLOCK).collect();
        ensure!(
            contents.len() == blocks,
            "{} blocks were read",
            contents.len()
        );
        let letters = contents.into_iter().map(|content| {
            let letter = content[0];
            ensure!(
                content.iter().all(|byte| *byte == letter),
                "a block of two writes"
            );
            Ok(char::from(letter))
        });
        letters.collect()
    }

    /// A write that the disk must fail.
    pub async fn must_refuse_writes(&self) -> Result<()> {
        let written = self.write('x', 1).await;
        ensure!(written.is_err(), "a dead disk took a write");
        Ok(())
    }

    async fn run(&self, script: &str) -> Result<String> {
        let program = exec::Program {
            argv: ["bash", "-o", "pipefail", "-ec", script]
                .map(str::to_owned)
                .to_vec(),
            ..exec::Program::default()
        };
        let docker = &self.world.site.docker;
        let finished = exec::run(docker, &self.container, program).await?;
        let ended_well = finished.exit_code == 0
            // `tr` is ended by the pipe that dd closes.
            || finished.exit_code == 141 && !finished.stderr.contains("error");
        ensure!(
            ended_well,
            "{script}: exit {}: {}",
            finished.exit_code,
            finished.stderr
        );
        Ok(finished.stdout)
    }
}
