//! Every extension of the image's manifest, at its own work.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use e2e::until::until_true;
use e2e::{Door, Outcome, Session, Vm, budget, scenario};

/// An extension that is installed and does nothing would pass any list of names.
#[tokio::test]
async fn every_extension_of_the_manifest_does_its_work() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").memory("1g").boot().await?;
        let sql = db.session(Door::Direct).await?;
        let mut shown = BTreeSet::new();
        for name in manifest()? {
            shows_its_work(&name, &db, &sql)
                .await
                .with_context(|| format!("extension {name}"))?;
            shown.insert(name);
        }
        let list = "SELECT extname::text FROM pg_extension WHERE extname <> 'plpgsql'";
        let installed: BTreeSet<_> = sql.list::<String>(list).await?.into_iter().collect();
        ensure!(
            installed == shown,
            "installed: {installed:?}, in the manifest: {shown:?}"
        );
        Ok(())
    })
    .await
}

/// The names in extensions.toml, the only place that lists them.
fn manifest() -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../extensions.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let manifest: toml::Table = text.parse()?;
    let extensions = manifest.get("extension").and_then(toml::Value::as_array);
    let extensions = extensions.context("extensions.toml lists no [[extension]]")?;
    let name = |extension: &toml::Value| Some(extension.get("name")?.as_str()?.to_owned());
    extensions
        .iter()
        .map(|extension| name(extension).context("an extension has no name"))
        .collect()
}

async fn shows_its_work(name: &str, db: &Vm, sql: &Session) -> Result<()> {
    match name {
        "pg_stat_statements" => counts_statements(sql).await,
        "pg_trgm" => finds_similar_words(sql).await,
        "vector" => finds_neighbours_by_index(sql).await,
        "postgis" => measures_a_distance(sql).await,
        "pg_cron" => runs_a_job(sql).await,
        "pg_partman" => makes_partitions(sql).await,
        "hypopg" => plans_with_an_index_that_is_not_there(sql).await,
        "pg_repack" => shrinks_a_bloated_table(db, sql).await,
        other => anyhow::bail!("{other} is in the manifest and nothing here shows that it works"),
    }
}

async fn counts_statements(sql: &Session) -> Result<()> {
    sql.sql("CREATE TABLE counted AS SELECT 1 AS n").await?;
    for n in 1..=3 {
        sql.list::<i32>(&format!("SELECT n FROM counted WHERE n = {n}"))
            .await?;
    }
    let query =
        "SELECT calls FROM pg_stat_statements WHERE query = 'SELECT n FROM counted WHERE n = $1'";
    ensure!(sql.ask::<i64>(query).await? == 3);
    Ok(())
}

async fn finds_similar_words(sql: &Session) -> Result<()> {
    sql.sql(
        "CREATE TABLE words AS SELECT 'word ' || n AS word FROM generate_series(1, 5000) n;
         INSERT INTO words VALUES ('PostgreSQL');
         CREATE INDEX words_trgm ON words USING gin (word gin_trgm_ops);
         ANALYZE words; SET enable_seqscan = off",
    )
    .await?;
    let query = "SELECT word FROM words WHERE word % 'Postgresql'";
    ensure!(sql.explain(query).await?.contains("words_trgm"));
    ensure!(sql.list::<String>(query).await? == ["PostgreSQL"]);
    sql.sql("RESET enable_seqscan").await
}

async fn finds_neighbours_by_index(sql: &Session) -> Result<()> {
    sql.sql(
        "CREATE TABLE items (id int PRIMARY KEY, embedding vector(3));
         INSERT INTO items SELECT n, ARRAY[n, n % 10, 1]::vector FROM generate_series(1, 2000) n;
         CREATE INDEX items_hnsw ON items USING hnsw (embedding vector_l2_ops);
         SET enable_seqscan = off",
    )
    .await?;
    let query = "SELECT id FROM items ORDER BY embedding <-> '[1000, 0, 1]' LIMIT 1";
    let plan = sql.explain(query).await?;
    ensure!(plan.contains("Index Scan using items_hnsw"), "{plan}");
    ensure!(sql.ask::<i32>(query).await? == 1000);
    sql.sql("RESET enable_seqscan").await
}

