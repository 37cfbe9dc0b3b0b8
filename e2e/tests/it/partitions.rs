//! A network that is cut: packets vanish, nobody is told, and what waited goes on when it heals.

use anyhow::ensure;
use e2e::{Door, LinkState, Outcome, Party, scenario};

/// Two machines that are cut off hear nothing of each other, not even a refusal; the host's own way in
/// stays, and after the cut they find each other again.
#[tokio::test]
async fn two_machines_that_are_cut_off_hear_nothing_of_each_other_until_it_heals() -> Outcome {
    scenario(async |world| {
        let spec = world.vm("db").metadata("BEYOND_PG_DIRECT_LISTEN", "*");
        let db = spec.boot().await?;
        let other = world.vm("other").boot().await?;
        other.reaches(&db).await?;

        let cut = world.partition(&db, &other).await?;
        other.gets_no_answer_from(&db).await?;
        db.gets_no_answer_from(&other).await?;
        ensure!(db.ask::<i32>("SELECT 1").await? == 1);
        db.link_is("unharmed", |link| link.state == LinkState::Ready)
            .await?;

        cut.heal().await?;
        other.reaches(&db).await?;
        db.reaches(&other).await
    })
    .await
}

/// A query that is under way when the network is cut is neither broken nor answered; it is answered when
/// it heals.
#[tokio::test]
async fn a_connection_that_is_there_is_cut_too_and_gets_its_answer_afterwards() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let other = world.vm("other").boot().await?;
        let mut session = other.opens_a_session_to(&db).await?;
        ensure!(session.ask("SELECT 'before'").await? == "before");

        let cut = world.partition(&db, &other).await?;
        session.asks("SELECT 'answered'").await?;
        session.is_not_answered().await?;
        cut.heal().await?;
        ensure!(session.answer().await? == "answered");
        Ok(())
    })
    .await
}

/// Only one way: what is sent arrives and its answer does not. To the one that asks it looks the same.
#[tokio::test]
async fn a_partition_one_way_loses_what_one_side_sends() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let other = world.vm("other").boot().await?;
        let cut = world.partition_one_way(&db, &other).await?;
        ensure!(db.hears_from(&other).await?, "what other sends arrives");
        ensure!(!other.hears_from(&db).await?, "what db sends is lost");
        cut.heal().await?;
        ensure!(other.hears_from(&db).await?);
        Ok(())
    })
    .await
}

/// A machine that is isolated meets nobody, a machine that is made later included.
#[tokio::test]
async fn an_isolated_machine_meets_nobody_not_even_a_newcomer() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let isolated = world.isolate(&db).await?;
        let newcomer = world.vm("newcomer").boot().await?;
        newcomer.gets_no_answer_from(&db).await?;
        db.gets_no_answer_from(&newcomer).await?;
        ensure!(db.ask::<i32>("SELECT 1").await? == 1, "the host gets in");
        isolated.heal().await?;
        newcomer.reaches(&db).await
    })
    .await
}

/// A restart mends nothing: neither of the cut-off machine nor of the other.
#[tokio::test]
async fn a_partition_outlives_a_restart_of_either_machine() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let other = world.vm("other").boot().await?;
        let cut = world.partition(&db, &other).await?;
        let db = db.restart().await?;
        other.gets_no_answer_from(&db).await?;
        db.gets_no_answer_from(&other).await?;

        let other = other.crash().await?.boot().await?;
        other.gets_no_answer_from(&db).await?;
        db.gets_no_answer_from(&other).await?;
        cut.heal().await?;
        other.reaches(&db).await?;
        db.reaches(&other).await
    })
    .await
}

/// Contract 9: a machine whose host falls silent serves on. The host calls it degraded after 30 s, it
/// gives the link up itself, dials again for ever, and when it gets through, what it kept arrives.
#[tokio::test]
async fn a_machine_cut_off_from_its_host_serves_on_and_brings_what_it_kept() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let before = db
            .link_is("ready for clients", |link| link.service_ready)
            .await?;
        let cut = world.partition(&db, Party::Service).await?;
        db.link_is("degraded", |link| link.state == LinkState::Degraded)
            .await?;
        db.gives_up_its_link().await?;
        db.sql("DO $$ BEGIN RAISE WARNING 'nobody listens'; END $$")
            .await?;
        ensure!(
            !db.received()
                .await?
                .iter()
                .any(|kept| kept.line.line.contains("nobody listens")),
            "it crossed a network that is cut"
        );

        cut.heal().await?;
        let after = db
            .link_is("there again", |link| {
                link.state == LinkState::Ready && link.connections > before.connections
            })
            .await?;
        ensure!(after.reconnects == 1 && after.violations == 0, "{after:?}");
        db.host_hears("nobody listens").await?;
        Ok(())
    })
    .await
}

/// A machine that boots cut off from the service gets not one answer of it, and waits.
#[tokio::test]
async fn a_machine_that_boots_cut_off_from_the_service_waits_for_it() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?.stop().await?;
        let cut = world.partition_one_way(&db, Party::Service).await?;
        let db = db.start().await?;
        db.expect_log("no settings yet").await?;
        cut.heal().await?;
        let db = db.ready().await?;
        ensure!(
            db.session(Door::Direct)
                .await?
                .ask::<i32>("SELECT 1")
                .await?
                == 1
        );
        Ok(())
    })
    .await
}
