//! Block volumes on the real stack: a kernel's block layer, a loop device, FUSE, the store.

use anyhow::{bail, ensure};
use e2e::until::within;
use e2e::{Operation, Outcome, budget, scenario};

const BLOCKS: usize = 64;

/// A FLUSH of the kernel reaches the store through loop device and FUSE: what it covers outlives a
/// power cut, of what came after a part is lost, and the dead disk takes no write any more.
#[tokio::test]
async fn what_a_kernel_flushed_outlives_a_power_cut() -> Outcome {
    scenario(async |world| {
        let store = world.block_store().await?;
        let volume = store.create("db").await?;
        let disk = volume.attach().await?;
        disk.write('a', BLOCKS).await?;
        ensure!(
            volume.report().await?.unsynced_blocks == 64,
            "a write flushed by itself"
        );
        disk.flush().await?;
        ensure!(
            volume.report().await?.unsynced_blocks == 0,
            "a FLUSH did not arrive"
        );
        disk.write('b', BLOCKS).await?;

        let cut = volume.power_cut(7).await?;
        ensure!(
            cut.unsynced == BLOCKS && cut.survived > 0 && cut.survived < BLOCKS,
            "{cut:?}"
        );
        disk.must_refuse_writes().await?;
        let blocks = volume.attach().await?.read(BLOCKS).await?;
        let survived = blocks.matches('b').count();
        ensure!(survived == cut.survived, "{cut:?} left {blocks}");
        ensure!(survived + blocks.matches('a').count() == BLOCKS, "{blocks}");
        Ok(())
    })
    .await
}

/// A volume is born with an empty ext4 that a kernel mounts, whatever its size, with few blocks written,
/// and in object storage before anybody is told of it. One that cannot have a file system is not there.
#[tokio::test]
async fn a_volume_is_born_with_an_empty_file_system() -> Outcome {
    scenario(async |world| {
        let store = world.block_store().await?;
        for (name, bytes) in [("small", 64 << 20), ("large", 100 << 30)] {
            let volume = store.create_formatted(name, bytes).await?;
            let born = volume.report().await?;
            ensure!(
                born.flush_point.is_some() && born.unsynced_blocks == 0 && born.parent.is_none(),
                "{born:?}"
            );
            ensure!(store.used().await? < 8 << 20, "{name} is not cheap");
            let disk = volume.attach().await?;
            let left = disk.groups_to_initialise().await?;
            ensure!(left == 0, "{left} groups of {name} are left to the kernel");
            let usable = disk.mount_and_write().await?;
            ensure!(usable > bytes / 5 * 4, "{usable} of {bytes} bytes");
        }
        let refused = store.create_formatted("tiny", 4096).await;
        ensure!(refused.is_err(), "a file system in one block");
        let names = store.names().await?;
        ensure!(names == ["large", "small"], "{names:?}");
        Ok(())
    })
    .await
}

/// A fork holds what its parent's disk had taken at that instant, flushed or not, and goes its own
/// way from there.
#[tokio::test]
async fn a_fork_of_a_disk_in_use_has_its_content_and_goes_its_own_way() -> Outcome {
    scenario(async |world| {
        let store = world.block_store().await?;
        let parent = store.create("db").await?;
        let disk = parent.attach().await?;
        disk.write('a', BLOCKS).await?;
        let child = parent.fork("preview").await?;
        disk.write('b', BLOCKS).await?;
        let copy = child.attach().await?;
        copy.discard(1).await?;
        let expected = format!(".{}", "a".repeat(BLOCKS - 1));
        ensure!(
            copy.read(BLOCKS).await? == expected,
            "the child has something else"
        );
        ensure!(
            disk.read(BLOCKS).await? == "b".repeat(BLOCKS),
            "the parent has something else"
        );
        Ok(())
    })
    .await
}

/// A volume whose host is lost comes back elsewhere exactly as of its flush point.
#[tokio::test]
async fn a_lost_disk_comes_back_as_of_its_flush_point() -> Outcome {
    scenario(async |world| {
        let store = world.block_store().await?;
        let volume = store.create("db").await?;
        let disk = volume.attach().await?;
        disk.write('a', BLOCKS).await?;
        volume.flush_point().await?;
        disk.write('b', 8).await?;
        disk.flush().await?;
        volume.lose_host_and_rehome().await?;
        disk.must_refuse_writes().await?;
        let blocks = volume.attach().await?.read(BLOCKS).await?;
        // The write-behind may have come between; a mixture never.
        let later = format!("{}{}", "b".repeat(8), "a".repeat(BLOCKS - 8));
        ensure!(blocks == "a".repeat(BLOCKS) || blocks == later, "{blocks}");
        Ok(())
    })
    .await
}

