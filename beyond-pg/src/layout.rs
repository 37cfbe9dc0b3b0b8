//! Every path the machine uses, under one root.
//!
//! In a machine the root is `/`; a test gives a temporary folder and gets the same tree below
//! it. Nothing else in the crate spells a path. Contract 3 is the picture of the disk.

use std::path::{Path, PathBuf};

use crate::backup::fetch::FETCHED;

use crate::hooks::Stage;

/// The one major version this image carries (B-001). A PGDATA of another one is refused.
pub(crate) const MAJOR: u32 = 18;

/// Where things are. Cheap to clone; computes, never looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The tree below `root`: `/` in a machine.
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root itself, for readers of `/proc` and `/sys`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Mount point of the volume (`vdb`).
    pub(crate) fn volume(&self) -> PathBuf {
        self.root.join("var/lib/postgresql")
    }

    /// The volume as a disk, where it is one.
    pub(crate) fn volume_device(&self) -> PathBuf {
        self.root.join("dev/vdb")
    }

    /// Home of this major version on the volume.
    pub(crate) fn major_dir(&self) -> PathBuf {
        self.volume().join(MAJOR.to_string())
    }

    /// PGDATA (B-002).
    pub(crate) fn pgdata(&self) -> PathBuf {
        self.major_dir().join("main")
    }

    /// The lock of the postmaster that runs on PGDATA, or of the last one that was killed.
    pub(crate) fn postmaster_pid(&self) -> PathBuf {
        self.pgdata().join("postmaster.pid")
    }

    /// What `PGDATA/pg_wal` points at (B-004).
    pub(crate) fn wal(&self) -> PathBuf {
        self.major_dir().join("wal")
    }

    /// Where `initdb` works before one rename publishes the result as PGDATA, so that a half-made
    /// cluster never carries the name of a finished one.
    pub(crate) fn initdb_staging(&self) -> PathBuf {
        self.major_dir().join("main.initdb")
    }

    /// The archive of a cluster that comes from a sink, while it is unpacked.
    pub(crate) fn fetched_base(&self) -> PathBuf {
        self.initdb_staging().join(Self::BASE_TAR)
    }

    /// Where a backup is unpacked before one rename makes it PGDATA.
    pub(crate) fn backup_staging(&self) -> PathBuf {
        self.major_dir().join("main.backup")
    }

    /// The layered configuration (F-001, F-002).
    pub(crate) fn confd(&self) -> PathBuf {
        self.pgdata().join("conf.d")
    }

    /// What beyond-pg itself keeps on the volume.
    pub(crate) fn beyond_dir(&self) -> PathBuf {
        self.pgdata().join("beyond")
    }

    /// The self-signed certificate (I-001), or the user's where they manage it.
    pub(crate) fn self_signed_cert(&self) -> PathBuf {
        self.beyond_dir().join("server.crt")
    }

    /// The self-signed certificate's key.
    pub(crate) fn self_signed_key(&self) -> PathBuf {
        self.beyond_dir().join("server.key")
    }

    /// Its presence says that the user looks after the certificate (I-004).
    pub(crate) fn user_managed(&self) -> PathBuf {
        self.beyond_dir().join(".user-managed")
    }

    /// Whose database this volume was when it last booted; a fork's instance id differs from it.
    pub(crate) fn stamp(&self) -> PathBuf {
        self.beyond_dir().join("instance-id")
    }

    /// What a fork keeps while it leaves its parent.
    pub(crate) fn fork_journal(&self) -> PathBuf {
        self.beyond_dir().join("fork.json")
    }

    /// Whose copy this volume once was.
    pub(crate) fn forked_from(&self) -> PathBuf {
        self.beyond_dir().join("forked-from.json")
    }

    /// The restore that this volume has behind it.
    pub(crate) fn restored(&self) -> PathBuf {
        self.beyond_dir().join("restored.json")
    }

    /// Kept by a promotion.
    pub(crate) fn promoted(&self) -> PathBuf {
        self.beyond_dir().join("promoted.json")
    }

    /// Whom commits wait for, when the control plane has said so at run time.
    pub(crate) fn sync_standbys(&self) -> PathBuf {
        self.beyond_dir().join("sync-standbys.json")
    }

    /// Its presence makes Postgres follow.
    pub(crate) fn standby_signal(&self) -> PathBuf {
        self.pgdata().join("standby.signal")
    }

    /// Where a base backup arrives before one rename publishes it as PGDATA.
    pub(crate) fn seed_staging(&self) -> PathBuf {
        self.major_dir().join("main.basebackup")
    }

    /// A PGDATA that a base backup replaces.
    pub(crate) fn discarded(&self) -> PathBuf {
        self.major_dir().join("main.discarded")
    }

    /// Kept while pg_rewind works on PGDATA, outside of it: pg_rewind replaces what is inside.
    pub(crate) fn rewind_journal(&self) -> PathBuf {
        self.major_dir().join("rewind.json")
    }

    /// The backup that this volume was made from, until it is recovered.
    pub(crate) fn fetched(&self) -> PathBuf {
        self.beyond_dir().join(FETCHED)
    }

    /// Makes Postgres replay the WAL behind a clean shutdown, on the same timeline.
    pub(crate) fn backup_label(&self) -> PathBuf {
        self.pgdata().join("backup_label")
    }

    /// What a WAL sink keeps.
    pub(crate) fn sink(&self) -> PathBuf {
        self.volume().join("sink")
    }

    /// The segments a sink has received.
    pub(crate) fn sink_wal(&self) -> PathBuf {
        self.sink().join("wal")
    }

    /// What a sink had received before its slot was lost.
    pub(crate) fn sink_wal_before(&self) -> PathBuf {
        self.sink().join("wal.before")
    }

    /// A cluster as it was when it was young.
    pub(crate) fn sink_base(&self) -> PathBuf {
        self.sink().join("base")
    }

    /// Its archive, as `pg_basebackup` names it.
    pub(crate) fn sink_base_tar(&self) -> PathBuf {
        self.sink_base().join(Self::BASE_TAR)
    }

    /// Whose it is; its presence says that the archive is whole.
    pub(crate) fn sink_base_description(&self) -> PathBuf {
        self.sink_base().join("base.json")
    }

    /// Where the next one is made.
    pub(crate) fn sink_base_staging(&self) -> PathBuf {
        self.sink().join("base.new")
    }

    /// Where a sink looks at a primary's WAL before it takes any.
    pub(crate) fn sink_probe(&self) -> PathBuf {
        self.sink().join("probe")
    }

    pub(crate) const BASE_TAR: &str = "base.tar";

    /// Whose WAL a sink holds.
    pub(crate) fn sink_identity(&self) -> PathBuf {
        self.sink().join("identity.json")
    }

    /// The password of a program that is starting; on tmpfs, for moments.
    pub(crate) fn passfile(&self, program: &str) -> PathBuf {
        self.run_dir().join(format!("pgpass.{program}"))
    }

    /// Makes Postgres recover onto a timeline of its own, and is gone when it has.
    pub(crate) fn recovery_signal(&self) -> PathBuf {
        self.pgdata().join("recovery.signal")
    }

    /// Where Postgres listens while a fork leaves its parent: nobody else knows the place.
    pub(crate) fn fork_socket_dir(&self) -> PathBuf {
        self.run_dir().join("fork")
    }

    /// The WAL that went by while there was no archive.
    pub(crate) fn unarchived(&self) -> PathBuf {
        self.beyond_dir().join("unarchived.json")
    }

    /// Where PID 1 lends the archive target to the commands that Postgres runs.
    pub(crate) fn archive_socket(&self) -> PathBuf {
        self.run_dir().join("archive.sock")
    }

    /// Of the process that works ahead of Postgres' archiver.
    pub(crate) fn ahead_dir(&self) -> PathBuf {
        self.run_dir().join("archive-ahead")
    }

    /// Where it is asked.
    pub(crate) fn ahead_socket(&self) -> PathBuf {
        self.ahead_dir().join("ask.sock")
    }

    /// What `ALTER SYSTEM` writes.
    pub(crate) fn auto_conf(&self) -> PathBuf {
        self.pgdata().join("postgresql.auto.conf")
    }

    /// What `ALTER SYSTEM` had written when Postgres refused it.
    pub(crate) fn refused_auto_conf(&self) -> PathBuf {
        self.beyond_dir().join("refused.postgresql.auto.conf")
    }

    /// The user's part of the last configuration that led to a login.
    pub(crate) fn last_good(&self) -> PathBuf {
        self.beyond_dir().join("last-good.json")
    }

    /// Where the last configuration that worked is laid out for Postgres.
    pub(crate) fn last_good_dir(&self) -> PathBuf {
        self.run_dir().join("last-good")
    }

    /// What Postgres reads there instead of [`Layout::postgres_conf`].
    pub(crate) fn last_good_conf(&self) -> PathBuf {
        self.last_good_dir().join("postgresql.conf")
    }

    /// Held by the one machine that runs on this volume.
    pub(crate) fn volume_lock(&self) -> PathBuf {
        self.volume().join(".beyond-pg.lock")
    }

    /// Room on the volume that is given up when Postgres needs it to start.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.volume().join(".beyond-pg.reserve")
    }

    /// What the server is told about a volume that fills up; on tmpfs.
    pub(crate) fn disk_conf(&self) -> PathBuf {
        self.run_dir().join("disk.conf")
    }

    /// The Debian configuration folder on the rootfs (F-002).
    pub(crate) fn etc_postgres(&self) -> PathBuf {
        self.root.join(format!("etc/postgresql/{MAJOR}/main"))
    }

    /// The image's `postgresql.conf`, which includes all others.
    pub(crate) fn postgres_conf(&self) -> PathBuf {
        self.etc_postgres().join("postgresql.conf")
    }

    /// The folder with the hooks of one stage (L-002), on the rootfs: they belong to the image.
    pub(crate) fn hooks(&self, stage: Stage) -> PathBuf {
        self.root
            .join(format!("etc/postgresql/{MAJOR}/hooks/{stage}.d"))
    }

    /// The image's own list of extensions.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.root.join("etc/beyond/extensions.toml")
    }

    /// The pooler's only configuration file.
    pub(crate) fn pgbouncer_ini(&self) -> PathBuf {
        self.root.join("etc/pgbouncer/pgbouncer.ini")
    }

    /// Folder of Postgres' unix socket.
    pub(crate) fn socket_dir(&self) -> PathBuf {
        self.root.join("var/run/postgresql")
    }

    /// The lock of the postmaster that listens on the socket; it names a process, too.
    pub(crate) fn socket_lock(&self) -> PathBuf {
        let name = format!(".s.PGSQL.{}.lock", wire::ports::DIRECT);
        self.socket_dir().join(name)
    }

    /// Where the platform puts a certificate (I-004).
    pub(crate) fn platform_tls(&self) -> PathBuf {
        self.root.join("run/beyond/tls")
    }

    /// Our own folder on tmpfs.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.root.join("run/beyond-pg")
    }

    /// Certificates that were checked and installed, each in a folder of its own.
    pub(crate) fn tls_dir(&self) -> PathBuf {
        self.run_dir().join("tls")
    }

    /// The link to the one that both servers present.
    pub(crate) fn installed_tls(&self) -> PathBuf {
        self.tls_dir().join("current")
    }

    pub(crate) const INSTALLED_CERT: &str = "cert.pem";
    pub(crate) const INSTALLED_KEY: &str = "key.pem";
    pub(crate) const INSTALLED_CA: &str = "ca.pem";
    /// Whose it is, in one word.
    pub(crate) const INSTALLED_SOURCE: &str = "source";

    /// The chain both servers present, leaf first.
    pub(crate) fn installed_cert(&self) -> PathBuf {
        self.installed_tls().join(Self::INSTALLED_CERT)
    }

    /// Its key.
    pub(crate) fn installed_key(&self) -> PathBuf {
        self.installed_tls().join(Self::INSTALLED_KEY)
    }

    /// Who signs client certificates; a link to the chain where nobody does.
    pub(crate) fn installed_ca(&self) -> PathBuf {
        self.installed_tls().join(Self::INSTALLED_CA)
    }

    /// Whose it is.
    pub(crate) fn installed_source(&self) -> PathBuf {
        self.installed_tls().join(Self::INSTALLED_SOURCE)
    }

    /// A server program such as `postgres` or `initdb`.
    pub(crate) fn bin(&self, program: &str) -> PathBuf {
        self.root
            .join(format!("usr/lib/postgresql/{MAJOR}/bin/{program}"))
    }

    /// Our own binary, as Postgres calls it.
    pub(crate) fn beyond_pg(&self) -> PathBuf {
        self.root.join("usr/local/bin/beyond-pg")
    }

    /// Loadable libraries (`pg_config --pkglibdir`).
    pub(crate) fn pkglib(&self) -> PathBuf {
        self.root.join(format!("usr/lib/postgresql/{MAJOR}/lib"))
    }

    /// Control files of installable extensions (`pg_config --sharedir`/extension).
    pub(crate) fn sharedir_extension(&self) -> PathBuf {
        self.root
            .join(format!("usr/share/postgresql/{MAJOR}/extension"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_lies_below_the_root() {
        let layout = Layout::new("/tmp/tree");
        for path in [
            layout.pgdata(),
            layout.wal(),
            layout.initdb_staging(),
            layout.confd(),
            layout.stamp(),
            layout.etc_postgres(),
            layout.manifest(),
            layout.hooks(Stage::PreStart),
            layout.pgbouncer_ini(),
            layout.socket_dir(),
            layout.platform_tls(),
            layout.run_dir(),
            layout.installed_cert(),
            layout.bin("postgres"),
            layout.pkglib(),
            layout.sharedir_extension(),
        ] {
            assert!(path.starts_with("/tmp/tree"), "{}", path.display());
        }
    }

    #[test]
    fn paths_are_the_debian_ones_of_the_contract() {
        let layout = Layout::new("/");
        assert_eq!(layout.pgdata(), Path::new("/var/lib/postgresql/18/main"));
        assert_eq!(layout.wal(), Path::new("/var/lib/postgresql/18/wal"));
        assert_eq!(layout.etc_postgres(), Path::new("/etc/postgresql/18/main"));
        assert_eq!(
            layout.bin("initdb"),
            Path::new("/usr/lib/postgresql/18/bin/initdb")
        );
        assert_eq!(
            layout.hooks(Stage::PreFork),
            Path::new("/etc/postgresql/18/hooks/pre-fork.d")
        );
    }
}
