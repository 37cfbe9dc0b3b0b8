//! Which certificate is made or installed, and when.

use super::*;

#[test]
fn a_certificate_is_installed_before_any_file_names_its_ca() {
    let tls = TlsFacts {
        platform: Offer::Fit(bundle(NOW)),
        ..fresh().tls
    };
    let steps = disk(&Facts { tls, ..booted() });
    let position = |words: &str| steps.iter().position(|step| step == words);
    let installed = position("install the platform's certificate").unwrap();
    assert!(installed < position("write 06-tls.conf").unwrap());
    assert!(installed > position("make folder /run/beyond-pg/tls (755)").unwrap());
}

#[test]
fn a_users_flawed_files_are_not_overwritten_by_one_of_our_own() {
    let tls = TlsFacts {
        user: Offer::Flawed(Flaw::KeyDoesNotMatch),
        ..fresh().tls
    };
    let words = "issue a self-signed certificate for this boot: there is none";
    assert!(disk(&Facts { tls, ..booted() }).contains(&words.to_owned()));
}

#[test]
fn a_running_machine_does_what_a_boot_would_do_about_its_certificate_and_nothing_else() {
    let layout = Layout::new("/");
    let right = |client_ca| FileState::Present {
        text: conf::tls_text(&layout, client_ca),
        right_mode_and_owner: true,
    };
    let steps = |tls: &TlsFacts, conf: &FileState| -> Vec<String> {
        let steps = certificate(&layout, tls, conf);
        steps.iter().map(ToString::to_string).collect()
    };
    let own = serving_our_own();
    assert_eq!(steps(&own, &right(false)), [""; 0]);
    assert_eq!(steps(&own, &right(true)), ["write 06-tls.conf"]);
    let platform = TlsFacts {
        platform: Offer::Fit(bundle(NOW)),
        ..own
    };
    assert_eq!(
        steps(&platform, &right(false)),
        ["install the platform's certificate"]
    );
}
