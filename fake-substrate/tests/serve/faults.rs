//! The book of faults over HTTP: what the process carries out itself, and what it does not pretend to.

use fake_substrate::fault::{
    ClockFault, Fault, Guard, NewFault, Offset, Partition, Party, VolumeFault, VolumeTrouble,
};
use fake_substrate::mmds::fault::{MmdsFault, MmdsTrouble};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{DB, Substrate, metadata, read_body};

pub(super) fn silent(machine: &str) -> NewFault {
    NewFault::new(Fault::Mmds(MmdsFault {
        machine: machine.to_owned(),
        trouble: MmdsTrouble::Silent,
    }))
}

/// What nobody can break, and what this process cannot: it says so, and nothing stands.
#[tokio::test]
async fn a_fault_that_the_process_cannot_carry_out_does_not_stand_by_being_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Substrate::start(dir.path()).await;
    let admin = substrate.admin();
    admin.put_machine("db", DB, metadata()).await.expect("free");
    let cut = |to| {
        NewFault::new(Fault::Partition(Partition {
            from: Party::Machine("db".to_owned()),
            to,
            one_way: false,
        }))
    };
    let full = NewFault::new(Fault::Volume(VolumeFault {
        machine: "db".to_owned(),
        trouble: VolumeTrouble::Full { leave: 0 },
    }));
    let by_caller = |new: NewFault| NewFault {
        caller_carries_out: true,
        ..new
    };
    let unknown = Party::Machine("nobody".to_owned());
    for (new, status, words) in [
        (silent("nobody"), 404, "no machine is called \"nobody\""),
        (by_caller(cut(unknown)), 404, "no machine is called"),
        (cut(Party::Service), 409, "this process has no Docker"),
        (full, 409, "this process has no Docker"),
        (cut(Party::Machine("db".to_owned())), 422, "from itself"),
        (by_caller(cut(Party::Service)).times(3), 422, "a condition"),
    ] {
        let refused = admin.add_fault(&new).await.expect_err("refused");
        let told = refused.to_string();
        assert!(told.contains(&format!(": {status} ")), "{told}");
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(admin.faults().await.expect("a list"), []);

    let recorded = admin.add_fault(&by_caller(cut(Party::Service))).await;
    let recorded = recorded.expect("whoever asks does it");
    let by_hand = admin.clear_fault(recorded.id).await.expect_err("refused");
    assert!(by_hand.to_string().contains(": 409 "), "{by_hand}");
    assert_eq!(admin.clear_faults().await.expect("its own"), []);
    assert_eq!(admin.faults().await.expect("a list"), [recorded]);
    substrate.stop().await;
}

async fn token_holds(substrate: &Substrate, token: Option<&str>) -> (u16, String) {
    let mut guest = TcpStream::connect(substrate.mmds)
        .await
        .expect("it listens");
    let ask = match token {
        None => {
            "PUT /latest/api/token HTTP/1.1\r\nX-metadata-token-ttl-seconds: 600\r\n\r\n".to_owned()
        }
        Some(token) => {
            format!("GET /latest/meta-data HTTP/1.1\r\nX-metadata-token: {token}\r\n\r\n")
        }
    };
    guest.write_all(ask.as_bytes()).await.expect("sent");
    let mut status = [0; 12];
    guest.read_exact(&mut status).await.expect("an answer");
    let status = std::str::from_utf8(&status[9..]).expect("text");
    (
        status.parse().expect("a number"),
        read_body(&mut guest).await,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_put_forward_voids_tokens_until_it_is_right_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let substrate = Substrate::start(dir.path()).await;
    let (_, token) = token_holds(&substrate, None).await;
    // A stranger's store is empty: 404 is for who got in.
    assert_eq!(token_holds(&substrate, Some(&token)).await.0, 404);
    let clock = ClockFault {
        offset_ms: Offset::from_ms(601_000),
    };
    {
        let new = NewFault::new(Fault::Clock(clock));
        let ahead = Guard::of_process(&substrate.admin(), &new).await;
        let _ahead = ahead.expect("started");
        let (status, told) = token_holds(&substrate, Some(&token)).await;
        assert_eq!((status, told.as_str()), (401, "MMDS token not valid."));
    }
    assert_eq!(token_holds(&substrate, Some(&token)).await.0, 404);
    substrate.stop().await;
}
