//! Reads a case of the golden table: text in which every byte that is sent can be seen.

use std::fmt;
use std::fs;
use std::path::Path;

/// One file of the table.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) serve: String,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) then: End,
    pub(crate) here_then: Option<End>,
    pub(crate) why: Option<String>,
}

/// What is sent, and what comes back from Firecracker and, where it differs, from here.
#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) request: Text,
    pub(crate) firecracker: Text,
    pub(crate) here: Option<Text>,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    Closed,
    Reset,
}

/// Bytes and holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Token,
    ExpiredToken,
    Base64(usize),
}

const TOKEN_LEN: usize = 48;

impl Case {
    pub(crate) fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a name").to_string_lossy().into();
        let text = fs::read_to_string(path).expect("a case is text");
        let mut case = Self {
            name,
            serve: String::new(),
            exchanges: Vec::new(),
            then: End::Open,
            here_then: None,
            why: None,
        };
        for line in text.lines() {
            case.add(line);
        }
        assert!(!case.exchanges.is_empty(), "{}: nothing is sent", case.name);
        case
    }

    fn add(&mut self, line: &str) {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        match mark {
            "" | "#" => {}
            "serve:" => self.serve = rest.to_owned(),
            "then:" => self.then = End::parse(rest),
            "here:" => self.here_then = Some(End::parse(rest)),
            "why:" => self.why = Some(rest.to_owned()),
            ">" => self.request().push(rest),
            "<" => self.exchange().firecracker.push(rest),
            "~" => self.exchange().here.get_or_insert_default().push(rest),
            other => panic!("{}: what is {other:?}?", self.name),
        }
    }

    /// A request line after an answer begins the next exchange.
    fn request(&mut self) -> &mut Text {
        let answered = self
            .exchanges
            .last()
            .is_none_or(|last| !last.firecracker.0.is_empty() || last.here.is_some());
        if answered {
            self.exchanges.push(Exchange::default());
        }
        &mut self.exchange().request
    }

    fn exchange(&mut self) -> &mut Exchange {
        self.exchanges.last_mut().expect("a request comes first")
    }
}

impl End {
    fn parse(text: &str) -> Self {
        match text {
            "open" => Self::Open,
            "closed" => Self::Closed,
            "reset" => Self::Reset,
            other => panic!("no end is called {other:?}"),
        }
    }
}

impl Text {
    /// Adds a line of the file. Its own line end is not part of the bytes; `\r\n` is.
    fn push(&mut self, line: &str) {
        let mut rest = line;
        while let Some((before, hole)) = rest.split_once('{') {
            let (hole, after) = match hole.split_once('}') {
                Some((inside, after)) if !inside.contains('"') => (inside, after),
                _ => break,
            };
            self.bytes_of(before);
            self.hole(hole);
            rest = after;
        }
        self.bytes_of(rest);
    }

    fn hole(&mut self, hole: &str) {
        if let Some((byte, count)) = hole.split_once('*') {
            let count = count.parse().expect("a count");
            return self.bytes_of(&byte.repeat(count));
        }
        self.0.push(match hole {
            "token" => Piece::Token,
            "expired" => Piece::ExpiredToken,
            "48 of base64" => Piece::Base64(TOKEN_LEN),
            other => panic!("no hole is called {other:?}"),
        });
    }

    fn bytes_of(&mut self, text: &str) {
        let bytes = text.replace("\\r", "\r").replace("\\n", "\n").into_bytes();
        match self.0.last_mut() {
            Some(Piece::Bytes(last)) => last.extend(bytes),
            _ => self.0.push(Piece::Bytes(bytes)),
        }
    }

    pub(crate) fn bytes(&self, token: &str, expired: &str) -> Vec<u8> {
        let bytes = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.clone(),
            Piece::Token => token.into(),
            Piece::ExpiredToken => expired.into(),
            Piece::Base64(_) => panic!("a request has no wildcard"),
        };
        self.0.iter().flat_map(bytes).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(Piece::len).sum()
    }

    pub(crate) fn matches(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        for piece in &self.0 {
            let Some((head, tail)) = rest.split_at_checked(piece.len()) else {
                return false;
            };
            if !piece.matches(head) {
                return false;
            }
            rest = tail;
        }
        rest.is_empty()
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Token | Self::ExpiredToken => TOKEN_LEN,
            Self::Base64(len) => *len,
        }
    }

    fn matches(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(expected) => expected == bytes,
            Self::Base64(_) => bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)),
            Self::Token | Self::ExpiredToken => panic!("an answer quotes no token"),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => write!(f, "{}", bytes.escape_ascii())?,
                hole => write!(f, "{{{hole:?}}}")?,
            }
        }
        Ok(())
    }
}
