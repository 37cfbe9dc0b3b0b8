use super::*;
use crate::tls::pair::tests::bundle;

const NOW: i64 = 1_800_000_000;
const YEAR: i64 = 365 * DAY;

fn fit() -> Offer {
    Offer::Fit(bundle(NOW))
}

fn half() -> Offer {
    Offer::Flawed(Flaw::KeyDoesNotMatch)
}

fn facts(user: Offer, platform: Offer, own: Offer) -> TlsFacts {
    TlsFacts {
        user,
        platform,
        own,
        installed: None,
        now: NOW,
    }
}

/// The same after what was chosen has been installed.
fn serving(source: TlsSource, facts: TlsFacts) -> TlsFacts {
    let installed = Installed {
        source,
        bundle: bundle(NOW),
    };
    TlsFacts {
        installed: Some(installed),
        ..facts
    }
}

fn installs(facts: &TlsFacts) -> Option<TlsSource> {
    match facts.choose().serve {
        Serve::Install(source, _) => Some(source),
        Serve::Installed(_) | Serve::Issue => None,
    }
}

fn keeps(facts: &TlsFacts) -> Option<TlsSource> {
    match facts.choose().serve {
        Serve::Installed(installed) => Some(installed.source),
        Serve::Install(..) | Serve::Issue => None,
    }
}

#[test]
fn the_user_wins_over_the_platform_and_the_platform_over_us() {
    use TlsSource::{Platform, SelfSigned, UserManaged};
    let nothing = || Offer::Nothing;
    assert_eq!(installs(&facts(fit(), fit(), fit())), Some(UserManaged));
    assert_eq!(installs(&facts(nothing(), fit(), fit())), Some(Platform));
    let own = facts(nothing(), nothing(), fit());
    assert_eq!(installs(&own), Some(SelfSigned));
    let none = facts(nothing(), nothing(), nothing());
    assert_eq!(none.choose().serve, Serve::Issue);
    assert_eq!(none.concern(&Layout::new("/")), None);
}

#[test]
fn at_boot_a_flawed_source_is_passed_over_for_the_next_and_named() {
    let facts = facts(half(), fit(), fit());
    assert_eq!(installs(&facts), Some(TlsSource::Platform));
    assert_eq!(
        facts.concern(&Layout::new("/")).unwrap(),
        "the user's certificate is not used, because in /var/lib/postgresql/18/main/beyond server.key \
         belongs to another certificate than server.crt; the platform's certificate is used instead\n\
         HINT: mend the files, or remove .user-managed beside them; the machine looks again by itself, \
         and at once on a reload"
    );
}

#[test]
fn a_flaw_is_put_into_the_same_words_before_and_after_the_next_source_was_installed() {
    let boot = facts(half(), fit(), Offer::Nothing);
    let Serve::Install(source, bundle) = boot.choose().serve else {
        panic!("nothing is installed: {boot:?}");
    };
    let installed = Installed {
        source,
        bundle: bundle.clone(),
    };
    let running = TlsFacts {
        installed: Some(installed),
        ..boot.clone()
    };
    let layout = Layout::new("/");
    assert_eq!(keeps(&running), Some(TlsSource::Platform));
    assert_eq!(running.concern(&layout), boot.concern(&layout));
}

#[test]
fn half_a_rotation_leaves_the_whole_one_before_it_in_use() {
    let facts = serving(
        TlsSource::Platform,
        facts(Offer::Nothing, half(), Offer::Nothing),
    );
    assert_eq!(keeps(&facts), Some(TlsSource::Platform));
    assert_eq!(
        facts.concern(&Layout::new("/")).unwrap(),
        "the platform's certificate is not used, because in /run/beyond/tls key.pem belongs to another \
         certificate than cert.pem; the platform's certificate from before stays in use\n\
         HINT: between two files of a rotation this passes by itself; if it stays, look at the \
         platform's agent"
    );
}

