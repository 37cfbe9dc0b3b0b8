//! The readers of answers without a network around them: the ways in for the fuzz targets.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Answer, BODY_LIMIT, Bytes, DEADLINES, DOCUMENT, DOCUMENT_PATH, HeaderValue, Metadata, Method,
    MmdsError, Service, StatusCode, request,
};

const SERVICE: Service = Service {
    addr: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80),
    deadlines: DEADLINES,
};

/// What a body says.
pub(crate) fn document_of(body: &[u8]) -> Result<Metadata, MmdsError> {
    SERVICE.document(&Answer {
        status: StatusCode::OK,
        body: Bytes::copy_from_slice(body),
    })
}

/// What bytes say that are the answer to the request for the document.
pub(crate) async fn document_in_answer(bytes: &[u8]) -> Result<Metadata, MmdsError> {
    SERVICE.document(&answer(bytes).await?)
}

/// What they say as the answer to the request for a token.
pub(crate) async fn token_in_answer(bytes: &[u8]) -> Result<Option<HeaderValue>, MmdsError> {
    SERVICE.session_token(answer(bytes).await?)
}

async fn answer(bytes: &[u8]) -> Result<Answer, MmdsError> {
    let (ours, mut theirs) = tokio::io::duplex(bytes.len() + 1024);
    let answering = async {
        // hyper refuses an answer that is there before its request.
        let mut asked = [0; 512];
        let _read = theirs.read(&mut asked).await;
        let _written = theirs.write_all(bytes).await;
        drop(theirs);
    };
    let request = request(Method::GET, DOCUMENT_PATH);
    let exchange = SERVICE.exchange(ours, DOCUMENT, request);
    let ((), answer) = tokio::join!(answering, exchange);
    if let Ok(answer) = &answer {
        assert!(answer.body.len() <= BODY_LIMIT, "longer than the limit");
    }
    answer
}
