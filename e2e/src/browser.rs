//! A browser in a scenario's hands: Chromium without a window, driven through WebDriver.
#![expect(
    clippy::disallowed_methods,
    reason = "the browser's driver is a program of the host, and the one that scenarios start; pictures need not survive a power cut"
)]

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use thirtyfour::{By, ChromiumLikeCapabilities as _, DesiredCapabilities, WebDriver};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::budget;
use crate::until::{Look, until, within};

/// What Chromium's driver says once it listens.
const LISTENS: &str = "was started successfully on port ";

/// A browser with one tab.
#[derive(Debug)]
pub struct Browser {
    tab: WebDriver,
    pictures: PathBuf,
}

/// The size of its window.
#[derive(Debug, Clone, Copy)]
pub enum Window {
    /// A laptop's.
    Wide,
    /// The smallest phone's.
    Narrow,
}

impl Window {
    const fn width(self) -> u32 {
        match self {
            Self::Wide => 1280,
            Self::Narrow => 360,
        }
    }

    const fn height(self) -> u32 {
        match self {
            Self::Wide => 900,
            Self::Narrow => 740,
        }
    }
}

impl Browser {
    /// Opens one for a story and closes it however the story ends. Its pictures go to a folder of that
    /// name, together with one of a story that failed.
    pub async fn plays<S>(name: &str, story: S) -> Result<()>
    where
        S: AsyncFnOnce(&Self) -> Result<()>,
    {
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../target/e2e")
            .join(name);
        std::fs::create_dir_all(&pictures)?;
        let (mut driver, port) = driver().await?;
        let tab = tab(port).await?;
        let browser = Self { tab, pictures };
        let played = AssertUnwindSafe(story(&browser)).catch_unwind().await;
        if !matches!(played, Ok(Ok(()))) {
            // Best effort: the failure itself is what is told.
            drop(browser.picture("failed").await);
        }
        // A driver that is killed leaves its browser running, so that is closed first.
        let closed = browser.tab.quit().await.context("closing the browser");
        driver.kill().await.context("ending the browser's driver")?;
        match played {
            Ok(outcome) => outcome.and(closed),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Opens an address.
    pub async fn opens(&self, url: &str) -> Result<()> {
        self.tab.goto(url).await.context("opening an address")
    }

    /// Makes its window that large.
    pub async fn resizes(&self, window: Window) -> Result<()> {
        let metrics = json!({
            "width": window.width(), "height": window.height(), "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await
            .map(drop)
    }

    /// Prefers dark colours, or light ones.
    pub async fn prefers_dark(&self, dark: bool) -> Result<()> {
        let value = if dark { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": value });
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        )
        .await
        .map(drop)
    }

    /// Waits until an element shows these words; answers all that it shows.
    pub async fn sees(&self, element: &str, words: &str) -> Result<String> {
        let awaited = format!("{element} shows: {words}");
        until(budget::READY, awaited, async || {
            let text = self.text(element).await?;
            Ok(if text.contains(words) {
                Look::Found(text)
            } else {
                Look::NotYet(format!("it shows: {text}"))
            })
        })
        .await
    }

    /// What an element shows just now; nothing when there is none.
    pub async fn text(&self, element: &str) -> Result<String> {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        let text = self.asks(script, vec![element.into()]).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// All of the page as it stands.
    pub async fn html(&self) -> Result<String> {
        let html = self.asks("return document.documentElement.outerHTML", Vec::new());
        Ok(html.await?.as_str().unwrap_or_default().to_owned())
    }

    /// Types into a field.
    pub async fn types(&self, field: &str, text: &str) -> Result<()> {
        let found = self.tab.find(By::Css(field)).await;
        let field = found.with_context(|| format!("looking for the field {field}"))?;
        field.send_keys(text).await.context("typing")
    }

    /// Presses a button as soon as it can be pressed.
    pub async fn presses(&self, button: &str) -> Result<()> {
        until(
            budget::SOON,
            format!("{button} can be pressed"),
            async || {
                // A part of the page that is filled again takes its buttons along.
                let pressed = async { self.tab.find(By::Css(button)).await?.click().await };
                Ok(match pressed.await {
                    Ok(()) => Look::Found(()),
                    Err(error) => Look::NotYet(error.to_string()),
                })
            },
        )
        .await
    }

    /// Nothing is wider than the window, at which one would have to scroll sideways.
    pub async fn must_fit(&self) -> Result<()> {
        let script = "return [document.scrollingElement.scrollWidth, window.innerWidth]";
        let widths = self.asks(script, Vec::new()).await?;
        let widths: (u32, u32) = serde_json::from_value(widths)?;
        ensure!(
            widths.0 <= widths.1,
            "the page is {} pixels wide in {}",
            widths.0,
            widths.1
        );
        Ok(())
    }

    /// Takes a picture of the whole page.
    pub async fn picture(&self, name: &str) -> Result<()> {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.devtools("Page.captureScreenshot", whole).await?;
        let data = answer["data"].as_str().context("a picture without data")?;
        let file = self.pictures.join(format!("{name}.png"));
        std::fs::write(&file, BASE64.decode(data)?)
            .with_context(|| format!("keeping {}", file.display()))
    }

    async fn asks(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        let answer = self.tab.execute(script, arguments).await;
        let answer = answer.with_context(|| format!("asking the page: {script}"))?;
        Ok(answer.json().clone())
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Result<Value> {
        let answer = self.tab.cdp().send_raw(command, parameters).await;
        answer.with_context(|| format!("asking the browser: {command}"))
    }
}

async fn driver() -> Result<(Child, u16)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting chromedriver\nHINT: apt-get install chromium chromium-driver")?;
    let output = driver.stdout.take().context("no output")?;
    let mut lines = BufReader::new(output).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await? {
            if let Some((_before, port)) = line.split_once(LISTENS) {
                return Ok(port.trim_end_matches('.').parse()?);
            }
        }
        anyhow::bail!("chromedriver ended without listening")
    };
    let port = within(budget::SOON, "chromedriver listens", listening).await??;
    Ok((driver, port))
}

async fn tab(port: u16) -> Result<WebDriver> {
    let mut wanted = DesiredCapabilities::chrome();
    // No sandbox: Chromium refuses one for root, and the page that it shows is ours.
    for argument in [
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
    ] {
        wanted.add_arg(argument)?;
    }
    let tab = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted);
    within(budget::READY, "the browser opens", tab)
        .await?
        .context("opening the browser\nHINT: apt-get install chromium chromium-driver")
}
