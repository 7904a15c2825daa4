//! Stores that speak plain HTTP: Fortanix, Gemalto, Entrust, and those of older releases.

use super::vault::check_pair;
use super::{Backend, ClientTls, Endpoint, Missing};
use crate::secret::Secret;
use crate::section::{Refused, Section};

/// `keystore.fortanix.sdkms`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fortanix {
    /// The server's URL.
    pub endpoint: Endpoint,
    /// The group of new keys; `None`: the application's default group.
    pub group_id: Option<String>,
    /// The application's API key.
    pub key: Secret,
    /// Roots instead of the system's.
    pub tls: ClientTls,
}

pub(super) fn read_fortanix(section: &Section<'_>) -> Result<Backend, Refused> {
    let endpoint = section.filled_string("endpoint").map(Endpoint::new);
    let group_id = section.filled_string("group_id");
    let credentials = section.section("credentials");
    let key = credentials.secret("key");
    let tls = ClientTls::roots_only(&section.section("tls"));

    let missing = |section| Missing { section, prefix: "kesconf: invalid fortanix SDKMS keystore" };
    let endpoint = missing(section).need(endpoint, "endpoint", "no endpoint specified");
    let key = missing(&credentials).need(key, "key", "no API key specified");
    let (endpoint, key) = (endpoint?, key?);
    Ok(Backend::Fortanix(Fortanix { endpoint, group_id, key, tls }))
}

/// `keystore.gemalto.keysecure`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Gemalto {
    /// The server's URL.
    pub endpoint: Endpoint,
    /// The refresh token.
    pub token: Secret,
    /// The domain; `None`: the root domain.
    pub domain: Option<String>,
    /// Roots instead of the system's.
    pub tls: ClientTls,
}

pub(super) fn read_gemalto(section: &Section<'_>) -> Result<Backend, Refused> {
    let endpoint = section.filled_string("endpoint").map(Endpoint::new);
    let credentials = section.section("credentials");
    let (token, domain) = (credentials.secret("token"), credentials.filled_string("domain"));
    let tls = ClientTls::roots_only(&section.section("tls"));

    let missing = |section| Missing { section, prefix: "kesconf: invalid gemalto keysecure keystore" };
    let endpoint = missing(section).need(endpoint, "endpoint", "no endpoint specified");
    let token = missing(&credentials).need(token, "token", "no token specified");
    let (endpoint, token) = (endpoint?, token?);
    Ok(Backend::Gemalto(Gemalto { endpoint, token, domain, tls }))
}

/// `keystore.entrust.keycontrol`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Entrust {
    /// The server's URL.
    pub endpoint: Endpoint,
    /// The vault.
    pub vault_id: String,
    /// The box in the vault.
    pub box_id: String,
    /// The user.
    pub username: String,
    /// The user's password.
    pub password: Secret,
    /// Roots beside the system's.
    pub tls: ClientTls,
}

pub(super) fn read_entrust(section: &Section<'_>) -> Result<Backend, Refused> {
    let endpoint = section.filled_string("endpoint").map(Endpoint::new);
    let (vault_id, box_id) = (section.filled_string("vault_id"), section.filled_string("box_id"));
    let credentials = section.section("credentials");
    let (username, password) = (credentials.filled_string("username"), credentials.secret("password"));
    let tls = ClientTls::roots_only(&section.section("tls"));

    let missing = |section| Missing { section, prefix: "kesconf: invalid Entrust KeyControl keystore" };
    let endpoint = missing(section).need(endpoint, "endpoint", "no endpoint specified");
    let vault_id = missing(section).need(vault_id, "vault_id", "no vault ID specified");
    let box_id = missing(section).need(box_id, "box_id", "no box ID specified");
    // Departs from upstream: it crashes if there are no credentials at all.
    let username = missing(&credentials).need(username, "username", "no username specified");
    let password = missing(&credentials).need(password, "password", "no password specified");
    let (endpoint, vault_id, box_id) = (endpoint?, vault_id?, box_id?);
    let (username, password) = (username?, password?);
    Ok(Backend::Entrust(Entrust { endpoint, vault_id, box_id, username, password, tls }))
}

/// `keystore.generic`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Generic {
    /// The plug-in's URL.
    pub endpoint: Endpoint,
    /// TLS towards it; `key` and `cert` are both there or neither is.
    pub tls: ClientTls,
}

pub(super) fn read_generic(section: &Section<'_>) -> Result<Backend, Refused> {
    const PREFIX: &str = "kesconf: invalid generic keystore";
    let endpoint = section.filled_string("endpoint").map(Endpoint::new);
    let tls_section = section.block("tls");
    let tls = ClientTls::read(&tls_section);

    let endpoint = Missing { section, prefix: PREFIX }.need(endpoint, "endpoint", "no endpoint specified");
    check_pair(&tls, &tls_section, PREFIX)?;
    Ok(Backend::Generic(Generic { endpoint: endpoint?, tls }))
}

/// `keystore.kes`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Kes {
    /// The servers' URLs, at least one.
    pub endpoints: Vec<Endpoint>,
    /// The enclave. Default empty.
    pub enclave: String,
    /// TLS towards them; `key` and `cert` are there.
    pub tls: ClientTls,
}

pub(super) fn read_kes(section: &Section<'_>) -> Result<Backend, Refused> {
    let endpoints = section.texts("endpoint");
    let endpoints: Vec<_> = endpoints.iter().filter(|text| !text.as_str().is_empty()).collect();
    let endpoints: Vec<_> = endpoints.into_iter().map(|text| Endpoint::new(text.as_str())).collect();
    let enclave = section.string("enclave");
    let tls_section = section.section("tls");
    let tls = ClientTls::read(&tls_section);

    let missing = |section| Missing { section, prefix: "edge: invalid kes keystore" };
    let any = missing(section).need(endpoints.first(), "endpoint", "no endpoint specified").map(drop);
    let key = missing(&tls_section).need(tls.key.as_ref(), "key", "no TLS private key specified").map(drop);
    let cert = missing(&tls_section).need(tls.cert.as_ref(), "cert", "no TLS certificate specified").map(drop);
    any.and(key).and(cert)?;
    Ok(Backend::Kes(Kes { endpoints, enclave, tls }))
}
