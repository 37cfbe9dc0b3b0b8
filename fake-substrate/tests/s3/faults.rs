//! Every fault of object storage: that it breaks what it says and nothing else, and that it ends.
//!
//! On several threads: a guard waits on the one that drops it, and the substrate answers on another.

use fake_substrate::admin::AdminError;
use fake_substrate::fault::{ClockFault, Fault, Guard, NewFault, Offset};
use fake_substrate::s3::client::Call;
use fake_substrate::s3::faults::{Operation, S3Fault, Verdict};
use reqwest::{Method, StatusCode};

use super::Serving;

/// Longer than any test: what finishes under such a fault was not met by it.
const AN_HOUR_MS: u64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_not_carried_out_and_the_next_one_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let Serving { s3, client, .. } = &Serving::start(dir.path()).await;
    let refusing = s3.refuse(Operation::Put).of("wal/*").times(2).start().await;
    let refusing = refusing.expect("started");
    for _time in 0..2 {
        let refused = client.put("wal/1", "x").await.expect("an answer");
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        let said = String::from_utf8(refused.body).expect("text");
        assert!(said.contains("<Code>SlowDown</Code>"), "{said}");
        // Other keys and other operations are not met, and do not count.
        assert!(
            client
                .put("base/1", "x")
                .await
                .expect("an answer")
                .status
                .is_success()
        );
        let absent = client.head("wal/1").await.expect("an answer");
        assert_eq!(absent.status, StatusCode::NOT_FOUND);
    }
    assert!(
        client
            .put("wal/1", "x")
            .await
            .expect("an answer")
            .status
            .is_success()
    );
    refusing
        .heal()
        .await
        .expect("one that was used up is healed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_the_status_that_was_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let Serving { s3, client, .. } = &Serving::start(dir.path()).await;
    for status in [403, 404, 500, 429] {
        let refusing = s3.refuse(Operation::Get).with_status(status).start().await;
        let refusing = refusing.expect("started");
        assert_eq!(client.get("k").await.expect("an answer").status, status);
        refusing.heal().await.expect("healed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_of_a_request_that_was_carried_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let Serving { s3, client, .. } = &Serving::start(dir.path()).await;
    let losing = s3.lose_reply(Operation::Put).times(1).start().await;
    let _losing = losing.expect("started");
    client
        .put("wal/1", "first")
        .await
        .expect_err("the reply is lost");
    assert_eq!(client.get("wal/1").await.expect("an answer").body, b"first");

    // The retry of a careful client meets its own object.
    let again = Call::new(Method::PUT, "wal/1")
        .header("if-none-match", "*")
        .body("first");
    let again = client.send(again).await.expect("the fault has ended");
    assert_eq!(again.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_upload_leaves_what_was_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let Serving { s3, client, .. } = &Serving::start(dir.path()).await;
    client.put("wal/1", "whole").await.expect("an answer");
    let resetting = s3.reset(Operation::Put).times(1).start().await;
    let _resetting = resetting.expect("started");
    client
        .put("wal/1", vec![b'x'; 1 << 20])
        .await
        .expect_err("reset");
    assert_eq!(client.get("wal/1").await.expect("an answer").body, b"whole");
    let incoming = std::fs::read_dir(dir.path().join("s3/incoming")).expect("a folder");
    assert_eq!(incoming.count(), 0);

    let again = client.put("wal/1", vec![b'x'; 1 << 20]).await;
    assert!(again.expect("the fault has ended").status.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_download_is_not_taken_for_a_short_object() {
    let dir = tempfile::tempdir().expect("a folder");
    let Serving { s3, client, .. } = &Serving::start(dir.path()).await;
    client
        .put("wal/1", vec![b'x'; 1 << 20])
        .await
        .expect("an answer");
    let resetting = s3.reset(Operation::Get).start().await.expect("started");
    client.get("wal/1").await.expect_err("reset");
    client.get("wal/1").await.expect_err("until it is healed");
    resetting.heal().await.expect("healed");
    assert_eq!(
        client.get("wal/1").await.expect("an answer").body.len(),
        1 << 20
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_request_waits_and_holds_up_nobody_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let Serving { s3, client, .. } = &Serving::start(dir.path()).await;
    let delaying = s3
        .delay(Operation::Put, AN_HOUR_MS)
        .start()
        .await
        .expect("started");
    tokio::select! {
        early = client.put("wal/1", "x") => panic!("it did not wait: {early:?}"),
        other = client.get("wal/1") => {
            assert_eq!(other.expect("an answer").status, StatusCode::NOT_FOUND);
        }
    }
    delaying.heal().await.expect("healed");
    assert!(
        client
            .put("wal/1", "x")
            .await
            .expect("an answer")
            .status
            .is_success()
    );

    let briefly = s3
        .delay(Operation::Get, 1)
        .times(1)
        .start()
        .await
        .expect("started");
    assert_eq!(client.get("wal/1").await.expect("an answer").body, b"x");
    drop(briefly);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_still_under_way_when_others_are_done() {
    let dir = tempfile::tempdir().expect("a folder");
    let Serving { s3, client, .. } = &Serving::start(dir.path()).await;
    client
        .put("wal/0", vec![b'x'; 4096])
        .await
        .expect("an answer");
    let slowing = s3.slow(None, 1).of("wal/*").start().await.expect("started");
    tokio::select! {
        early = client.put("wal/1", vec![b'x'; 4096]) => panic!("an hour early: {early:?}"),
        early = client.get("wal/0") => panic!("an hour early: {early:?}"),
        other = client.put("base/1", vec![b'x'; 4096]) => {
            assert!(other.expect("an answer").status.is_success());
        }
    }
    slowing.heal().await.expect("healed");
    assert_eq!(
        client.get("wal/0").await.expect("an answer").body.len(),
        4096
    );

    // A body that is slow arrives whole.
    let slowing = s3.slow(None, 100_000).start().await.expect("started");
    let body: Vec<u8> = (0..30_000_u32)
        .flat_map(u32::to_be_bytes)
        .take(30_000)
        .collect();
    client.put("wal/2", body.clone()).await.expect("an answer");
    assert!(client.get("wal/2").await.expect("an answer").body == body);
    drop(slowing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_heals_when_its_scope_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let Serving {
        s3, client, admin, ..
    } = &Serving::start(dir.path()).await;
    {
        let _refusing = s3.refuse(None).start().await.expect("started");
        assert!(
            client
                .put("k", "x")
                .await
                .expect("an answer")
                .status
                .is_server_error()
        );
    }
    assert_eq!(admin.faults().await.expect("an answer"), []);
    assert!(
        client
            .put("k", "x")
            .await
            .expect("an answer")
            .status
            .is_success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_listed_and_cleared_over_http() {
    let dir = tempfile::tempdir().expect("a folder");
    let Serving { admin, client, .. } = &Serving::start(dir.path()).await;
    let new = |verdict| NewFault {
        fault: Fault::S3(S3Fault {
            verdict,
            on: None,
            key: None,
        }),
        times: None,
        caller_carries_out: false,
    };
    let first = admin
        .add_fault(&new(Verdict::Refuse { status: 500 }))
        .await
        .expect("started");
    let second = admin
        .add_fault(&new(Verdict::LoseReply))
        .await
        .expect("started");
    assert!(
        client
            .get("k")
            .await
            .expect("an answer")
            .status
            .is_server_error()
    );
    let standing = admin.faults().await.expect("an answer");
    let listed: Vec<(u32, u32)> = standing
        .iter()
        .map(|fault| (fault.id, fault.struck))
        .collect();
    assert_eq!(listed, [(first.id, 1), (second.id, 0)]);

    admin.clear_fault(first.id).await.expect("it stands");
    let gone = admin
        .clear_fault(first.id)
        .await
        .expect_err("it does not stand any more");
    assert!(matches!(gone, AdminError::Refused { status, .. } if status == StatusCode::NOT_FOUND));
    let cleared = admin.clear_faults().await.expect("an answer");
    assert_eq!(cleared, [second]);
    assert!(client.get("k").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_cannot_be_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let Serving { s3, admin, .. } = &Serving::start(dir.path()).await;
    for impossible in [s3.refuse(None).with_status(200), s3.slow(None, 0)] {
        let refused = impossible.start().await.expect_err("it must not start");
        assert!(
            matches!(&refused, AdminError::Refused { status, .. } if *status == StatusCode::UNPROCESSABLE_ENTITY),
            "{refused}"
        );
    }
    assert_eq!(admin.faults().await.expect("an answer"), []);
}

/// Runs a story while the services' clock is off.
async fn with_the_clock_off(serving: &Serving, ms: i64, story: impl AsyncFnOnce()) {
    let offset_ms = Offset::from_ms(ms);
    let new = NewFault::new(Fault::Clock(ClockFault { offset_ms }));
    let off = Guard::of_process(&serving.admin, &new).await;
    let _off = off.expect("started");
    story().await;
}

const MINUTE_MS: i64 = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_another_time_is_refused_while_the_clock_is_off() {
    let dir = tempfile::tempdir().expect("a folder");
    let serving = &Serving::start(dir.path()).await;
    let Serving { client, .. } = serving;
    let put = async || client.put("wal/1", "x").await.expect("an answer");
    for ms in [20 * MINUTE_MS, -20 * MINUTE_MS] {
        with_the_clock_off(serving, ms, async || {
            let refused = put().await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN);
            let said = String::from_utf8(refused.body).expect("text");
            assert!(said.contains("<Code>RequestTimeTooSkewed</Code>"), "{said}");
        })
        .await;
        assert!(put().await.status.is_success(), "after {ms}");
    }
    with_the_clock_off(serving, 14 * MINUTE_MS, async || {
        assert!(put().await.status.is_success(), "that much is believed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_date_of_an_answer_is_the_services() {
    let dir = tempfile::tempdir().expect("a folder");
    let serving = &Serving::start(dir.path()).await;
    let year = async || {
        let answer = serving.client.get("absent").await.expect("an answer");
        let date = answer.headers["date"].to_str().expect("text");
        assert_eq!(date.len(), "Tue, 24 Nov 2026 11:02:45 GMT".len(), "{date}");
        date[12..16].parse::<i64>().expect("a year")
    };
    let now = year().await;
    with_the_clock_off(serving, 2 * 366 * 24 * 60 * MINUTE_MS, async || {
        let then = year().await;
        assert!(then == now + 2 || then == now + 3, "{then}");
    })
    .await;
    assert!(year().await <= now + 1);
}
