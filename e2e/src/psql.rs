//! `psql` on the machine's network: libpq's own view of certificates, names and logins.

use anyhow::Result;
use fake_substrate::certificates::Issued;
use testcontainers::{ContainerRequest, CopyTargetOptions, GenericImage, ImageExt as _};

use crate::client::{self, Output};
use crate::sql::Door;
use crate::vm::Vm;
use crate::world::World;

const ROOT: &str = "/tmp/root.crt";
const CERTIFICATE: &str = "/tmp/client.crt";
const KEY: &str = "/tmp/client.key";

/// A `psql` to be run. Unless told otherwise it logs in as the superuser with `sslmode=require`.
#[derive(Debug)]
pub struct Psql(ContainerRequest<GenericImage>);

impl World {
    /// A `psql` that asks one query through that door.
    pub fn psql_asking(&self, vm: &Vm, door: Door, query: &str) -> Result<Psql> {
        let arguments = [
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--no-password",
            "--command",
            query,
        ];
        let request = self.client(vm, door, &vm.login.password, "psql", &arguments)?;
        Ok(Psql(request))
    }
}

impl Psql {
    /// A connection parameter, by the name of its environment variable.
    fn with(self, variable: &str, value: &str) -> Self {
        Self(self.0.with_env_var(variable, value))
    }

    /// The name that it looks for, in the network and in the certificate.
    pub fn host(self, name: &str) -> Self {
        self.with("PGHOST", name)
    }

    /// Who it is.
    pub fn role(self, name: &str) -> Self {
        self.with("PGUSER", name)
    }

    /// `channel_binding=…`
    pub fn channel_binding(self, wish: &str) -> Self {
        self.with("PGCHANNELBINDING", wish)
    }

    /// With that password in place of the right one; empty: with none.
    pub fn password(self, password: &str) -> Self {
        self.with("PGPASSWORD", password)
    }

    /// `sslmode=verify-full`, and who is trusted.
    pub fn verifying(self, ca: &str) -> Self {
        let told = self
            .with("PGSSLMODE", "verify-full")
            .with("PGSSLROOTCERT", ROOT);
        Self(told.0.with_copy_to(ROOT, ca.as_bytes().to_vec()))
    }

    /// With a certificate of its own.
    pub fn showing(self, issued: &Issued) -> Self {
        let told = self.with("PGSSLCERT", CERTIFICATE).with("PGSSLKEY", KEY);
        // libpq refuses a key that others may read.
        let private = CopyTargetOptions::new(KEY).with_mode(0o600);
        let request = told
            .0
            .with_user("root")
            .with_copy_to(CERTIFICATE, issued.certificate.as_bytes().to_vec())
            .with_copy_to(private, issued.key.as_bytes().to_vec());
        Self(request)
    }

    /// Runs it to its end.
    pub async fn runs(self) -> Result<Output> {
        client::finished(self.0).await
    }
}
