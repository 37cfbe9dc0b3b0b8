//! Object storage on two listeners: HTTP, and HTTPS for those who want nothing else (pgBackRest).

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::ring;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::authority::Issued;
use crate::fault::Faults;

use super::door::Door;
use super::line::{Line, Shears};
use super::store::{Api, Store};
use super::{BUCKET, Keys};

/// Object storage before it is served.
pub struct ObjectStorage {
    door: Door,
    tls: TlsAcceptor,
}

impl ObjectStorage {
    /// Opens the objects of a folder. The bucket is there from the start.
    pub fn open(
        dir: PathBuf,
        keys: Keys,
        certificate: Issued,
        faults: Arc<Faults>,
    ) -> io::Result<Self> {
        let store = Store::open(dir, BUCKET)?;
        let mut builder = S3ServiceBuilder::new(Api(Arc::new(store)));
        builder.set_auth(keys);
        // The date of a signature is looked at by the service's own clock (`skew.rs`).
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = u32::MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        let service = builder.build();
        Ok(Self {
            door: Door { service, faults },
            tls: TlsAcceptor::from(Arc::new(tls(certificate)?)),
        })
    }

    /// Serves for as long as it is polled; dropping it drops every connection.
    pub async fn serve(self, http: TcpListener, https: TcpListener) -> io::Result<Infallible> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = http.accept() => if let Some(stream) = usable(accepted)? {
                    connections.spawn(plain(stream, self.door.clone()));
                },
                accepted = https.accept() => if let Some(stream) = usable(accepted)? {
                    connections.spawn(encrypted(stream, self.tls.clone(), self.door.clone()));
                },
                Some(ended) = connections.join_next() => match ended {
                    Ok(Ok(())) => {}
                    // Clients reset, distrust the certificate, are cut off by a fault.
                    Ok(Err(error)) => tracing::debug!(error, "an S3 connection ended early"),
                    Err(error) => tracing::error!(%error, "an S3 connection's task failed"),
                },
            }
        }
    }
}

fn tls(Issued { certificate, key }: Issued) -> io::Result<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            let config = config.with_no_client_auth();
            config.with_single_cert(vec![certificate], key)
        });
    let mut config = config.map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// One client that resets during its handshake must not end the others' service.
fn usable<A>(accepted: io::Result<(TcpStream, A)>) -> io::Result<Option<TcpStream>> {
    match accepted {
        Ok((stream, _peer)) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        },
    }
}

async fn plain(stream: TcpStream, door: Door) -> Result<(), String> {
    let shears = Shears::default();
    let line = Line::new(stream, shears.clone()).map_err(|error| error.to_string())?;
    connection(line, shears, door).await
}

async fn encrypted(stream: TcpStream, tls: TlsAcceptor, door: Door) -> Result<(), String> {
    let shears = Shears::default();
    let line = Line::new(stream, shears.clone()).map_err(|error| error.to_string())?;
    let line = tls.accept(line).await.map_err(|error| error.to_string())?;
    connection(line, shears, door).await
}

async fn connection(
    line: impl AsyncRead + AsyncWrite + Unpin + Send,
    shears: Shears,
    door: Door,
) -> Result<(), String> {
    let answer = service_fn(|request| door.answer(request, &shears));
    let served = http1::Builder::new().serve_connection(TokioIo::new(line), answer);
    served.await.map_err(|error| error.to_string())
}
