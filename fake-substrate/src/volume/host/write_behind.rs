//! Making a snapshot the flush point: packs, then the table, then the root, each whole, the root
//! only in place of the version that this host put there last.

use super::{Host, HostError, locked};
use crate::serve::chain;
use crate::volume::VolumeName;
use crate::volume::backing::{ObjectError, Tag};
use crate::volume::store::decide::Children;
use crate::volume::store::flush::{Job, Plan, Policy};
use crate::volume::store::map::{BLOCK, ObjectId, Slot};
use crate::volume::store::pack;
use crate::volume::store::record::{Flushed, Record};
use crate::volume::store::root::{Root, pack_key, root_key, table_key};

/// Where a flush point is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushPoint {
    /// Which attachment wrote it.
    pub generation: u64,
    /// Which flush.
    pub sequence: u64,
    /// When the snapshot was taken.
    pub at_ms: u64,
    /// Blocks uploaded for it.
    pub uploaded: usize,
}

/// What a tick did.
#[derive(Debug, Default)]
pub struct Ticked {
    /// Volumes whose flush point moved.
    pub flushed: Vec<VolumeName>,
    /// Clones whose time had come.
    pub expired: Vec<VolumeName>,
    /// Volumes whose flush failed. The log has been told when that began.
    pub failed: Vec<(VolumeName, HostError)>,
    /// Clones whose time had come and that could not be destroyed.
    pub kept: Vec<(VolumeName, HostError)>,
}

impl Host {
    /// Makes the acknowledged content of this instant the flush point. `None` when it is already.
    pub fn flush_point(
        &self,
        volume: &VolumeName,
        now_ms: u64,
    ) -> Result<Option<FlushPoint>, HostError> {
        let _one = self.one_at_a_time();
        let Some(job) = self.begin_flush(volume, now_ms)? else {
            return Ok(None);
        };
        self.finish_flush(&job).map(Some)
    }

    /// What the write-behind does by itself at `now_ms`, clones whose time has come included.
    pub fn tick(&self, policy: Policy, now_ms: u64) -> Ticked {
        let mut ticked = Ticked::default();
        let due = self.books_mut().due(policy, now_ms);
        for volume in due {
            match self.flush_point(&volume, now_ms) {
                Ok(_point) => ticked.flushed.push(volume),
                Err(error) => ticked.failed.push((volume, error)),
            }
        }
        let expired = self.books().expired(now_ms);
        for volume in expired {
            match self.destroy(&volume, Children::Forbid) {
                Ok(()) => ticked.expired.push(volume),
                Err(error) => ticked.kept.push((volume, error)),
            }
        }
        ticked
    }

    pub(super) fn begin_flush(
        &self,
        volume: &VolumeName,
        now_ms: u64,
    ) -> Result<Option<Job>, HostError> {
        Ok(self.books_mut().begin_flush(volume, now_ms)?)
    }

    pub(super) fn finish_flush(&self, job: &Job) -> Result<FlushPoint, HostError> {
        let finished = self
            .upload(job)
            .and_then(|(plan, tag)| self.commit(job, plan, tag));
        if let Err(error) = &finished {
            self.give_up(job, error);
        }
        finished
    }

    /// Of failures in a row the first is told, and the end by [`Host::commit`].
    fn give_up(&self, job: &Job, error: &HostError) {
        if self.books_mut().abandon_flush(job) == Some(1) {
            tracing::warn!(
                volume = %job.meta.name, error = %chain(error),
                "a flush failed: the flush point stays where it is until one gets through"
            );
        }
    }

    pub(super) fn upload(&self, job: &Job) -> Result<(Plan, Tag), HostError> {
        let plan = job.plan(
            &self.name,
            |slot| self.books().slots.remote(slot),
            || self.books_mut().new_object(),
        );
        for (pack, slots) in &plan.packs {
            let bytes = self.pack(*pack, slots)?;
            self.objects.put(&pack_key(*pack), &bytes)?;
        }
        if let Some((object, table)) = &plan.table {
            let key = table_key(*object);
            let bytes = table.encode();
            let bytes = bytes.map_err(|damage| HostError::Object {
                key: key.clone(),
                damage,
            })?;
            self.objects.put(&key, &bytes)?;
        }
        // If the volume was lost or destroyed meanwhile, its slots may hold something else by now:
        // then what was read of them must not become a flush point.
        self.is_still_under_way(job)?;
        let tag = self.replace_root(job, &plan.root)?;
        Ok((plan, tag))
    }

