//! Claims about where settings come from.

use std::io;
use std::time::Duration;

use hyper::StatusCode;

use super::mmds::MmdsError;
use super::search::{Ask, Next, Search, source};
use super::{Metadata, Source};

fn document(source: Source, values: &[(&str, &str)]) -> Metadata {
    let values = values
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    Metadata {
        source,
        values,
        problems: Vec::new(),
    }
}

fn environment() -> Metadata {
    document(
        Source::Environment,
        &[("POSTGRES_PASSWORD", "from the environment")],
    )
}

fn empty_environment() -> Metadata {
    document(Source::Environment, &[])
}

fn absent() -> MmdsError {
    let addr = ([169, 254, 169, 254], 80).into();
    MmdsError::Unreachable {
        addr,
        source: io::ErrorKind::ConnectionRefused.into(),
    }
}

fn not_yet() -> MmdsError {
    let addr = ([169, 254, 169, 254], 80).into();
    let (status, request) = (StatusCode::NOT_FOUND, "GET /latest/meta-data");
    MmdsError::Status {
        addr,
        request,
        status,
        body: String::new(),
    }
}

fn said(next: Next) -> Option<String> {
    match next {
        Next::Wait { say, .. } => say,
        Next::Use(metadata, _) => panic!("settings were taken from the {}", metadata.source),
    }
}

#[test]
fn only_a_link_local_machine_or_one_with_its_own_kernel_asks_the_service() {
    assert_eq!(source(false, false), Ask::Environment);
    assert_eq!(source(true, false), Ask::Mmds);
    assert_eq!(source(false, true), Ask::Mmds);
}

#[test]
fn a_plain_container_takes_its_environment_at_once() {
    assert_eq!(
        Search::new().on_environment(environment()),
        Next::Use(environment(), None)
    );
}

#[test]
fn a_container_without_a_password_waits_and_says_what_is_missing() {
    let said = said(Search::new().on_environment(empty_environment())).unwrap();
    assert!(
        said.contains("POSTGRES_PASSWORD") && said.contains("HINT: "),
        "{said}"
    );
}

#[test]
fn an_environment_with_a_broken_password_is_reported_rather_than_waited_for() {
    let mut broken = empty_environment();
    broken.problems.push(crate::settings::Problem::hidden(
        "POSTGRES_PASSWORD_FILE",
        "x",
        "y",
    ));
    assert_eq!(
        Search::new().on_environment(broken.clone()),
        Next::Use(broken, None)
    );
}

#[test]
fn a_document_of_the_service_is_taken_whole_and_the_environment_is_not_mixed_in() {
    let served = document(Source::Mmds, &[("BEYOND_PG_TIER", "single")]);
    let next = Search::new().on_answer(Ok(served.clone()), environment());
    assert_eq!(next, Next::Use(served, None));
}

#[test]
fn a_service_that_answers_is_asked_again_for_ever() {
    let mut search = Search::new();
    for _ in 0..1000 {
        let next = search.on_answer(Err(not_yet()), environment());
        assert!(
            matches!(next, Next::Wait { .. }),
            "facts 60: the document may come back"
        );
    }
}

#[test]
fn the_environment_counts_after_five_absences_in_a_row_and_is_announced() {
    let mut search = Search::new();
    for _ in 0..4 {
        said(search.on_answer(Err(absent()), environment()));
    }
    said(search.on_answer(Err(not_yet()), environment()));
    for _ in 0..4 {
        said(search.on_answer(Err(absent()), environment()));
    }
    match search.on_answer(Err(absent()), environment()) {
        Next::Use(metadata, Some(loudly)) => {
            assert_eq!(metadata, environment());
            assert!(
                loudly.starts_with("settings come from the environment: "),
                "{loudly}"
            );
        }
        next => panic!("{next:?}"),
    }
}

#[test]
fn an_absent_service_and_no_password_is_waited_for() {
    let mut search = Search::new();
    for _ in 0..100 {
        said(search.on_answer(Err(absent()), empty_environment()));
    }
}

#[test]
fn pauses_grow_to_five_seconds_and_the_same_words_come_once_a_minute() {
    let mut search = Search::new();
    let (mut waited, mut said) = (Duration::ZERO, Vec::new());
    while waited < Duration::from_secs(600) {
        match search.on_answer(Err(not_yet()), environment()) {
            Next::Wait { say, pause } => {
                if say.is_some() {
                    said.push(waited);
                }
                waited += pause;
                assert!(pause <= Duration::from_secs(5));
            }
            next => panic!("{next:?}"),
        }
    }
    assert_eq!(said[0], Duration::ZERO);
    assert!((9..=11).contains(&said.len()), "{said:?}");
}

#[test]
fn a_new_reason_is_said_at_once() {
    let mut search = Search::new();
    assert!(said(search.on_answer(Err(absent()), empty_environment())).is_some());
    assert!(said(search.on_answer(Err(absent()), empty_environment())).is_none());
    assert!(said(search.on_answer(Err(not_yet()), empty_environment())).is_some());
}

#[test]
fn metadata_does_not_print_its_values() {
    let printed = format!("{:?}", environment());
    assert!(printed.contains("POSTGRES_PASSWORD") && !printed.contains("from the environment"));
}
