//! Which certificate clients are shown, and what they may make of it.

use anyhow::ensure;
use e2e::disk::PGDATA;
use e2e::{Authority, Door, Outcome, PlatformFile, Session, scenario};

/// With the platform's CA a client knows that it talks to this very machine, on both ports; with
/// another CA, or by a name that is not the machine's, it does not talk to it.
#[tokio::test]
async fn a_client_that_trusts_the_platform_verifies_a_machine_by_its_name() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").watching_certificates().boot().await?;
        let certificate = db.platform_certificate().await?;
        db.comes_to_present(&certificate).await?;
        let stranger = Authority::new()?.certificate();
        for door in Door::ALL {
            let psql = || world.psql_asking(&db, door, "SELECT 42");
            let verified = psql()?.verifying(&world.platform_ca()).host("db.internal");
            let verified = verified.runs().await?;
            ensure!(verified.stdout == "42\n", "{door}: {verified:?}");

            let foreign = psql()?.verifying(&stranger).host("db.internal");
            let foreign = foreign.runs().await?;
            ensure!(
                foreign.exit_code == 2 && foreign.stderr.contains("certificate verify failed"),
                "{door}: {foreign:?}"
            );
            let misnamed = psql()?.verifying(&world.platform_ca()).host("db");
            let misnamed = misnamed.runs().await?;
            ensure!(
                misnamed.stderr.contains("does not match host name \"db\""),
                "{door}: {misnamed:?}"
            );
        }
        db.is_well().await
    })
    .await
}

/// A platform that is first, is used from the first login on: nothing of our own is made.
#[tokio::test]
async fn a_platforms_certificate_that_is_there_at_boot_is_the_only_one() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").metadata("BEYOND_PG_TIER", "not yet");
        let db = db.start().await?;
        db.expect_log("cannot be used").await?;
        let certificate = db.platform_certificate().await?;
        db.remove_metadata("BEYOND_PG_TIER").await?;
        let db = db.ready().await?;
        db.still_presents(&certificate).await?;
        let changed = db.boot_record().await?.changed;
        ensure!(
            changed.contains(&"install the platform's certificate".to_owned())
                && !changed.iter().any(|step| step.contains("self-signed")),
            "{changed:?}"
        );
        db.must_have_an_empty_plan().await
    })
    .await
}

/// A session in the middle of something, whose server process is known.
struct Busy {
    session: Session,
    backend: i32,
}

impl Busy {
    async fn begin(session: Session) -> anyhow::Result<Self> {
        session
            .sql("BEGIN; CREATE TEMPORARY TABLE mine AS SELECT 42 AS answer")
            .await?;
        let backend = session.ask("SELECT pg_backend_pid()").await?;
        Ok(Self { session, backend })
    }

    async fn goes_on(&self) -> anyhow::Result<()> {
        let backend: i32 = self.session.ask("SELECT pg_backend_pid()").await?;
        let answer: i32 = self.session.ask("SELECT answer FROM mine").await?;
        ensure!(backend == self.backend && answer == 42);
        Ok(())
    }
}

/// The platform rotates, twice. Who is connected notices nothing, on either port; who connects
/// afterwards is shown the new certificate.
#[tokio::test]
async fn a_rotation_reaches_new_clients_and_disturbs_no_session() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").watching_certificates().boot().await?;
        let mut sessions = Vec::new();
        for door in Door::ALL {
            sessions.push(Busy::begin(db.session(door).await?).await?);
        }
        for _rotation in 0..2 {
            let certificate = db.platform_certificate().await?;
            db.comes_to_present(&certificate).await?;
            for session in &sessions {
                session.goes_on().await?;
            }
        }
        for Busy { session, .. } in &sessions {
            session.sql("COMMIT").await?;
            ensure!(session.ask::<i32>("SELECT 1").await? == 1);
        }
        db.is_well().await?;
        let installed = db.shell("ls /run/beyond-pg/tls").await?;
        ensure!(
            installed.lines().count() == 2,
            "old ones are left: {installed}"
        );
        db.must_have_an_empty_plan().await
    })
    .await
}

/// Of a rotation that has replaced one of its files nothing is used, not even by a server that has
/// to start meanwhile; the machine says so until the other file comes.
#[tokio::test]
async fn half_a_rotation_is_waited_out_and_named() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").watching_certificates().boot().await?;
        let first = db.platform_certificate().await?;
        db.comes_to_present(&first).await?;

        let next = db.next_certificate()?;
        db.platform_delivers(PlatformFile::Certificate, &next)
            .await?;
        db.complains(
            "in /run/beyond/tls key.pem belongs to another certificate than cert.pem; \
             the platform's certificate from before stays in use",
        )
        .await?;
        db.crash_postgres().await?;
        db.is_back().await?;
        db.crash_pooler().await?;
        db.comes_to_present(&first).await?;

        db.platform_delivers(PlatformFile::Key, &next).await?;
        db.comes_to_present(&next).await?;
        db.is_well().await
    })
    .await
}

