//! The OS user that owns the database.

use nix::unistd::{Gid, Uid, User};
use thiserror::Error;

/// Owner of a file or of a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

#[derive(Debug, Error)]
pub(crate) enum AccountError {
    #[error(
        "no OS user `{name}` in this image\nHINT: the image's script 02 creates it; run the image, not the bare binary"
    )]
    Missing { name: &'static str },
    #[error("looking up the OS user `{name}` failed")]
    Lookup {
        name: &'static str,
        source: nix::Error,
    },
}

/// The account that Postgres and PgBouncer run as.
pub(crate) fn postgres() -> Result<Account, AccountError> {
    let name = "postgres";
    let user = User::from_name(name)
        .map_err(|source| AccountError::Lookup { name, source })?
        .ok_or(AccountError::Missing { name })?;
    Ok(Account {
        uid: user.uid,
        gid: user.gid,
    })
}

impl Account {
    pub(crate) fn root() -> Account {
        Account {
            uid: Uid::from_raw(0),
            gid: Gid::from_raw(0),
        }
    }

    /// Whoever runs this process: what a test on a temporary folder can give files to.
    #[cfg(test)]
    pub(crate) fn current() -> Account {
        Account {
            uid: Uid::effective(),
            gid: Gid::effective(),
        }
    }
}
