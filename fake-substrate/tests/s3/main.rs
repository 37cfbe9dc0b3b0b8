//! The object storage over real sockets: what it promises, and every fault of it.

mod faults;
mod promises;
#[cfg(feature = "boto3")]
mod suite;

use std::path::Path;

use fake_substrate::admin::{AdminClient, AdminToken};
use fake_substrate::s3::client::Client;
use fake_substrate::serve::{self, ServeError, ServeOptions};
use fake_substrate::substrate::S3;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A substrate's process without a container.
struct Serving {
    admin: AdminClient,
    s3: S3,
    client: Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Serving {
    async fn start(state_dir: &Path) -> Self {
        let token = || AdminToken::new("test-token").expect("a token");
        let options = ServeOptions::on_loopback(state_dir.to_owned(), token()).await;
        let options = options.expect("ports");
        let address =
            |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
        let http = address(&options.s3_listener);
        let https = address(&options.s3_tls_listener);
        let admin_url = format!("http://{}", address(&options.admin_listener));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve::run(options, async {
            stopped.await.expect("the test stops it");
        }));
        let admin = AdminClient::new(admin_url, token()).expect("a client");
        let access = admin.s3().await.expect("it serves");
        let s3 = S3::new(&admin, access, &http, &https);
        Self {
            client: s3.client().expect("a client"),
            admin,
            s3,
            stop,
            serving,
        }
    }

    async fn stop(self) {
        self.stop.send(()).expect("it serves");
        let served = self.serving.await.expect("no panic");
        served.expect("it stops without an error");
    }
}