    fn pack(&self, id: ObjectId, slots: &[Slot]) -> Result<Vec<u8>, HostError> {
        let mut pack = pack::Builder::new(id, slots.len());
        let mut content = [0; BLOCK];
        for slot in slots {
            let read = self.arena.read(slot.offset(), &mut content);
            read.map_err(HostError::local("read", "arena"))?;
            pack.push(&content);
        }
        Ok(pack.finish())
    }

    fn is_still_under_way(&self, job: &Job) -> Result<(), HostError> {
        Ok(self.books().is_flushing(job)?)
    }

    /// Puts the root in place of the last one. A conflict has three causes: an answer of an earlier
    /// try that got lost, the same for this one, or another host.
    fn replace_root(&self, job: &Job, root: &Root) -> Result<Tag, HostError> {
        let name = &job.meta.name;
        let key = root_key(name);
        let damaged = |damage| HostError::Object {
            key: key.clone(),
            damage,
        };
        let bytes = root.encode().map_err(damaged)?;
        match self
            .objects
            .replace(&key, &bytes, job.before.tag.as_deref())
        {
            Err(ObjectError::Conflict { .. }) => {}
            put => return Ok(put?),
        }
        let there = self.objects.get(&key)?;
        let found = match there {
            None => 0,
            Some((there, tag)) => {
                let there = Root::decode(&there).map_err(damaged)?;
                if there == *root {
                    return Ok(tag);
                }
                let ours = there.generation == root.generation
                    && there.meta.created_ms == root.meta.created_ms
                    && there.sequence <= root.sequence;
                if ours {
                    return Ok(self.objects.replace(&key, &bytes, Some(&tag))?);
                }
                there.generation
            }
        };
        let volume = name.clone();
        self.change(&mut self.books_mut(), vec![Record::Fenced { volume }])?;
        tracing::error!(
            volume = %name, ours = root.generation, found,
            "another host has taken this volume over: it fails every request here from now on"
        );
        Err(HostError::TakenOver {
            volume: name.to_string(),
            ours: root.generation,
            found,
        })
    }

    pub(super) fn commit(&self, job: &Job, plan: Plan, tag: Tag) -> Result<FlushPoint, HostError> {
        let uploads = plan.uploads();
        let point = FlushPoint {
            generation: plan.root.generation,
            sequence: plan.root.sequence,
            at_ms: plan.root.at_ms,
            uploaded: uploads.len(),
        };
        let record = Record::Flushed {
            volume: job.meta.name.clone(),
            flushed: Flushed {
                generation: plan.root.generation,
                sequence: plan.root.sequence,
                at_ms: plan.root.at_ms,
                tag: Some(tag),
                tables: plan.root.tables,
            },
            uploads,
        };
        let mut books = self.books_mut();
        books.is_flushing(job)?;
        self.change(&mut books, vec![record])?;
        let failed = books.end_flush(job);
        drop(books);
        if let Some(failed) = failed {
            tracing::info!(volume = %job.meta.name, failed, "the flush point moves again");
        }
        self.room.look_again();
        Ok(point)
    }

    /// What is not urgent: gives slots back, shortens the journal.
    pub fn tidy(&self) -> Result<(), HostError> {
        let dead = {
            let mut books = self.books_mut();
            if books.slots.sweep_is_worth_it(WORTH_SWEEPING) {
                books.sweep()
            } else {
                Vec::new()
            }
        };
        if !dead.is_empty() {
            self.discard_free(&dead)?;
        }
        let _one = locked(&self.maintenance);
        self.checkpoint_if_long()
    }

    /// Under the lock of the books: a slot that is taken meanwhile must not be discarded.
    pub(super) fn discard_free(&self, dead: &[Slot]) -> Result<(), HostError> {
        let books = self.books_mut();
        let free: Vec<_> = dead
            .iter()
            .copied()
            .filter(|slot| books.slots.is_free(*slot))
            .collect();
        self.discard(&free)
    }
}

/// Garbage from which on the host looks for it: 64 MiB.
const WORTH_SWEEPING: u64 = 16_384;
