//! A volume without a cluster, and a sink that keeps a copy of the one that was there (docs/decisions.md).

use ring::digest::{Context, SHA256};
use thiserror::Error;
use wire::sink::Base;

use super::client::{Client, ClientError};
use crate::boot::facts::Owners;
use crate::boot::failpoint;
use crate::fx::exec::ExecError;
use crate::fx::fs::{self, FsError};
use crate::layout::Layout;
use crate::postgres::cluster;
use crate::settings::Sink;
use crate::sink::base::hex;

#[derive(Debug, Error)]
pub(crate) enum BaseError {
    #[error(transparent)]
    Sink(#[from] ClientError),
    #[error(
        "the copy of the cluster that the sink serves is not the one that it describes: {got} bytes of {promised} came, with SHA-256 {sha256}. No cluster was made.\n\
         HINT: boot again; if it stays like this, the sink's disk is damaged: restore the volume from a snapshot or a backup"
    )]
    Damaged {
        promised: u64,
        got: u64,
        sha256: String,
    },
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Fetches the copy and unpacks it under another name; one rename publishes a cluster that is whole. Cut
/// anywhere before it, there is still no PGDATA.
pub(crate) async fn take(
    layout: &Layout,
    owners: Owners,
    sink: &Sink,
    base: &Base,
) -> Result<(), BaseError> {
    let (staging, tar) = (layout.initdb_staging(), layout.fetched_base());
    fs::remove_tree_if_present(&staging)?;
    fs::make_dir(&staging, 0o700, owners.postgres)?;
    fs::create_if_absent(&tar, 0o600, owners.postgres)?;
    let client = Client::new(sink);
    let (mut got, mut digest) = (0, Context::new(&SHA256));
    while got < base.bytes {
        let piece = client.base(got).await?;
        if piece.is_empty() {
            break;
        }
        fs::append(&tar, &piece)?;
        digest.update(&piece);
        got += piece.len() as u64;
        failpoint::moment("a piece of the cluster was fetched");
    }
    let sha256 = hex(&digest.finish());
    if sha256 != base.sha256 {
        return Err(BaseError::Damaged {
            promised: base.bytes,
            got,
            sha256,
        });
    }
    cluster::unpack(layout, owners.postgres).run().await?;
    fs::remove_if_present(&tar)?;
    fs::sync_filesystem(&staging)?;
    failpoint::moment("the cluster is whole, under another name");
    fs::rename(&staging, &layout.pgdata())?;
    tracing::warn!(
        "this volume had no cluster: the one that the WAL sink {} keeps a copy of was put in place, {got} bytes",
        sink.address
    );
    Ok(())
}
