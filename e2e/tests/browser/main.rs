//! The page in a real browser. It takes Chromium and its driver, so it is behind the feature `browser`.

use anyhow::ensure;
use e2e::{Browser, Door, Outcome, Window, scenario};

const PASSWORD: &str = "known-to-nobody-who-did-not-ask";

/// A person sees a machine get ready, forks it and sees the fork get ready, without reloading anything;
/// what the machine writes is seen as it comes; nothing has to be scrolled sideways on a phone; and
/// another site's form does nothing.
#[tokio::test]
async fn a_machine_is_forked_from_the_page() -> Outcome {
    scenario(async |world| {
        let db = world.vm("db").password(PASSWORD).boot().await?;
        let page = world.page().await?;
        Browser::plays("page", async |browser| {
            browser.resizes(Window::Narrow).await?;
            browser.opens(&page.url).await?;
            browser.sees("#m-db-head", "ready").await?;
            browser.sees("#live", "live").await?;
            browser.must_fit().await?;

            browser.types("#m-db-fork-name", "copy").await?;
            browser
                .presses("form[action='/machines/db/fork'] button")
                .await?;
            browser.sees("#errands", "under way").await?;
            browser.sees("#errands", "fork db to copy").await?;
            browser.sees("#m-copy-head", "ready").await?;
            let outcome = browser.sees("#errands", "done").await?;
            // Of folders it stood still, of disks its writes waited.
            ensure!(outcome.contains("The parent"), "{outcome}");
            browser.sees("#volumes", "fork of db").await?;

            db.session(Door::Direct)
                .await?
                .sql("DO $$ BEGIN RAISE WARNING 'a word for the page'; END $$")
                .await?;
            browser.sees("#log", "a word for the page").await?;

            for window in [Window::Narrow, Window::Wide] {
                browser.resizes(window).await?;
                browser.must_fit().await?;
                browser.prefers_dark(false).await?;
                browser.picture(&format!("{window:?}-light")).await?;
                browser.prefers_dark(true).await?;
                browser.picture(&format!("{window:?}-dark")).await?;
            }

            ensure!(
                !browser.html().await?.contains(PASSWORD),
                "the page gives the password away"
            );
            browser
                .presses("form[action='/machines/db/login'] button")
                .await?;
            browser.sees("#m-db-login", PASSWORD).await?;

            browser.opens(&foreign_form(&page.url)).await?;
            browser.presses("button").await?;
            browser
                .sees("main", "another site sent this request")
                .await?;
            Ok(())
        })
        .await?;
        ensure!(
            db.ask::<i32>("SELECT 1").await? == 1,
            "what another site asked for was done"
        );
        Ok(())
    })
    .await
}

/// A page of somebody else's, with a button that would kill the machine.
fn foreign_form(url: &str) -> String {
    format!(
        "data:text/html,<form method=post action={url}machines/db/crash><button>Win a prize</button></form>"
    )
}
