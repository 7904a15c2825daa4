//! Any request, for what has no call of its own yet: routes that a newer server has, or tools that know the wire.

use reqwest::Method;
use zeroize::Zeroizing;

use crate::Client;
use crate::error::{Cause, Error};
use crate::transport::Request;

impl Client {
    /// Sends a request with this method (`GET`, `PUT`, …) to a path that begins with `/`, and gives the answer as it
    /// came. It is not repeated, unless it certainly reached no server.
    ///
    /// Not for the log streams, which never end.
    ///
    /// # Errors
    /// [`Error`]; the server's refusal is one too.
    pub async fn send(&self, method: &str, path: &str, body: Option<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Error> {
        let name = format!("{method} {path}");
        let wrong = |why: &str| Error::Answer { call: name.clone(), source: Cause::text(why) };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong("there is no such method"))?;
        if !path.starts_with('/') {
            return Err(wrong("a path begins with '/'"));
        }
        let request = match body {
            Some(body) => Request { repeatable: false, ..Request::with_body(method, path.to_owned(), body) },
            None => Request { method, repeatable: false, ..Request::get(path) },
        };
        self.accepted(&request).await.map(|answer| answer.body)
    }
}
