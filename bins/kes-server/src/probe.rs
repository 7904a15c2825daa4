//! The other side of `probe.address`: a question that a container without a shell can ask about itself.
//!
//! HTTP as far as needed and no further: one GET, and the status of its answer.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use kes_config::File;

use crate::assemble::words;

/// For the connection, and again for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const ANSWER: u64 = 64 << 10;

/// Why a probe failed.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeError {
    /// The question itself is wrong.
    Usage(String),
    /// Nobody answers.
    Unreachable(String),
    /// The server answers that it is not ready, or not alive.
    NotReady(String),
}

impl std::fmt::Display for ProbeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Usage(text) | Self::Unreachable(text) | Self::NotReady(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for ProbeError {}

/// Asks a running server's `probe.address`: `[http://]host:port[/path]`. Without a path `/ready`.
///
/// # Errors
/// [`ProbeError`], unless the answer is 200.
pub fn probe(url: &str) -> Result<(), ProbeError> {
    let (host, path) = split(url)?;
    let unreachable = |error: std::io::Error| {
        let why = if error.raw_os_error().is_some() { words(&error) } else { error.to_string() };
        ProbeError::Unreachable(format!("probe http://{host}{path}: {why}"))
    };
    let addresses = host.to_socket_addrs().map_err(unreachable)?;
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => {
                let (status, body) = ask(socket, host, path).map_err(unreachable)?;
                return match status {
                    200 => Ok(()),
                    status => Err(ProbeError::NotReady(format!("probe http://{host}{path}: {status} {}", body.trim()))),
                };
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// Asks the server that runs with this configuration file.
pub(crate) fn probe_of(config: &Path) -> Result<(), ProbeError> {
    let usage = |text: String| ProbeError::Usage(text);
    let file = File::read(config).map_err(|error| usage(error.to_string()))?;
    let config = file.load().map_err(|error| usage(error.to_string()))?.config;
    let address = config.probe.address.as_ref().ok_or_else(|| {
        usage("the configuration has no 'probe.address'\nhint: name an address, as in '--probe HOST:PORT'".to_owned())
    })?;
    probe(&reachable(address.socket_addr()).to_string())
}

/// A listener on all addresses is on the loopback one too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Host with port, and path.
fn split(url: &str) -> Result<(&str, &str), ProbeError> {
    let usage = |why| {
        ProbeError::Usage(format!("probe '{url}': {why}\nhint: write http://HOST:PORT, as 'probe.address' has it"))
    };
    if url.starts_with("https://") {
        return Err(usage("the listener of probes speaks plain HTTP"));
    }
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port || url.contains(char::is_whitespace) || url.contains(char::is_control) {
        return Err(usage("no host and port"));
    }
    Ok((host, if path == "/" { "/ready" } else { path }))
}

fn ask(mut socket: TcpStream, host: &str, path: &str) -> std::io::Result<(u16, String)> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    socket.take(ANSWER).read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("the answer is no HTTP"))?;
    Ok((status, text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_read_as_operators_write_them() {
        for (url, host, path) in [
            ("127.0.0.1:7374", "127.0.0.1:7374", "/ready"),
            ("http://localhost:7374/", "localhost:7374", "/ready"),
            ("http://[::1]:7374/live", "[::1]:7374", "/live"),
        ] {
            assert_eq!(split(url), Ok((host, path)), "{url}");
        }
        for url in ["", "localhost", "https://localhost:7374", "http://localhost/ready", "a b:1", "a:1/\r\nX: y"] {
            assert!(matches!(split(url), Err(ProbeError::Usage(_))), "{url}");
        }
        let all = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(
            (all("0.0.0.0:1"), all("[::]:1"), all("10.0.0.1:1")),
            ("127.0.0.1:1".into(), "[::1]:1".into(), "10.0.0.1:1".into())
        );
    }

    #[test]
    fn only_200_is_well() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Ok(())),
            (
                "HTTP/1.1 504 Gateway Timeout\r\n\r\n{\"message\":\"key store is not reachable\"\n}",
                Err("504 {\"message\":\"key store is not reachable\"\n}"),
            ),
            ("SSH-2.0-x\r\n", Err("the answer is no HTTP")),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = std::thread::spawn(move || {
                let (mut socket, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let length = socket.read(&mut request).unwrap();
                socket.write_all(answer.as_bytes()).unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            });
            let outcome = probe(&address).map_err(|error| error.to_string());
            let expected = expected.map_err(|text| format!("probe http://{address}/ready: {text}"));
            assert_eq!(outcome, expected);
            assert!(server.join().unwrap().starts_with("GET /ready HTTP/1.1\r\n"));
        }
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        assert!(matches!(probe(&nobody), Err(ProbeError::Unreachable(_))));
    }
}
