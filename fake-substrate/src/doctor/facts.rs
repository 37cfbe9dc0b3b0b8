//! Looks; decides nothing.

use std::path::Path;

use crate::docker::{self, Docker, DockerError, container, engine, network, volume};
use crate::image::{self, ImageError};
use crate::labels;
use crate::names::SubstrateName;
use crate::substrate::{Substrate, SubstrateError};

use super::pieces::{Kind, Piece, Purpose};
use super::{Facts, Room};

/// Docker or an image of ours could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Docker failed.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The list of images failed.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Looks at everything of ours on this Docker. Changes nothing.
pub async fn look(docker: &Docker) -> Result<Facts, LookError> {
    let pieces = pieces(docker).await?;
    let facilities = docker::facilities(docker).await?;
    let engine = engine::describe(docker).await?;
    let names = image::list(docker).await?;
    let names = names.into_iter().flat_map(|listed| listed.names);
    let images = names.map(|name| name.split(':').next().unwrap_or_default().to_owned());
    let mut facts = Facts {
        room: facilities
            .of_this_machine
            .then(|| room(&engine.root))
            .flatten(),
        engine,
        facilities,
        images: images.collect(),
        pieces,
        ..Facts::default()
    };
    for substrate in running(&facts.pieces) {
        if let Err(why) = answers(docker, &substrate).await {
            facts.silent.insert(substrate, why);
        }
    }
    Ok(facts)
}

async fn pieces(docker: &Docker) -> Result<Vec<Piece>, DockerError> {
    let ours = [labels::SUBSTRATE.to_owned()];
    let networks = network::labelled(docker, &ours).await?;
    let networks = networks
        .iter()
        .filter_map(|network| Piece::of(Kind::Network, &network.name, None, &network.labels));
    let containers = container::labelled(docker, &ours).await?;
    let containers = containers.iter().filter_map(|seen| {
        let state = Some(seen.state.to_string());
        Piece::of(Kind::Container, &seen.name, state, &seen.labels)
    });
    let volumes = volume::labelled(docker, &ours).await?;
    let volumes = volumes
        .iter()
        .filter_map(|volume| Piece::of(Kind::Volume, &volume.name, None, &volume.labels));
    Ok(networks.chain(containers).chain(volumes).collect())
}

fn running(pieces: &[Piece]) -> Vec<SubstrateName> {
    let running = crate::machine::state::State::Running.to_string();
    let services = pieces.iter().filter(|piece| {
        piece.kind == Kind::Container
            && piece.purpose == Purpose::Service
            && piece.state.as_ref() == Some(&running)
    });
    services.map(|piece| piece.substrate.clone()).collect()
}

async fn answers(docker: &Docker, substrate: &SubstrateName) -> Result<(), String> {
    let first_line = |error: String| error.lines().next().unwrap_or_default().to_owned();
    let service = match Substrate::connect(docker, substrate).await {
        // It went while we looked.
        Err(SubstrateError::Absent(_) | SubstrateError::NotRunning(_)) => return Ok(()),
        connected => connected.map_err(|error| first_line(error.to_string()))?,
    };
    let health = service.admin().health().await;
    health.map_err(|error| first_line(error.to_string()))
}

fn room(root: &str) -> Option<Room> {
    // Docker's folder may be root's alone; the file system it lies on is still known by a folder above.
    let seen = Path::new(root)
        .ancestors()
        .find_map(|path| rustix::fs::statvfs(path).ok())?;
    Some(Room {
        path: root.to_owned(),
        free: seen.f_bavail.saturating_mul(seen.f_frsize),
    })
}
