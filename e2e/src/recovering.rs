//! Bare servers that have recovery before them, to a moment: what a restore is measured against.

use std::net::Ipv4Addr;

use anyhow::Result;
use fake_substrate::docker::{Attachment, Mount};

use crate::bare::{Bare, COPY, HBA, HBA_FILE, postmaster};
use crate::disk::{PGDATA, VOLUME};
use crate::pgbackrest::{self, PgBackRest};
use crate::stopped::Stopped;
use crate::vm::Vm;
use crate::world::World;

/// Where the volume is seen that has the WAL.
const WRITER: &str = "/writer";

/// Where a bare server finds the WAL that it replays.
#[derive(Debug, Clone, Copy)]
pub enum WalOf<'a> {
    /// On the volume of the machine that wrote it, by `cp`.
    Writer,
    /// In a repository, by pgBackRest's `archive-get` of an image that has it.
    Repository(&'a PgBackRest, &'a str),
}

impl World {
    /// `postgres` on a copy of `base`, an earlier state of the writer, that recovers to an LSN before it takes
    /// a client.
    pub async fn bare_recovery(
        &self,
        base: &Stopped,
        writer: &Vm,
        wal: WalOf<'_>,
        to: &str,
    ) -> Result<Bare<'_>> {
        let name = "bare-recovery";
        let volume = self.volume(name).await?;
        let (data, signal) = (PGDATA.replace(VOLUME, COPY), "recovery.signal");
        base.with_volumes(
            &[(&volume, COPY)],
            &format!(
                "cp -a {VOLUME}/. {COPY}/ && rm -f {data}/postmaster.pid &&
                 printf '{HBA}' >{COPY}/{HBA_FILE} &&
                 install -o postgres -g postgres -m 0600 /dev/null {data}/{signal}"
            ),
        )
        .await?;
        let restore_command = match wal {
            // `pg_wal` is a link, and leads to another volume there.
            WalOf::Writer => format!("cp {WRITER}/18/wal/%f %p"),
            WalOf::Repository(pgbackrest, _) => pgbackrest.restore_command(),
        };
        let recovery = [
            format!("restore_command={restore_command}"),
            format!("recovery_target_lsn={to}"),
            "recovery_target_action=promote".to_owned(),
            // The first answer is to be one after the whole of it.
            "hot_standby=off".to_owned(),
            "archive_command=true".to_owned(),
        ];
        let mut entrypoint = match wal {
            WalOf::Writer => Vec::new(),
            WalOf::Repository(..) => ["/bin/sh", "-c", pgbackrest::INSTALL, "sh"]
                .map(str::to_owned)
                .to_vec(),
        };
        entrypoint.extend(postmaster());
        let options = recovery.into_iter();
        entrypoint.extend(options.flat_map(|option| ["-c".to_owned(), option]));
        let mut spec = self.bare(name, entrypoint, volume);
        match wal {
            WalOf::Writer => spec.mounts.push(Mount {
                volume: writer.machine.volume(),
                target: WRITER.to_owned(),
                blank: true,
            }),
            WalOf::Repository(pgbackrest, image) => {
                spec.image = image.to_owned();
                spec.env = pgbackrest.environment();
                spec.network = Some(Attachment {
                    network: self.site.substrate.name().network(),
                    // Outside what the substrate gives to machines.
                    link_local: Ipv4Addr::new(169, 254, 21, 2),
                    aliases: Vec::new(),
                });
            }
        }
        // Its roles are the writer's: nobody has booted there.
        self.created(spec, writer.login.clone()).await
    }
}
