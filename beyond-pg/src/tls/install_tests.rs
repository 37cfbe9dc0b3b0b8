use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::sys::user::Account;
use crate::tls::facts;
use crate::tls::pair::tests::bundle;
use crate::tls::source::{Offer, Serve};

const NOW: i64 = 1_800_000_000;

struct Machine {
    _dir: tempfile::TempDir,
    layout: Layout,
}

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        for folder in [layout.tls_dir(), layout.beyond_dir(), layout.platform_tls()] {
            std_fs::create_dir_all(folder).unwrap();
        }
        Machine { _dir: dir, layout }
    }

    fn owners() -> Owners {
        Owners {
            root: Account::current(),
            postgres: Account::current(),
        }
    }

    fn install(&self, source: TlsSource, bundle: &Bundle) {
        install(&self.layout, Machine::owners(), source, bundle).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "the test plays the platform")]
    fn put(&self, path: &Path, bytes: &[u8]) {
        std_fs::write(path, bytes).unwrap();
    }

    fn deliver(&self, bundle: &Bundle) {
        let folder = self.layout.platform_tls();
        self.put(&folder.join("key.pem"), bundle.key().pem());
        self.put(&folder.join("cert.pem"), bundle.chain());
    }

    fn folders(&self) -> Vec<String> {
        let entries = std_fs::read_dir(self.layout.tls_dir()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn what_was_installed_is_found_again_as_it_was() {
    let machine = Machine::new();
    let first = bundle(NOW);
    machine.install(TlsSource::Platform, &first);
    let installed = facts::observe(&machine.layout, NOW).installed.unwrap();
    assert_eq!(installed.bundle, first);
    assert_eq!(installed.source, TlsSource::Platform);
    let mode = |path| std_fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(machine.layout.installed_key()), 0o600);
    assert_eq!(mode(machine.layout.tls_dir().join("1")), 0o700);
}

#[test]
fn one_generation_is_left_and_a_half_made_one_goes_with_the_next() {
    let machine = Machine::new();
    machine.install(TlsSource::Platform, &bundle(NOW));
    std_fs::create_dir(machine.layout.tls_dir().join("2")).unwrap();
    let second = bundle(NOW);
    machine.install(TlsSource::Platform, &second);
    assert_eq!(machine.folders(), ["3", "current"]);
    assert_eq!(
        std_fs::read(machine.layout.installed_cert()).unwrap(),
        second.chain()
    );
}

#[test]
fn pgbouncer_finds_a_ca_in_any_case_and_we_know_that_there_is_none() {
    let machine = Machine::new();
    let own = bundle(NOW);
    machine.install(TlsSource::SelfSigned, &own);
    let ca = std_fs::read(machine.layout.installed_ca()).unwrap();
    assert_eq!(ca, own.chain());
    let installed = facts::observe(&machine.layout, NOW).installed.unwrap();
    assert_eq!(installed.bundle.ca(), None);
}

#[test]
fn an_installation_that_lost_a_file_is_done_again() {
    let machine = Machine::new();
    let first = bundle(NOW);
    machine.deliver(&first);
    machine.install(TlsSource::Platform, &first);
    std_fs::remove_file(machine.layout.installed_key()).unwrap();
    let facts = facts::observe(&machine.layout, NOW);
    assert_eq!(facts.installed, None);
    assert!(matches!(
        facts.choose().serve,
        Serve::Install(TlsSource::Platform, _)
    ));
}

#[test]
fn a_certificate_for_one_boot_leaves_the_users_files_alone() {
    let machine = Machine::new();
    machine.put(&machine.layout.user_managed(), b"");
    machine.put(&machine.layout.self_signed_cert(), b"theirs");
    issue(&machine.layout, Machine::owners(), NOW, false).unwrap();
    let theirs = std_fs::read(machine.layout.self_signed_cert()).unwrap();
    assert_eq!(theirs, b"theirs");
    let facts = facts::observe(&machine.layout, NOW);
    assert!(matches!(facts.user, Offer::Flawed(_)), "{:?}", facts.user);
    assert!(
        matches!(facts.choose().serve, Serve::Installed(_)),
        "it is not made anew at every look"
    );
}

#[test]
fn a_folder_or_a_pipe_in_place_of_a_file_is_a_flaw_and_holds_nobody_up() {
    let machine = Machine::new();
    let folder = machine.layout.platform_tls();
    machine.deliver(&bundle(NOW));
    std_fs::remove_file(folder.join("key.pem")).unwrap();
    nix::unistd::mkfifo(&folder.join("key.pem"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let facts = facts::observe(&machine.layout, NOW);
    let words = facts.concern(&machine.layout).unwrap();
    assert!(
        words.contains(
            "key.pem cannot be read: it is no file; a self-signed certificate is used instead"
        ),
        "{words}"
    );
}

#[test]
fn a_key_without_its_certificate_is_no_offer_yet() {
    let machine = Machine::new();
    let bundle = bundle(NOW);
    machine.put(
        &machine.layout.platform_tls().join("key.pem"),
        bundle.key().pem(),
    );
    let facts = facts::observe(&machine.layout, NOW);
    assert_eq!(facts.platform, Offer::Nothing);
}