async fn measures_a_distance(sql: &Session) -> Result<()> {
    let berlin_to_paris = "SELECT ST_Distance('POINT(13.405 52.52)'::geography, 'POINT(2.3522 48.8566)'::geography) / 1000";
    let kilometres: f64 = sql.ask(berlin_to_paris).await?;
    ensure!(
        (870.0..890.0).contains(&kilometres),
        "Berlin to Paris: {kilometres} km"
    );
    Ok(())
}

async fn runs_a_job(sql: &Session) -> Result<()> {
    sql.sql("CREATE TABLE ticks (at timestamptz DEFAULT clock_timestamp())")
        .await?;
    sql.sql("SELECT cron.schedule('tick', '1 second', 'INSERT INTO ticks DEFAULT VALUES')")
        .await?;
    let ran = "SELECT count(*) > 0 AND (SELECT count(*) > 0 FROM ticks)
               FROM cron.job_run_details d JOIN cron.job j USING (jobid)
               WHERE j.jobname = 'tick' AND d.status = 'succeeded'";
    until_true(budget::SOON, "a cron job has run", async || {
        sql.ask(ran).await
    })
    .await?;
    sql.sql("SELECT cron.unschedule('tick')").await?;
    let purges = "SELECT count(*) FROM cron.job WHERE jobname = 'beyond-purge-job-run-details'";
    ensure!(sql.ask::<i64>(purges).await? == 1);
    Ok(())
}

async fn makes_partitions(sql: &Session) -> Result<()> {
    sql.sql(
        "CREATE TABLE public.events (at timestamptz NOT NULL) PARTITION BY RANGE (at);
         SELECT partman.create_parent('public.events', 'at', '1 day');
         INSERT INTO public.events VALUES (now())",
    )
    .await?;
    let landed = "SELECT tableoid::regclass::text FROM public.events";
    let partition: String = sql.ask(landed).await?;
    ensure!(
        partition.starts_with("events_p2"),
        "today's row is in {partition}"
    );
    Ok(())
}

async fn plans_with_an_index_that_is_not_there(sql: &Session) -> Result<()> {
    sql.sql("CREATE TABLE planned AS SELECT n FROM generate_series(1, 20000) n; ANALYZE planned")
        .await?;
    let query = "SELECT n FROM planned WHERE n = 7";
    ensure!(!sql.explain(query).await?.contains("Index"));
    sql.sql("SELECT hypopg_create_index('CREATE INDEX ON planned (n)')")
        .await?;
    let plan = sql.explain(query).await?;
    ensure!(plan.contains("btree_planned_n"), "{plan}");
    sql.sql("SELECT hypopg_reset()").await
}

async fn shrinks_a_bloated_table(db: &Vm, sql: &Session) -> Result<()> {
    sql.sql(
        "CREATE TABLE bloated (n int PRIMARY KEY, filler text);
         INSERT INTO bloated SELECT n, repeat('x', 500) FROM generate_series(1, 10000) n;
         DELETE FROM bloated WHERE n % 10 <> 0",
    )
    .await?;
    let size = "SELECT pg_relation_size('bloated')";
    let before: i64 = sql.ask(size).await?;
    let repack = "pg_repack --no-superuser-check --host=/var/run/postgresql --port=5433 --dbname=postgres --table=public.bloated";
    db.as_postgres(&repack.split(' ').collect::<Vec<_>>())
        .await?;
    let after: i64 = sql.ask(size).await?;
    ensure!(after * 5 < before, "{before} bytes became {after}");
    ensure!(sql.ask::<i64>("SELECT count(*) FROM bloated").await? == 1000);
    Ok(())
}
