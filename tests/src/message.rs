//! Requests and responses, independent of the HTTP version.

use std::fmt::Write as _;

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// None, and no header that speaks of one; on HTTP/2 the headers end the stream.
    None,
    /// With its length declared.
    Sized(Vec<u8>),
    /// Without length: chunked on HTTP/1.1, no content-length on HTTP/2.
    Unsized(Vec<u8>),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, sent as it is.
    pub method: String,
    /// The request target, sent as it is on HTTP/1.
    pub target: String,
    /// Further headers; one named `Host` replaces the usual one.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: Body::None }
    }

    /// `GET`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// `PUT` with a body of declared length.
    pub fn put(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("PUT", target).body(Body::Sized(body.into()))
    }

    /// The same with this body.
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// The bytes on an HTTP/1 connection; `version` is `HTTP/1.1` or `HTTP/1.0`.
    pub fn bytes(&self, authority: &str, version: &str) -> Vec<u8> {
        let mut head = format!("{} {} {version}\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let _ = write!(head, "Host: {authority}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        match &self.body {
            Body::None => head += "\r\n",
            Body::Sized(body) => {
                let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
            }
            Body::Unsized(_) => head += "Transfer-Encoding: chunked\r\n\r\n",
        }
        let mut bytes = head.into_bytes();
        match &self.body {
            Body::None => {}
            Body::Sized(body) => bytes.extend_from_slice(body),
            Body::Unsized(body) => {
                for chunk in body.chunks(65536) {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        bytes
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// All headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its transfer encoding.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// A string member of the JSON body.
    ///
    /// # Panics
    /// If there is none.
    pub fn member(&self, name: &str) -> String {
        self.json()[name]
            .as_str()
            .unwrap_or_else(|| panic!("no string {name}: {} {}", self.status, self.text()))
            .to_owned()
    }

    /// Whether the server said that it closes the connection.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}
