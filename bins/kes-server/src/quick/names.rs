//! What a server may be called by its clients.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;

use crate::banner;

/// This machine's name, if a certificate can hold it.
pub(crate) fn host_name() -> Option<String> {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().ok()?.trim_end_matches('.').to_ascii_lowercase();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_name = !name.is_empty() && name.len() < 254 && name.bytes().all(fits) && name.parse::<IpAddr>().is_err();
    is_name.then_some(name)
}

/// The addresses at which a server that listens at `[ip]:port` can be reached.
pub(crate) fn of_address(address: &str) -> anyhow::Result<Vec<IpAddr>> {
    Ok(banner::reachable(parse(address)?.ip()))
}

/// `[ip]:port`; nothing before the colon is all addresses.
pub(super) fn parse(text: &str) -> anyhow::Result<SocketAddr> {
    let everywhere = text.strip_prefix(':').map(|port| format!("[::]:{port}"));
    everywhere.as_deref().unwrap_or(text).parse().with_context(|| format!("address {text}: not [ip]:port"))
}

/// Names of a new certificate: the local ones, the host's, those of the address, then `more`; each once.
pub(super) fn of_server(address: &str, more: &[String]) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let addresses = of_address(address)?;
    let found = host_name().into_iter().chain(addresses.iter().map(ToString::to_string)).chain(more.iter().cloned());
    for name in found {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_has_every_name_once() {
        let more = ["kes.example.net".to_owned(), "::1".to_owned(), "10.0.0.9".to_owned()];
        let names = of_server("10.0.0.9:7373", &more).unwrap();
        assert_eq!(names[..3], ["localhost", "127.0.0.1", "::1"]);
        assert!(names.ends_with(&["10.0.0.9".to_owned(), "kes.example.net".to_owned()]), "{names:?}");
        assert!(of_server("localhost:7373", &[]).is_err());
        assert!(of_server(":7373", &[]).is_ok());
    }
}
