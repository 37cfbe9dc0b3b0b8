//! Certificates: who gives a machine one, and which one its clients are shown.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use fake_substrate::certificates::{Issued, PlatformFile};
use fake_substrate::login;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::budget;
use crate::disk::PGDATA;
use crate::running::{POSTGRES, Running};
use crate::sql::Door;
use crate::until::{Look, until, within};
use crate::vm::Vm;
use crate::world::World;

/// `SSLRequest`: eight bytes of length and a number that is no protocol version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

impl World {
    /// What a client trusts that trusts the platform.
    pub fn platform_ca(&self) -> String {
        self.site.authority.certificate()
    }

    /// A certificate for a client, by which Postgres knows it as that role.
    pub fn client_certificate(&self, role: &str) -> Result<Issued> {
        Ok(self.site.authority.for_client(role)?)
    }
}

impl Running {
    /// A new certificate from the platform, which the machine has not got yet.
    pub fn next_certificate(&self) -> Result<Issued> {
        Ok(self.site.authority.for_machine(self.machine.name())?)
    }

    /// The platform's agent puts one of its files into the machine.
    pub async fn platform_delivers(&self, file: PlatformFile, issued: &Issued) -> Result<()> {
        let ca = self.site.authority.certificate();
        let pem = match file {
            PlatformFile::Certificate => &issued.certificate,
            PlatformFile::Key => &issued.key,
            PlatformFile::Ca => &ca,
        };
        Ok(self.machine.deliver(file, pem).await?)
    }

    /// The platform's agent gives the machine a new certificate.
    pub async fn platform_certificate(&self) -> Result<Issued> {
        let issued = self.next_certificate()?;
        for file in [
            PlatformFile::Ca,
            PlatformFile::Key,
            PlatformFile::Certificate,
        ] {
            self.platform_delivers(file, &issued).await?;
        }
        Ok(issued)
    }

    /// The user puts a file beside our own certificate.
    pub async fn user_puts(&self, name: &str, content: &str) -> Result<()> {
        let script = format!("umask 077; cat > {PGDATA}/beyond/{name}");
        let said = self.shell_reading(POSTGRES, &script, content).await?;
        ensure!(said.is_empty(), "putting {name} there: {said}");
        Ok(())
    }

    /// The user gives the machine a certificate of their own, as `docs/operations.md` says.
    pub async fn user_certificate(&self) -> Result<Issued> {
        let issued = self.next_certificate()?;
        self.user_puts(".user-managed", "").await?;
        self.user_puts("server.key", &issued.key).await?;
        self.user_puts("server.crt", &issued.certificate).await?;
        Ok(issued)
    }

    /// The machine's own certificate on its volume becomes one that ends in so many days.
    pub async fn own_certificate_ends_in(&self, days: u32) -> Result<()> {
        let script = format!(
            "cd {PGDATA}/beyond && openssl req -x509 -key server.key -days {days} \
                 -subj /CN=planted -out planted && mv planted server.crt"
        );
        self.run(POSTGRES, &["/bin/sh", "-c", &script])
            .await
            .map(drop)
    }
}

impl Vm {
    /// The certificate that a client is shown behind that door, as bytes.
    pub async fn presents(&self, door: Door) -> Result<CertificateDer<'static>> {
        let looking = shown(self.port(door));
        within(
            budget::SOON,
            format!("{} shows its certificate", self.name()),
            looking,
        )
        .await?
        .with_context(|| format!("looking at the certificate of {} ({door})", self.name()))
    }

    /// Waits until new clients are shown this certificate behind both doors.
    pub async fn comes_to_present(&self, issued: &Issued) -> Result<()> {
        let expected = CertificateDer::from_pem_slice(issued.certificate.as_bytes())?;
        for door in Door::ALL {
            self.stops_presenting(door, |shown| *shown != expected)
                .await?;
        }
        Ok(())
    }

    /// Waits until new clients are shown another certificate than this one behind both doors.
    pub async fn comes_to_present_another_than(&self, before: &CertificateDer<'_>) -> Result<()> {
        for door in Door::ALL {
            self.stops_presenting(door, |shown| shown == before).await?;
        }
        Ok(())
    }

    async fn stops_presenting(
        &self,
        door: Door,
        is_wrong: impl Fn(&CertificateDer<'_>) -> bool,
    ) -> Result<()> {
        let awaited = format!("{} shows the new certificate ({door})", self.name());
        until(budget::SOON, awaited, async || {
            Ok(match self.presents(door).await {
                Ok(shown) if is_wrong(&shown) => Look::NotYet("another one".to_owned()),
                Ok(_right) => Look::Found(()),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await
    }

    /// New clients are still shown this certificate behind both doors.
    pub async fn still_presents(&self, issued: &Issued) -> Result<()> {
        let expected = CertificateDer::from_pem_slice(issued.certificate.as_bytes())?;
        for door in Door::ALL {
            let shown = self.presents(door).await?;
            ensure!(
                shown == expected,
                "{} shows another certificate ({door})",
                self.name()
            );
        }
        Ok(())
    }
}

/// As a client that asks for TLS and looks at who answers.
async fn shown(port: u16) -> Result<CertificateDer<'static>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(&SSL_REQUEST).await?;
    let answer = stream.read_u8().await?;
    ensure!(answer == b'S', "no TLS: {answer:?}");
    let connector = TlsConnector::from(Arc::new(login::unverified_tls()?));
    let name = ServerName::try_from("localhost")?;
    let encrypted = connector.connect(name, stream).await?;
    let (_stream, session) = encrypted.get_ref();
    let chain = session
        .peer_certificates()
        .context("it showed no certificate")?;
    let leaf = chain.first().context("it showed an empty chain")?;
    Ok(leaf.clone().into_owned())
}
