//! The link between a machine and its host: what is said over it, and what its troubles cost.

use anyhow::ensure;
use e2e::{Door, LinkState, LinkTrouble, Outcome, State, scenario};

/// Who writes it: 8 MB within a second are more than every buffer between a backend and the host.
const FLOOD: &str = "DO $$ BEGIN FOR n IN 1..3000 LOOP
    RAISE LOG 'flood % %', n, repeat('x', 8000);
END LOOP; END $$";

const AUDITED: usize = 20_000;
/// A record for every statement of a busy second, each one line, and a warning with each hundredth.
const AUDIT: &str = "SET log_error_verbosity = terse; SET log_min_duration_statement = -1;
    SET log_min_error_statement = panic;
    DO $$ BEGIN FOR n IN 1..20000 LOOP
        RAISE LOG 'AUDIT: SESSION,%,1,READ,SELECT,,,%', n, repeat('x', 1000);
        IF n % 100 = 0 THEN RAISE WARNING 'grave %', n; END IF;
    END LOOP; END $$";
/// PID 1 at rest has 7 MB, pages of its executable included; what it keeps for a host is 4 MB.
const MEMORY_LIMIT_KB: u64 = 20 << 10;

/// What PID 1, Postgres and PgBouncer write arrives at the host, and so does that clients get in.
#[tokio::test]
async fn the_host_receives_what_a_machine_writes() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let link = db
            .link_is("ready for clients", |link| link.service_ready)
            .await?;
        ensure!(
            link.state == LinkState::Ready && link.reconnects == 0,
            "{link:?}"
        );

        db.sql("DO $$ BEGIN RAISE WARNING E'one\\ntwo'; END $$")
            .await?;
        db.host_hears("WARNING:  one").await?;
        let second = db.host_hears("\ttwo").await?;
        ensure!(
            second.line.execution_id.starts_with("postgres"),
            "{second:?}"
        );
        db.host_hears("process up: PgBouncer").await?;
        db.host_hears("ready: a client's login over TLS works")
            .await?;
        ensure!(
            db.output()
                .await?
                .iter()
                .all(|line| !line.contains("WARNING:  one"))
        );

        let db = db.stop().await?;
        db.must_have_said("database system is shut down").await?;
        db.link_is("gone", |link| link.state == LinkState::Gone)
            .await?;
        let db = db.boot().await?;
        db.link_is("there again", |link| {
            link.service_ready && link.connections == 2
        })
        .await?;
        Ok(())
    })
    .await
}

/// A flood of audit records costs not one warning, and the notices account for every record that is
/// missing; PID 1 grows by no more than its queue.
#[tokio::test]
async fn of_a_flood_every_warning_arrives_and_every_missing_line_is_counted() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let link = db
            .link_is("ready for clients", |link| link.service_ready)
            .await?;
        let session = db.session(Door::Direct).await?;
        session.sql(AUDIT).await?;
        session
            .sql("DO $$ BEGIN RAISE WARNING 'after the flood'; END $$")
            .await?;
        db.host_hears("after the flood").await?;

        let received = db.received_after(link.last_line).await?;
        let grave = received.lines_with("WARNING:  grave ").len();
        ensure!(grave == AUDITED / 100, "{grave} warnings arrived");
        let missing = AUDITED - received.lines_with("AUDIT: SESSION,").len();
        ensure!(missing > AUDITED / 2, "the limit let {missing} go");
        let counted = received.dropped();
        ensure!(counted == missing, "{missing} missing, {counted} counted");

        let peak = db.peak_memory_kb().await?;
        ensure!(peak < MEMORY_LIMIT_KB, "PID 1 has taken {peak} kB");
        Ok(())
    })
    .await
}

/// A host that does not read what Postgres writes keeps nobody waiting; what was lost meanwhile is
/// counted, and it is told once it reads again.
#[tokio::test]
async fn a_stalled_host_slows_nobody_and_learns_how_much_it_missed() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.link_is("ready for clients", |link| link.service_ready)
            .await?;
        let stalled = db.link_trouble(LinkTrouble::Stalled).await?;
        db.session(Door::Direct).await?.sql(FLOOD).await?;
        db.sql("SELECT 1").await?;
        ensure!(
            !db.received()
                .await?
                .iter()
                .any(|kept| kept.line.line.contains("flood 3000 "))
        );

        let peak = db.peak_memory_kb().await?;
        ensure!(peak < MEMORY_LIMIT_KB, "PID 1 has taken {peak} kB");

        stalled.heal().await?;
        db.host_hears("[beyond-pg: dropped ").await?;
        db.sql("DO $$ BEGIN RAISE WARNING 'after the flood'; END $$")
            .await?;
        db.host_hears("after the flood").await?;
        Ok(())
    })
    .await
}

/// A machine whose host refuses it goes on serving, dials again, and says that it was there before.
#[tokio::test]
async fn a_machine_that_loses_its_host_serves_on_and_links_again() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        db.link_is("ready for clients", |link| link.service_ready)
            .await?;
        let refused = db.link_trouble(LinkTrouble::Refused).await?;
        db.link_is("gone", |link| link.state == LinkState::Gone)
            .await?;
        db.sql("SELECT 1").await?;

        refused.heal().await?;
        let link = db
            .link_is("ready for clients", |link| link.service_ready)
            .await?;
        ensure!(link.reconnects == 1 && link.violations == 0, "{link:?}");
        // What was said in between may have gone into a connection that was reset at once: the wire has no
        // acknowledgement for lines.
        db.sql("DO $$ BEGIN RAISE WARNING 'somebody listens'; END $$")
            .await?;
        db.host_hears("somebody listens").await?;
        Ok(())
    })
    .await
}

/// The host's Shutdown frame is a clean stop.
#[tokio::test]
async fn a_shutdown_over_the_link_is_a_clean_stop() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").boot().await?;
        let db = db.shut_down_over_link().await?;
        ensure!(db.state() == State::Stopped, "it is {}", db.state());
        db.must_have_said("stopped: the next boot replays no WAL")
            .await?;
        ensure!(db.boot().await?.boot_record().await?.wal.clean);
        Ok(())
    })
    .await
}
