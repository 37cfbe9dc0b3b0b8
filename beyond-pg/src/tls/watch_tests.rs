use std::fs;
use std::sync::Arc;

use super::*;
use crate::sys::user::Account;
use crate::tls::pair::tests::bundle;

struct Machine {
    _dir: tempfile::TempDir,
    layout: Layout,
    desk: Arc<Desk>,
}

impl Machine {
    /// A volume and tmpfs as the steps before the certificate leave them.
    fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        for folder in [
            layout.tls_dir(),
            layout.beyond_dir(),
            layout.confd(),
            layout.platform_tls(),
        ] {
            fs::create_dir_all(folder).unwrap();
        }
        let desk = Desk::new(layout.clone());
        Machine {
            _dir: dir,
            layout,
            desk,
        }
    }

    fn watch(&self) -> Watch<'_> {
        let owners = Owners {
            root: Account::current(),
            postgres: Account::current(),
        };
        let seen = tls::facts::observe(&self.layout, clock::unix_seconds());
        Watch::new(&self.layout, owners, &self.desk, POLL, &seen)
    }

    #[expect(clippy::disallowed_methods, reason = "the test plays the platform")]
    fn platform_puts(&self, name: &str, bytes: &[u8]) {
        fs::write(self.layout.platform_tls().join(name), bytes).unwrap();
    }

    fn conf(&self) -> String {
        fs::read_to_string(ConfFile::Tls06.path(&self.layout)).unwrap()
    }
}

#[tokio::test]
async fn the_servers_are_reloaded_for_what_is_new_and_for_nothing_else() {
    let machine = Machine::new();
    let mut watch = machine.watch();
    assert!(watch.look().await, "one of our own was made");
    assert!(!watch.look().await, "it is still the same");

    let rotated = bundle(clock::unix_seconds());
    machine.platform_puts("key.pem", rotated.key().pem());
    machine.platform_puts("ca.pem", rotated.chain());
    assert!(!watch.look().await, "a key alone is no certificate");
    machine.platform_puts("cert.pem", rotated.chain());
    assert!(watch.look().await);
    assert!(!watch.look().await);
    assert_eq!(watch.said, None);
}

#[tokio::test]
async fn a_ca_that_comes_or_goes_is_told_to_postgres() {
    let machine = Machine::new();
    let mut watch = machine.watch();
    watch.look().await;
    assert!(!machine.conf().contains("ssl_ca_file"));
    let platforms = bundle(clock::unix_seconds());
    let ca = bundle(clock::unix_seconds());
    machine.platform_puts("key.pem", platforms.key().pem());
    machine.platform_puts("cert.pem", platforms.chain());
    machine.platform_puts("ca.pem", ca.chain());
    assert!(watch.look().await);
    assert!(machine.conf().contains("ssl_ca_file"));
    fs::remove_file(machine.layout.platform_tls().join("ca.pem")).unwrap();
    assert!(watch.look().await);
    assert!(!machine.conf().contains("ssl_ca_file"));
}

#[tokio::test]
async fn what_cannot_be_written_is_said_and_tried_again() {
    let machine = Machine::new();
    let mut watch = machine.watch();
    fs::remove_dir(machine.layout.beyond_dir()).unwrap();
    assert!(!watch.look().await);
    let words = watch.said.clone().unwrap();
    assert!(
        words.starts_with("the certificate cannot be renewed: creating ")
            && words.contains("server.key.tmp: No such file"),
        "{words}"
    );
    fs::create_dir(machine.layout.beyond_dir()).unwrap();
    assert!(watch.look().await);
    assert_eq!(watch.said, None);
}
