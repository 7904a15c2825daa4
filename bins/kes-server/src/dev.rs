//! `--dev`: a server that is gone without a trace when it stops.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use kes_api::server::{Settings, State};
use kes_identity::{ApiKey, Certificate, KeyKind, Template, Verification};
use kes_keystore::{Cache, cache, memory};
use kes_policy::PolicySet;
use time::{Duration, OffsetDateTime};

use crate::banner;

/// Departs from upstream: there the address was `0.0.0.0:7373`, although its help promised the loopback interface.
const ADDRESS: &str = "127.0.0.1:7373";

pub(crate) struct Dev {
    pub(crate) address: SocketAddr,
    pub(crate) api_key: ApiKey,
    pub(crate) state: State,
}

pub(crate) fn assemble(addr: Option<&str>) -> anyhow::Result<Dev> {
    let address = parse(addr.unwrap_or(ADDRESS))?;
    let api_key = ApiKey::generate()?;
    let keys = Cache::new(Arc::new(memory::Store::default()), cache::Settings::default());
    let state = State::new(
        api_key.identity().as_str(),
        PolicySet::default(),
        keys,
        &certificate(address.ip())?,
        Verification::Any,
        Settings::default(),
    )?;
    Ok(Dev { address, api_key, state })
}

fn parse(text: &str) -> anyhow::Result<SocketAddr> {
    let everywhere = text.strip_prefix(':').map(|port| format!("[::]:{port}"));
    everywhere.as_deref().unwrap_or(text).parse().with_context(|| format!("address {text}: not [ip]:port"))
}

/// Departs from upstream: there the certificate had no DNS name, so that `https://localhost:7373` was refused.
fn certificate(ip: IpAddr) -> anyhow::Result<Certificate> {
    let now = OffsetDateTime::now_utc();
    let mut template = Template::new("localhost", now - Duration::HOUR, now + Duration::days(90));
    template.dns = vec!["localhost".to_owned()];
    template.ips = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    template.ips.extend(banner::reachable(ip).into_iter().filter(|ip| !ip.is_loopback()));
    Ok(Certificate::self_signed(KeyKind::EcdsaP256, &template)?)
}