#[test]
fn a_rotation_is_installed_once_and_then_left_alone() {
    let mut facts = serving(
        TlsSource::Platform,
        facts(Offer::Nothing, fit(), Offer::Nothing),
    );
    assert_eq!(installs(&facts), Some(TlsSource::Platform), "other bytes");
    if let Some(installed) = &facts.installed {
        facts.platform = Offer::Fit(installed.bundle.clone());
    }
    assert_eq!(keeps(&facts), Some(TlsSource::Platform));
    assert_eq!(facts.concern(&Layout::new("/")), None);
}

#[test]
fn a_platform_that_takes_its_files_away_takes_nobodys_certificate_away() {
    let facts = serving(
        TlsSource::Platform,
        facts(Offer::Nothing, Offer::Nothing, fit()),
    );
    assert_eq!(keeps(&facts), Some(TlsSource::Platform));
    let words = facts.concern(&Layout::new("/")).unwrap();
    assert!(words.contains("there is no cert.pem"), "{words}");
}

#[test]
fn a_user_who_takes_user_managed_away_hands_over() {
    let facts = serving(
        TlsSource::UserManaged,
        facts(Offer::Nothing, fit(), Offer::Nothing),
    );
    assert_eq!(installs(&facts), Some(TlsSource::Platform));
}

#[test]
fn a_users_flaw_does_not_stop_the_rotations_of_the_platform_that_serves_meanwhile() {
    let facts = serving(TlsSource::Platform, facts(half(), fit(), Offer::Nothing));
    assert_eq!(installs(&facts), Some(TlsSource::Platform));
}

#[test]
fn a_users_certificate_outlasts_a_flawed_platform_after_the_hand_over() {
    let facts = serving(
        TlsSource::UserManaged,
        facts(Offer::Nothing, half(), Offer::Nothing),
    );
    assert_eq!(keeps(&facts), Some(TlsSource::UserManaged));
}

#[test]
fn our_own_is_made_anew_in_its_last_thirty_days_and_nobody_elses_is() {
    let late = NOW + YEAR - 29 * DAY;
    let at = |facts: TlsFacts| TlsFacts { now: late, ..facts };
    let own = at(facts(Offer::Nothing, Offer::Nothing, fit()));
    assert_eq!(own.choose().serve, Serve::Issue);
    assert_eq!(own.why_issued(), "it ends in 29 days");
    let user = at(facts(fit(), Offer::Nothing, Offer::Nothing));
    assert_eq!(installs(&user), Some(TlsSource::UserManaged));
    let words = user.concern(&Layout::new("/")).unwrap();
    assert!(
        words.starts_with("the user's certificate in ")
            && words.contains(" ends in 29 days\nHINT: "),
        "{words}"
    );
}

#[test]
fn a_clock_that_jumps_while_we_serve_has_ours_made_anew_and_nobody_elses_taken_away() {
    for now in [NOW - YEAR, NOW + 2 * YEAR] {
        let own = serving(
            TlsSource::SelfSigned,
            facts(Offer::Nothing, Offer::Nothing, fit()),
        );
        let jumped = TlsFacts { now, ..own };
        assert_eq!(jumped.choose().serve, Serve::Issue, "{now}");

        let given = facts(fit(), Offer::Nothing, fit());
        let jumped = TlsFacts { now, ..given };
        assert_eq!(installs(&jumped), Some(TlsSource::UserManaged), "{now}");
    }
}

#[test]
fn a_certificate_that_has_ended_is_served_and_said() {
    let facts = TlsFacts {
        now: NOW + YEAR + 2 * DAY,
        ..facts(Offer::Nothing, fit(), Offer::Nothing)
    };
    assert_eq!(installs(&facts), Some(TlsSource::Platform));
    let words = facts.concern(&Layout::new("/")).unwrap();
    assert!(
        words.starts_with("the platform's certificate in /run/beyond/tls ended 2 days ago\n"),
        "{words}"
    );
}

#[test]
fn the_word_beside_an_installed_certificate_names_one_source_each() {
    let words: Vec<_> = TlsSource::ALL.map(TlsSource::word).into();
    assert_eq!(words, ["user-managed", "platform", "self-signed"]);
    assert!(TlsSource::ALL.is_sorted(), "precedence is their order");
}