/// A user's certificate wins over the platform's. One that cannot be used is refused with words:
/// while the machine runs, what it had stays; at its next boot, the next source serves.
#[tokio::test]
async fn a_users_certificate_wins_unless_its_key_is_another_ones() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").watching_certificates().boot().await?;
        let platform = db.platform_certificate().await?;
        db.comes_to_present(&platform).await?;
        let users = db.user_certificate().await?;
        db.comes_to_present(&users).await?;
        db.is_well().await?;

        let other = db.next_certificate()?;
        db.user_puts("server.key", &other.key).await?;
        let words = "server.key belongs to another certificate than server.crt; ";
        db.complains(&format!("{words}the user's certificate from before stays"))
            .await?;
        db.still_presents(&users).await?;

        let db = db.restart().await?;
        db.complains(&format!("{words}a self-signed certificate is used instead"))
            .await?;
        let theirs = db.shell(&format!("cat {PGDATA}/beyond/server.crt")).await?;
        ensure!(theirs == users.certificate, "the user's file was touched");
        let platform = db.platform_certificate().await?;
        db.comes_to_present(&platform).await?;

        db.user_puts("server.key", &users.key).await?;
        db.comes_to_present(&users).await?;
        db.is_well().await?;
        let hand_back = "rm server.crt server.key .user-managed";
        db.shell(&format!("cd {PGDATA}/beyond && {hand_back}"))
            .await?;
        db.comes_to_present(&platform).await
    })
    .await
}

/// A certificate of our own that nears its end is made anew while the machine runs, without anybody
/// losing a session.
#[tokio::test]
async fn our_own_certificate_is_renewed_while_the_machine_runs() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").watching_certificates().boot().await?;
        let before = db.presents(Door::Direct).await?;
        let mut sessions = Vec::new();
        for door in Door::ALL {
            sessions.push(Busy::begin(db.session(door).await?).await?);
        }
        db.own_certificate_ends_in(20).await?;
        db.expect_log("certificate: issue a self-signed certificate: it ends in ")
            .await?;
        db.comes_to_present_another_than(&before).await?;
        for session in &sessions {
            session.goes_on().await?;
        }
        db.is_well().await?;
        // It is the one on the volume, too, for the boots to come.
        let now = db.presents(Door::Pooled).await?;
        ensure!(
            now == db.presents(Door::Direct).await?,
            "one for both ports"
        );
        let db = db.restart().await?;
        ensure!(db.presents(Door::Pooled).await? == now);
        Ok(())
    })
    .await
}

/// The recipe for client certificates in `docs/settings.md`: on the direct port a role gets in with
/// a certificate of the platform's that bears its name, and no other way.
#[tokio::test]
async fn a_user_may_ask_for_client_certificates_on_the_direct_port() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").watching_certificates().boot().await?;
        let certificate = db.platform_certificate().await?;
        db.comes_to_present(&certificate).await?;
        db.sql("CREATE ROLE app LOGIN PASSWORD 'x'").await?;
        let line = "hostssl all app all cert\nhostnossl all app all reject";
        db.shell(&format!("echo '{line}' >{PGDATA}/99-user-hba.conf"))
            .await?;
        let reloaded = db.rpc("reload").await?;
        ensure!(reloaded.ok, "{reloaded:?}");

        let app = |door| {
            let psql = world.psql_asking(&db, door, "SELECT current_user")?;
            anyhow::Ok(psql.role("app").host("db.internal"))
        };
        let shown = app(Door::Direct)?
            .password("")
            .showing(&world.client_certificate("app")?);
        let shown = shown.verifying(&world.platform_ca()).runs().await?;
        ensure!(shown.stdout == "app\n", "{shown:?}");

        let none = app(Door::Direct)?.password("x").runs().await?;
        ensure!(
            none.stderr
                .contains("connection requires a valid client certificate"),
            "{none:?}"
        );
        let anothers = app(Door::Direct)?.showing(&world.client_certificate("other")?);
        let anothers = anothers.runs().await?;
        ensure!(
            anothers
                .stderr
                .contains("certificate authentication failed for user \"app\""),
            "{anothers:?}"
        );
        let strangers = Authority::new()?.for_client("app")?;
        let strangers = app(Door::Direct)?.showing(&strangers).runs().await?;
        ensure!(strangers.exit_code == 2, "{strangers:?}");

        // hba lines do not bind the pooler: there the password counts.
        let pooled = app(Door::Pooled)?.password("x").runs().await?;
        ensure!(pooled.stdout == "app\n", "{pooled:?}");
        Ok(())
    })
    .await
}

/// A client that insists on channel binding gets in on the direct port, with our own certificate and
/// with the platform's. PgBouncer offers none: there it is told so, and one that would merely like
/// to gets in.
#[tokio::test]
async fn channel_binding_works_on_the_direct_port_and_is_not_offered_by_the_pooler() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").watching_certificates().boot().await?;
        let answers = async |door, wish| -> anyhow::Result<e2e::Output> {
            let psql = world.psql_asking(&db, door, "SELECT 42")?;
            psql.channel_binding(wish).runs().await
        };
        let own = answers(Door::Direct, "require").await?;
        ensure!(own.stdout == "42\n", "{own:?}");
        let certificate = db.platform_certificate().await?;
        db.comes_to_present(&certificate).await?;
        let platforms = answers(Door::Direct, "require").await?;
        ensure!(platforms.stdout == "42\n", "{platforms:?}");

        let required = answers(Door::Pooled, "require").await?;
        let words = "channel binding is required, but server did not offer an authentication method \
                     that supports channel binding";
        ensure!(
            required.exit_code == 2 && required.stderr.contains(words),
            "{required:?}"
        );
        let preferred = answers(Door::Pooled, "prefer").await?;
        ensure!(preferred.stdout == "42\n", "{preferred:?}");
        Ok(())
    })
    .await
}
