//! The page over real HTTP, where Docker does not answer: what it shows then, and whom it turns away.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use tokio::sync::oneshot;

use super::Page;
use crate::docker::Docker;

struct Served {
    port: u16,
    http: Client,
    _until_dropped: oneshot::Sender<()>,
}

/// An answer: its status, its head, its body.
struct Answer(StatusCode, HeaderMap, String);

impl Served {
    async fn begin() -> Self {
        let version = bollard::API_DEFAULT_VERSION;
        // Nobody listens on port 1.
        let docker = Docker::connect_with_http("http://127.0.0.1:1", 5, version).unwrap();
        let page = Page::bind(docker, "nowhere".parse().unwrap(), 0)
            .await
            .unwrap();
        let port = page.port();
        let (until_dropped, dropped) = oneshot::channel::<()>();
        tokio::spawn(page.serve(async move { drop(dropped.await) }));
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            port,
            http,
            _until_dropped: until_dropped,
        }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn origin(&self) -> String {
        format!("http://{}", self.host())
    }

    async fn asked(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        form: &str,
    ) -> Answer {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let request = self
            .http
            .request(method, format!("{}{path}", self.origin()))
            .header("content-type", "application/x-www-form-urlencoded")
            .headers(headers)
            .body(form.to_owned());
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        Answer(status, headers, answer.text().await.unwrap())
    }

    async fn page(&self) -> String {
        let Answer(status, _, page) = self.asked(Method::GET, "/", &[], "").await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page
    }

    async fn token(&self) -> String {
        let page = self.page().await;
        let (_before, after) = page.split_once("name=\"token\" value=\"").unwrap();
        after.split('"').next().unwrap().to_owned()
    }
}

const STOP: &str = "/machines/db/stop";

#[tokio::test]
async fn a_foreign_name_gets_nothing_at_all() {
    let served = Served::begin().await;
    for path in ["/", "/events", "/page.js", "/nowhere"] {
        let rebound = [("host", "rebound.example:8430")];
        let Answer(status, headers, body) = served.asked(Method::GET, path, &rebound, "").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(
            body.contains("answers to 127.0.0.1 and localhost only"),
            "{body}"
        );
        assert!(headers.contains_key("content-security-policy"));
    }
}

#[tokio::test]
async fn a_change_takes_our_own_page_and_the_token_of_this_process() {
    let served = Served::begin().await;
    let (origin, token) = (served.origin(), served.token().await);
    let form = format!("token={token}");
    let ours = [
        ("origin", origin.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    let foreign = [
        ("origin", "http://elsewhere.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
    let table: [Row<'_>; 5] = [
        (&[], &form, "this page's own forms"),
        (&foreign, &form, "another site sent this request"),
        (&[("origin", "null")], &form, "this page's own forms"),
        (&ours, "", "reload the page"),
        (&ours, "token=made-up", "reload the page"),
    ];
    for (headers, form, words) in table {
        let Answer(status, _, body) = served.asked(Method::POST, STOP, headers, form).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{headers:?} {form}");
        assert!(body.contains(words), "{body}");
    }
    assert!(
        !served.page().await.contains("stop db"),
        "something was begun"
    );

    let Answer(status, headers, _) = served.asked(Method::POST, STOP, &ours, &form).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(headers["location"], "/#outcome-title");
    assert!(served.page().await.contains("stop db"));
}

#[tokio::test]
async fn no_answer_invites_anybody_in() {
    let served = Served::begin().await;
    let foreign = [("origin", "http://elsewhere.example")];
    for (method, path) in [
        (Method::GET, "/"),
        (Method::OPTIONS, "/"),
        (Method::OPTIONS, STOP),
    ] {
        let Answer(_, headers, _) = served.asked(method, path, &foreign, "").await;
        assert!(!headers.contains_key("access-control-allow-origin"));
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(headers["referrer-policy"], "same-origin");
        assert_eq!(headers["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn a_form_that_cannot_be_used_is_refused_in_words() {
    let served = Served::begin().await;
    let (origin, token) = (served.origin(), served.token().await);
    let ours = [("origin", origin.as_str())];
    for (path, fields, words) in [
        ("/machines/db/fork", "name=No+Name", "cannot name a machine"),
        ("/machines/db/drop", "", "there is no action"),
        ("/machines/..%2F..%2Fx/stop", "", "cannot name a machine"),
        ("/faults", "kind=slow&figure=-1", "the figure is"),
        ("/faults", "kind=explode", "unknown variant"),
    ] {
        let form = format!("token={token}&{fields}");
        let Answer(status, _, body) = served.asked(Method::POST, path, &ours, &form).await;
        assert_eq!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{path} {fields}: {body}"
        );
        assert!(body.contains(words), "{body}");
    }
    let large = format!("token={token}&name={}", "x".repeat(20_000));
    let Answer(status, ..) = served.asked(Method::POST, STOP, &ours, &large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_docker_that_does_not_answer_is_said_on_the_page() {
    let served = Served::begin().await;
    let page = served.page().await;
    assert!(page.contains("does not answer"), "{page}");
}
