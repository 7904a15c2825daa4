//! HTTP/1 over TLS with exact bytes in both directions.

use crate::{Client, Fault, Request, Response};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// One connection. Reads give up after ten seconds unless told otherwise.
pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    authority: String,
    unread: Vec<u8>,
}

impl Connection {
    /// Connects and completes the client's side of the handshake.
    ///
    /// # Errors
    /// The alert, if the server refused. In TLS 1.3 the client has finished before the server looks at its certificate: then the first
    /// read fails instead.
    pub fn open(address: SocketAddr, client: &Client) -> Result<Self, Fault> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.set_write_timeout(Some(Duration::from_secs(10)))?;
        let name = ServerName::try_from("localhost").expect("a host name");
        let session =
            ClientConnection::new(client.config(), name).map_err(|error| Fault::Protocol(error.to_string()))?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream, authority: address.to_string(), unread: Vec::new() })
    }

    /// Other patience for reads.
    pub fn patience(&mut self, limit: Duration) -> &mut Self {
        self.stream.sock.set_read_timeout(Some(limit)).expect("a limit above zero");
        self
    }

    /// The application protocol that the server chose.
    pub fn protocol(&self) -> Option<String> {
        self.stream.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// The certificate that the server presented.
    pub fn server_certificate(&self) -> Option<Vec<u8>> {
        self.stream.conn.peer_certificates().and_then(|chain| chain.first()).map(|certificate| certificate.to_vec())
    }

    /// Sends a request as HTTP/1.1 and reads its response, skipping `100 Continue`.
    ///
    /// # Errors
    /// What kept the response from being complete.
    pub fn exchange(&mut self, request: &Request) -> Result<Response, Fault> {
        self.exchange_as(request, "HTTP/1.1")
    }

    /// [`Connection::exchange`] with another version in the request line.
    ///
    /// # Errors
    /// As there.
    pub fn exchange_as(&mut self, request: &Request, version: &str) -> Result<Response, Fault> {
        let bytes = request.bytes(&self.authority, version);
        // A server that answers before it has read everything may close; its answer counts, not our broken pipe.
        let sent = self.send(&bytes);
        let answer = self.read(request.method == "HEAD");
        match (sent, answer) {
            (Err(fault), Err(Fault::Closed)) => Err(fault),
            (_, answer) => answer,
        }
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// What the socket or TLS said.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.stream.write_all(bytes)?;
        self.stream.flush()?;
        Ok(())
    }

    /// Reads one final response; `head` tells that its request had the method HEAD.
    ///
    /// # Errors
    /// What kept it from being complete.
    pub fn read(&mut self, head: bool) -> Result<Response, Fault> {
        loop {
            let mut response = self.read_head()?;
            if response.status == 100 {
                continue;
            }
            response.body = self.read_body(&response, head)?;
            return Ok(response);
        }
    }

    /// Reads a status line and headers, `100 Continue` included, and leaves the body on the connection.
    ///
    /// # Errors
    /// What kept it from being complete.
    pub fn read_head(&mut self) -> Result<Response, Fault> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            if self.fill()? == 0 {
                return Err(Fault::Closed);
            }
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..end + 4);
        let malformed = || Fault::Protocol(format!("no HTTP/1 response: {head}"));
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().splitn(3, ' ');
        let version = first.next().filter(|version| version.starts_with("HTTP/1.")).ok_or_else(malformed)?.to_owned();
        let status = first.next().and_then(|code| code.parse().ok()).ok_or_else(malformed)?;
        let headers = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())));
        let headers = headers.collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
        Ok(Response { version, status, headers, body: Vec::new() })
    }

    /// Reads at least one byte of a body that streams; `None` once it has ended. For chunked bodies only.
    ///
    /// # Errors
    /// What kept the chunk from being complete.
    pub fn read_chunk(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let line = self.read_line()?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| Fault::Protocol(format!("no chunk size: {line}")))?;
        if size == 0 {
            while !self.read_line()?.is_empty() {} // trailers
            return Ok(None);
        }
        let chunk = self.read_exactly(size)?;
        self.read_exactly(2)?;
        Ok(Some(chunk))
    }

    /// Reads until the server closes; answers what came.
    ///
    /// # Errors
    /// [`Fault::Timeout`] when it did not close in time, or an alert.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            match self.fill() {
                Ok(0) | Err(Fault::Closed) => return Ok(std::mem::take(&mut self.unread)),
                Ok(_) => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Hangs up without any goodbye of TLS.
    pub fn hang_up(self) {
        // An error means that the server was first.
        let _ = self.stream.sock.shutdown(Shutdown::Both);
    }

    fn read_body(&mut self, response: &Response, head: bool) -> Result<Vec<u8>, Fault> {
        if head || response.status == 304 || response.status == 204 {
            return Ok(Vec::new());
        }
        if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| Fault::Protocol(format!("content-length {length}")))?;
            return self.read_exactly(length);
        }
        let mut body = Vec::new();
        if response.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.read_chunk()? {
                body.extend_from_slice(&chunk);
            }
            return Ok(body);
        }
        self.read_to_end()
    }

    fn read_line(&mut self) -> Result<String, Fault> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 2);
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err(Fault::Closed);
            }
        }
    }

    /// Reads so many bytes of a body.
    ///
    /// # Errors
    /// What kept them from coming.
    pub fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>, Fault> {
        while self.unread.len() < length {
            if self.fill()? == 0 {
                return Err(Fault::Closed);
            }
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn fill(&mut self) -> Result<usize, Fault> {
        let mut buffer = [0; 16384];
        let count = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
