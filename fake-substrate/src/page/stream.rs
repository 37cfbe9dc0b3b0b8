//! The server-sent events of one open page: `hello`, then `fragment` for each part that has changed
//! and `line` for each log line.
//!
//! An event is made when the browser has taken the ones before it, out of what stands then: a page
//! that reads slowly skips frames, and is told which lines it missed.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::Event;
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::watch;

use super::collect::held;
use super::html;
use super::live::{Frame, Live};

/// A part of the page, for the script beside it.
#[derive(Serialize)]
struct Part<'a> {
    id: &'a str,
    html: &'a str,
}

struct Reader {
    live: Arc<Live>,
    frames: watch::Receiver<Option<Arc<Frame>>>,
    /// What each part was when it was sent last.
    sent: HashMap<String, String>,
    /// The last log line that was sent.
    line: u64,
    ready: VecDeque<Event>,
}

/// The events of a page that has the log lines up to `line`.
pub(super) fn events(live: Arc<Live>, line: u64) -> impl Stream<Item = Result<Event, Infallible>> {
    let reader = Reader {
        frames: live.watch(),
        sent: HashMap::new(),
        line,
        ready: [hello(&live)].into(),
        live,
    };
    stream::unfold(reader, async |mut reader| {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    })
}

fn hello(live: &Live) -> Event {
    Event::default()
        .event("hello")
        .data(live.setting.process.as_str())
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            // The first frame may stand already; `changed` would wait for the second.
            if !self.sent.is_empty() {
                self.frames.changed().await.ok()?;
            }
            let frame = self.frames.wait_for(Option::is_some).await.ok()?.clone()?;
            self.take_in(&frame);
        }
    }

    fn take_in(&mut self, frame: &Frame) {
        for fragment in &frame.fragments {
            let key = fragment.key();
            if self.sent.get(&fragment.id).is_some_and(|sent| sent == key) {
                continue;
            }
            self.sent.insert(fragment.id.clone(), key.to_owned());
            let part = Part {
                id: &fragment.id,
                html: &fragment.html,
            };
            self.ready.extend(json("fragment", &part));
        }
        let since = held(&self.live.feed).since(self.line);
        if since.missed > 0 {
            let html = html::missed(since.missed).into_string();
            self.ready.extend(json("line", &html));
        }
        for line in since.lines {
            self.line = line.number;
            let event = json("line", &html::line(&line).into_string());
            self.ready
                .extend(event.map(|event| event.id(line.number.to_string())));
        }
    }
}

/// As JSON, since an event's own text may not hold every line end that a log line may. Text always
/// has a JSON form.
fn json(name: &str, data: &impl Serialize) -> Option<Event> {
    Event::default().event(name).json_data(data).ok()
}