/// The store's process is killed with a disk in use: what was flushed is there, and the volume can be
/// attached again.
#[tokio::test]
async fn a_killed_block_store_loses_nothing_that_was_flushed() -> Outcome {
    scenario(async |world| {
        let store = world.block_store().await?;
        let volume = store.create("db").await?;
        let disk = volume.attach().await?;
        disk.write('a', BLOCKS).await?;
        disk.flush().await?;
        store.crash_and_start().await?;
        let blocks = volume.attach().await?.read(BLOCKS).await?;
        ensure!(blocks == "a".repeat(BLOCKS), "{blocks}");
        volume.detach().await?;
        Ok(())
    })
    .await
}

/// A host is lost with everything it had; another one that never heard of its volumes has them back as of
/// their flush points, block by block as they are read. What was never flushed is gone, and the refusal
/// says so in words that an operator can act on.
#[tokio::test]
async fn a_volume_comes_back_on_a_host_that_never_heard_of_it() -> Outcome {
    scenario(async |world| {
        let lost = world.block_store_of_host(1).await?;
        let volume = lost.create("db").await?;
        let disk = volume.attach().await?;
        disk.write('a', BLOCKS).await?;
        volume.flush_point().await?;
        lost.create_ephemeral("scratch").await?;
        lost.lose().await?;
        disk.must_refuse_writes().await?;

        let host = world.block_store_of_host(2).await?;
        ensure!(host.roots().await? == ["db"], "object storage has more");
        ensure!(host.names().await?.is_empty(), "it has heard of a volume");
        let volume = host.rehome("db").await?;
        ensure!(host.used().await? == 0, "blocks came before they were read");
        let blocks = volume.attach().await?.read(BLOCKS).await?;
        ensure!(blocks == "a".repeat(BLOCKS), "{blocks}");
        ensure!(
            host.used().await? >= (BLOCKS * 4096) as u64,
            "nothing was fetched"
        );
        host.rehome("db").await?; // asked twice, done once
        let generation = volume
            .report()
            .await?
            .flush_point
            .map(|point| point.generation);
        ensure!(generation == Some(2), "{generation:?}");

        let Err(refused) = host.rehome("scratch").await else {
            bail!("an ephemeral volume came back");
        };
        let refused = format!("{refused:#}");
        for word in [
            "volume scratch is gone",
            "never flushed",
            "ephemeral",
            "B-009",
        ] {
            ensure!(refused.contains(word), "{refused}");
        }
        Ok(())
    })
    .await
}

/// A volume is taken over while its old host lives on, with a machine that goes on writing: the old host
/// learns it at its next flush, fails every write from then on, and nothing that it did after the takeover
/// is ever seen on the new one.
#[tokio::test]
async fn a_host_whose_volume_was_taken_over_is_fenced() -> Outcome {
    scenario(async |world| {
        let (old, new) = (
            world.block_store_of_host(1).await?,
            world.block_store_of_host(2).await?,
        );
        let volume = old.create("db").await?;
        let disk = volume.attach().await?;
        disk.write('a', BLOCKS).await?;
        volume.flush_point().await?;

        let taken = new.rehome("db").await?;
        let new_disk = taken.attach().await?;
        disk.write('b', BLOCKS).await?;
        disk.flush().await?;
        old.has_fenced("db").await?;
        disk.must_refuse_writes().await?;
        ensure!(
            volume.flush_point().await.is_err(),
            "a fenced host moved the flush point"
        );

        let blocks = new_disk.read(BLOCKS).await?;
        ensure!(blocks == "a".repeat(BLOCKS), "{blocks}");
        new_disk.write('c', 1).await?;
        taken.flush_point().await?;
        let blocks = new_disk.read(2).await?;
        ensure!(blocks == "ca", "{blocks}");
        Ok(())
    })
    .await
}

/// Object storage refuses: a guest goes on until 512 MiB are at stake, then its writes wait instead of putting
/// more at stake, while its FLUSH and its reads are answered; when object storage is back they go on.
#[tokio::test]
async fn writes_wait_when_object_storage_takes_nothing_and_go_on_when_it_does() -> Outcome {
    scenario(async |world| {
        const PIECES: usize = 640;
        let store = world.block_store().await?;
        let volume = store.create_raw("db", 1 << 30).await?;
        let disk = volume.attach().await?;
        let s3 = world.s3().await?;
        let refused = s3.refuse(Operation::Put).of("*/packs/*").start().await?;
        let writing = disk.write_megabytes(PIECES);
        let story = async {
            volume.holds_back_writes().await?;
            within(budget::SOON, "a read beside waiting writes", disk.read(1)).await??;
            within(budget::SOON, "a FLUSH beside waiting writes", disk.flush()).await??;
            let at_stake = volume.report().await?.dirty_bytes;
            ensure!(at_stake < 520 << 20, "{at_stake} bytes at stake");
            refused.heal().await?;
            Ok(())
        };
        let (written, told) = tokio::join!(writing, story);
        told?;
        written?;
        volume.flush_point().await?;
        ensure!(
            !volume.report().await?.writes_wait,
            "nothing is at stake any more"
        );
        Ok(())
    })
    .await
}
