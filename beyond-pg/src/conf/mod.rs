//! Every file that Postgres and PgBouncer read and this image writes: one table.
//!
//! The table decides number, owner, mode and presence; [`ConfFile::render`] computes the text from
//! one input struct, and `None` *means* "must not exist", so that write-or-remove exists once, in
//! whoever applies the table. Nothing here opens a file.

mod base;
mod durability;
mod guc;
mod hba;
mod last_good;
mod pgbouncer;
mod recovery;
mod replication;
mod tls;
mod tuning;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
pub(crate) mod reference_tests;

use std::path::PathBuf;

pub(crate) use base::archive_command;
pub(crate) use last_good::{last_good, last_good_hba};
pub(crate) use recovery::{Until, recovery_settings};
pub(crate) use replication::{INSTANCE, render as replication_text};

use crate::layout::Layout;
use crate::machine::Machine;
use crate::settings::Settings;

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ConfFile {
    Beyond00,
    Tuning01,
    Durability02,
    Replication03,
    Pitr05,
    Tls06,
    User99,
    UserHba99,
    Hba,
    Ident,
    PgBouncer,
}

/// Who decides what is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Rewritten at every boot.
    Image,
    /// Created empty when absent, never written again (F-004).
    User,
}

/// What all files are computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfInputs<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) machine: Machine,
    /// Size of the volume's file system.
    pub(crate) volume_bytes: u64,
    /// Libraries to preload, already reduced to those that exist: the postmaster refuses to start
    /// on a missing one (facts 75).
    pub(crate) preload: &'a [String],
    /// The installed certificate came with a CA, so clients may be asked for theirs.
    pub(crate) client_ca: bool,
    /// The restore that the settings ask for is yet to be done.
    pub(crate) restores: bool,
    pub(crate) layout: &'a Layout,
}

/// `06-tls.conf`, the one file that a running machine writes: for that neither settings nor size
/// matter.
pub(crate) fn tls_text(layout: &Layout, client_ca: bool) -> String {
    tls::render(layout, client_ca)
}

impl ConfFile {
    /// In the order in which they are written.
    pub(crate) const ALL: [Self; 11] = [
        Self::Beyond00,
        Self::Tuning01,
        Self::Durability02,
        Self::Replication03,
        Self::Pitr05,
        Self::Tls06,
        Self::User99,
        Self::UserHba99,
        Self::Hba,
        Self::Ident,
        Self::PgBouncer,
    ];

    /// What it is called, in the log and in a plan.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Beyond00 => "00-beyond.conf",
            Self::Tuning01 => "01-tuning.conf",
            Self::Durability02 => "02-durability.conf",
            Self::Replication03 => "03-replication.conf",
            Self::Pitr05 => "05-pitr.conf",
            Self::Tls06 => "06-tls.conf",
            Self::User99 => "99-user.conf",
            Self::UserHba99 => "99-user-hba.conf",
            Self::Hba => "pg_hba.conf",
            Self::Ident => "pg_ident.conf",
            Self::PgBouncer => "pgbouncer.ini",
        }
    }

    /// Where it lies.
    pub(crate) fn path(self, layout: &Layout) -> PathBuf {
        match self {
            Self::Beyond00 => layout.confd().join("00-beyond.conf"),
            Self::Tuning01 => layout.confd().join("01-tuning.conf"),
            Self::Durability02 => layout.confd().join("02-durability.conf"),
            Self::Replication03 => layout.confd().join("03-replication.conf"),
            Self::Pitr05 => layout.confd().join("05-pitr.conf"),
            Self::Tls06 => layout.confd().join("06-tls.conf"),
            Self::User99 => layout.confd().join("99-user.conf"),
            // Beside conf.d, not in it: include_dir reads every *.conf as settings.
            Self::UserHba99 => layout.pgdata().join("99-user-hba.conf"),
            Self::Hba => layout.etc_postgres().join("pg_hba.conf"),
            Self::Ident => layout.etc_postgres().join("pg_ident.conf"),
            Self::PgBouncer => layout.pgbouncer_ini(),
        }
    }

    /// Who decides its content.
    pub(crate) fn owner(self) -> Owner {
        match self {
            Self::User99 | Self::UserHba99 => Owner::User,
            _ => Owner::Image,
        }
    }

    /// Permission bits; the file belongs to the OS user `postgres`. None of them holds a secret,
    /// and an administrator who is not `postgres` has no business in them.
    pub(crate) fn mode(self) -> u32 {
        0o640
    }

    /// The whole text, or `None` when the file must not exist. A user's file renders empty: that
    /// is what it is created with.
    pub(crate) fn render(self, inputs: &ConfInputs<'_>) -> Option<String> {
        match self {
            Self::Beyond00 => Some(base::render(inputs)),
            Self::Tuning01 => Some(tuning::render(inputs.machine)),
            Self::Durability02 => durability::render(inputs.settings.volume),
            Self::Replication03 => replication::render(inputs.settings, inputs.layout),
            Self::Pitr05 => recovery::render(inputs),
            Self::Tls06 => Some(tls_text(inputs.layout, inputs.client_ca)),
            Self::User99 | Self::UserHba99 => Some(String::new()),
            Self::Hba => Some(hba::hba(&Self::UserHba99.path(inputs.layout))),
            Self::Ident => Some(hba::ident()),
            Self::PgBouncer => Some(pgbouncer::render(inputs)),
        }
    }
}

/// The files of `conf.d` that the image decides; whatever else lies there is the user's.
pub(crate) fn image_files_in_confd() -> Vec<&'static str> {
    let layout = Layout::new("/");
    ConfFile::ALL
        .into_iter()
        .filter(|file| {
            file.owner() == Owner::Image && file.path(&layout).starts_with(layout.confd())
        })
        .map(ConfFile::name)
        .collect()
}
