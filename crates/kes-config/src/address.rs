//! The address to listen on, as `address` and `probe.address` write it.

use crate::error::{Error, ErrorKind, Place};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An IP address and a port, written `[ip]:port` (config.md 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    ip: Option<IpAddr>,
    port: u16,
}

impl Address {
    pub(crate) const DEFAULT: &'static str = "0.0.0.0:7373";

    /// Reads `ip:port`. Names of hosts are refused; a port may be the name of a service.
    pub(crate) fn parse(text: &str, place: Option<Place>) -> Result<Self, Error> {
        let refuse = |message: String, hint: &str| {
            let error = Error::new(ErrorKind::Invalid, message).hint(hint);
            match place.clone() {
                Some(place) => error.at(place),
                None => error,
            }
        };
        let (host, port) = split(text).map_err(|why| {
            refuse(
                format!("address {text}: {why}"),
                "write an IP address and a port, such as 0.0.0.0:7373 or [::1]:7373",
            )
        })?;
        let ip = match host {
            "" => None,
            host => Some(host.parse().map_err(|_| {
                let hint = "write an IP address of this machine; 0.0.0.0, or nothing before the colon, is all of them";
                refuse(format!("'{host}' is not a valid IP address"), hint)
            })?),
        };
        let port = port_number(port.trim())
            .map_err(|why| refuse(format!("listen tcp: {why}"), "write a number up to 65535"))?;
        Ok(Self { text: text.to_owned(), ip, port })
    }

    /// The address as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The IP address; `None` for all of the machine, both IPv4 and IPv6.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The port; 0 lets the system choose.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What to bind. All addresses are `[::]`, which also takes IPv4 where a socket is not told otherwise.
    #[must_use]
    pub fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), self.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Host and port, or the words of Go's net package.
fn split(text: &str) -> Result<(&str, &str), &'static str> {
    const MISSING_PORT: &str = "missing port in address";
    const MANY_COLONS: &str = "too many colons in address";
    let colon = text.rfind(':').ok_or(MISSING_PORT)?;
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let end = bracketed.find(']').ok_or("missing ']' in address")? + 1;
            match text[end + 1..].strip_prefix(':') {
                Some(_) if end + 1 == colon => (&text[1..end], &text[end..]),
                Some(_) => return Err(MANY_COLONS),
                None => return Err(MISSING_PORT),
            }
        }
        None => (&text[..colon], text),
    };
    if !text.starts_with('[') && host.contains(':') {
        return Err(MANY_COLONS);
    }
    let after_bracket = text.strip_prefix('[').unwrap_or(text);
    if after_bracket.contains('[') {
        return Err("unexpected '[' in address");
    }
    if rest.trim_start_matches(']').contains(']') || !text.starts_with('[') && rest.contains(']') {
        return Err("unexpected ']' in address");
    }
    Ok((host, &text[colon + 1..]))
}

fn port_number(port: &str) -> Result<u16, String> {
    if port.is_empty() {
        return Ok(0);
    }
    let digits = port.strip_prefix(['+', '-']).unwrap_or(port);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return port.parse().map_err(|_| format!("address {port}: invalid port"));
    }
    service(port).ok_or_else(|| format!("lookup tcp/{port}: unknown port"))
}

/// The port of a service by its name, from the system's list; images without one still know the web's.
fn service(name: &str) -> Option<u16> {
    let listed = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (service, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        (service == name || words.any(|alias| alias == name)).then(|| port.parse().ok())?
    };
    let list = std::fs::read_to_string("/etc/services").unwrap_or_default();
    list.lines().find_map(listed).or(match name {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_be_listened_on() {
        let cases = [
            (":7373", None, 7373),
            (":", None, 0),
            ("[]:1", None, 1),
            ("127.0.0.1:", Some("127.0.0.1"), 0),
            ("[::]:7373", Some("::"), 7373),
            ("[::1]:http", Some("::1"), 80),
            ("[127.0.0.1]:+80", Some("127.0.0.1"), 80),
            ("127.0.0.1:007373", Some("127.0.0.1"), 7373),
            ("127.0.0.1: 80", Some("127.0.0.1"), 80),
        ];
        for (text, ip, port) in cases {
            let address = Address::parse(text, None).unwrap();
            assert_eq!((address.ip().map(|ip| ip.to_string()).as_deref(), address.port()), (ip, port), "{text}");
            assert_eq!(address.to_string(), text);
        }
        assert_eq!(Address::parse(":1", None).unwrap().socket_addr().to_string(), "[::]:1");
    }

    #[test]
    fn refusals_have_the_old_texts() {
        let cases = [
            ("127.0.0.1", "address 127.0.0.1: missing port in address"),
            ("[::1]", "address [::1]: missing port in address"),
            ("[a]b:1", "address [a]b:1: missing port in address"),
            ("::1:17373", "address ::1:17373: too many colons in address"),
            ("[::1]:1:2", "address [::1]:1:2: too many colons in address"),
            ("[::1", "address [::1: missing ']' in address"),
            ("a]:1", "address a]:1: unexpected ']' in address"),
            ("a[:1", "address a[:1: unexpected '[' in address"),
            ("localhost:7373", "'localhost' is not a valid IP address"),
            ("1.2.3:1", "'1.2.3' is not a valid IP address"),
            ("01.2.3.4:1", "'01.2.3.4' is not a valid IP address"),
            (" 127.0.0.1:1", "' 127.0.0.1' is not a valid IP address"),
            ("[fe80::1%eth0]:1", "'fe80::1%eth0' is not a valid IP address"),
            ("127.0.0.1:99999", "listen tcp: address 99999: invalid port"),
            ("127.0.0.1:-1", "listen tcp: address -1: invalid port"),
            ("127.0.0.1:no-such-service", "listen tcp: lookup tcp/no-such-service: unknown port"),
            ("127.0.0.1:0x10", "listen tcp: lookup tcp/0x10: unknown port"),
        ];
        for (text, message) in cases {
            assert_eq!(Address::parse(text, None).unwrap_err().message(), message);
        }
    }
}
