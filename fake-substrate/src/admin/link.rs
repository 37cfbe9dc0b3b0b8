//! The admin API's routes for the link and the control RPC of a machine.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::log::LogLine;
use wire::rpc::Response;

use super::{ANSWER_BUDGET, AdminClient, AdminError, Body, machine};

/// What the host knows of a machine's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// It never said that it is there, since this substrate's process started.
    #[default]
    NeverSeen,
    /// It said so, and has been heard lately.
    Ready,
    /// Connected and silent for too long: the platform would take it off its network.
    Degraded,
    /// Its connection ended.
    Gone,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeverSeen => "never seen",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Gone => "gone",
        })
    }
}

/// `GET /machines/{name}/link`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkReport {
    /// How it is.
    pub state: LinkState,
    /// Since when, in milliseconds of the Unix epoch; never seen is since nothing.
    pub since_unix_ms: Option<u64>,
    /// Whether the guest said on this connection that the database answers clients.
    pub service_ready: bool,
    /// Connections that were accepted.
    pub connections: u64,
    /// Ready frames that said the machine was connected before.
    pub reconnects: u64,
    /// Connections that were closed at once: another one lived.
    pub turned_away: u64,
    /// Frames by what they were.
    pub frames: BTreeMap<String, u64>,
    /// Connections that were closed because of what came over them.
    pub violations: u64,
    /// The last such, in words.
    pub last_violation: Option<String>,
    /// The number of the latest log line; 0 before the first.
    pub last_line: u64,
}

/// A log line as the host keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLine {
    /// Counts a machine's lines from 1, over all its connections.
    pub seq: u64,
    /// When it arrived, in milliseconds of the Unix epoch.
    pub arrived_unix_ms: u64,
    /// Which of the machine's connections it came over, counted from 1.
    pub connection: u64,
    /// The line.
    #[serde(flatten)]
    pub line: LogLine,
}

impl KeptLine {
    /// Whether PID 1 said it itself. Its own lines are in its container's output as well.
    pub fn is_of_pid_1(&self) -> bool {
        self.line.execution_id == "beyond-pg"
    }
}

/// `GET /machines/{name}/logs`: one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPage {
    /// In the order in which they came; none when nothing came while it was waited.
    pub lines: Vec<KeptLine>,
    /// What to ask for next.
    pub after: u64,
    /// So many lines in between came, and are not kept any more.
    pub missed: u64,
}

/// How `GET /machines/{name}/logs` is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Lines with a higher number than this. A number that the host has not given yet is one of
    /// an earlier process; it begins at the beginning then.
    #[serde(default)]
    pub after: u64,
    /// With nothing to tell, how long to wait for a line.
    #[serde(default)]
    pub wait_ms: u64,
}

impl AdminClient {
    /// What the host knows of a machine's link.
    pub async fn link(&self, name: &str) -> Result<LinkReport, AdminError> {
        self.call(Method::GET, &machine(name, "/link"), Body::None)
            .await
    }

    /// Sends a machine the link's Shutdown frame.
    pub async fn shut_down_over_link(&self, name: &str) -> Result<(), AdminError> {
        let path = machine(name, "/link/shutdown");
        self.call(Method::POST, &path, Body::None).await
    }

    /// The lines that came after that one; with none, waits for some for as long as `wait`.
    pub async fn log_page(
        &self,
        name: &str,
        after: u64,
        wait: Duration,
    ) -> Result<LogPage, AdminError> {
        let wait_ms = wait.as_millis();
        let path = machine(name, &format!("/logs?after={after}&wait_ms={wait_ms}"));
        self.call_within(wait + ANSWER_BUDGET, Method::GET, &path, Body::None)
            .await
    }

    /// Every line that came after that one and is still kept.
    pub async fn log_lines(&self, name: &str, after: u64) -> Result<Vec<KeptLine>, AdminError> {
        let mut after = after;
        let mut lines = Vec::new();
        loop {
            let page = self.log_page(name, after, Duration::ZERO).await?;
            if page.lines.is_empty() {
                return Ok(lines);
            }
            after = page.after;
            lines.extend(page.lines);
        }
    }

    /// Asks a machine over its control RPC. `request` is what the wire has as MessagePack:
    /// `{"cmd": …}`. A machine that says no is an answer, not an error.
    pub async fn rpc(
        &self,
        name: &str,
        request: &Value,
        deadline: Duration,
    ) -> Result<Response, AdminError> {
        let deadline_ms = deadline.as_millis();
        let path = machine(name, &format!("/rpc?deadline_ms={deadline_ms}"));
        let body = Body::json(request);
        self.call_within(deadline + ANSWER_BUDGET, Method::POST, &path, body)
            .await
    }
}
