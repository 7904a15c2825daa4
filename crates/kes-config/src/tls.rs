//! `admin` and `tls`: who the administrator is, and how the server shows itself and looks at others. No file is opened.

use crate::Secret;
use crate::section::{Refused, Section, Text};
use kes_identity::Identity;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The administrator's identity as written: `admin.identity`.
///
/// A text that is no hash (`disabled`, `_`) matches nobody: there is no administrator then. Such a text is legal even if
/// it breaks the rule for identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin(Arc<str>);

impl Admin {
    /// The text, which keys created at the start name as their creator.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a mistyped identity rather than a word: digits of a hash, but not 64 in lower case.
    fn looks_like_hash(&self) -> bool {
        self.0.len() >= 32 && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// The identity, if somebody can have it: 64 lower-case hex digits.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.0.parse().ok().filter(Identity::is_hash)
    }
}

impl fmt::Display for Admin {
    /// As the banner shows it: the identity, or `<disabled>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.as_str();
        match text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => f.write_str(text),
            false => f.write_str("<disabled>"),
        }
    }
}

/// `flag` is the value of `--root`, which sets what the file leaves out (decision 37).
pub(crate) fn read_admin(root: &Section<'_>, flag: Option<&str>) -> Result<Admin, Refused> {
    let section = root.section("admin");
    let written = section.filled("identity");
    let text = match (written, flag) {
        (Some(text), Some(flag)) if text.as_str() != flag => {
            let error = text.error("kesconf: invalid admin identity: '--root' and 'admin.identity' differ");
            return Err(section.refuse(error.hint("leave out '--root': the file names the administrator")));
        }
        (Some(text), _) => text.as_str().to_owned(),
        (None, Some(flag)) if !flag.is_empty() => {
            let hint = "write 'admin.identity' into the file and leave out '--root'";
            root.context().warn(
                section.place("identity"),
                "the administrator comes from '--root'",
                Some(hint.to_owned()),
            );
            flag.to_owned()
        }
        (None, _) => {
            let error = section.error("identity", "kesconf: invalid admin identity: no admin identity");
            let hint =
                "write 'admin: {identity: <identity>}', or 'identity: disabled' for a server without administrator";
            return Err(section.refuse(error.hint(hint)));
        }
    };
    let admin = Admin(text.into());
    if admin.identity().is_none() && admin.looks_like_hash() {
        let message = format!("the administrator's identity '{admin}' matches nobody", admin = admin.as_str());
        root.context().warn(section.place("identity"), message, Some(HASH.to_owned()));
    }
    Ok(admin)
}

/// The shape of the stateful servers between v0.20 and 2023-08-19 (config.md 9) is refused as a whole.
///
/// The first line is that of any file without administrator, which is what HEAD says.
pub(crate) fn check_stateful(root: &Section<'_>) -> Result<(), Refused> {
    let Some(key) = root.keys().find(|key| matches!(*key, "system" | "enclave" | "unseal")) else { return Ok(()) };
    if root.section("admin").raw("identity").is_some() {
        return Ok(()); // then it is an unknown key like others
    }
    let text = "kesconf: invalid admin identity: no admin identity";
    let error = root.error(key, text).hint(
        "this is a file for `kes init` and the stateful server of 2022 and 2023, which no longer exist: write a file for \
         `kes server --config` with 'admin.identity', 'tls', 'policy' (what stood in 'enclave.<name>.policy') and \
         'keystore'; only that server can read the keys in its folder",
    );
    Err(root.refuse(error))
}

/// Whether clients must show a certificate that somebody vouches for: `tls.auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Any certificate will do, also a self-signed one. The default.
    Off,
    /// The certificate must chain to the system's roots or `tls.ca`.
    On,
}

/// `tls`. The paths are as written; relative ones begin at the working directory.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tls {
    /// The PEM file with the private key.
    pub key: PathBuf,
    /// The PEM file with the certificate chain.
    pub cert: PathBuf,
    /// The password of the private key.
    pub password: Option<Secret>,
    /// Whether client certificates are verified.
    pub auth: ClientAuth,
    /// A file or directory with roots beside the system's.
    pub ca: Option<PathBuf>,
    /// Who may speak for others.
    pub proxy: Proxy,
    /// The authority that renews `cert` before it expires.
    pub renew: Option<Renew>,
}

/// `tls.renew`: an authority of one's own, whose key lies beside the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renew {
    /// The PEM file with the authority's certificate.
    pub ca: PathBuf,
    /// The PEM file with the authority's private key.
    pub key: PathBuf,
}

/// `tls.proxy`: peers that pass on the certificates of their own clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proxy {
    /// The proxies. Empty: there are none, and no header is believed.
    pub identities: Vec<Identity>,
    /// The header with the client's certificate, usually `X-Tls-Client-Cert`.
    pub header_cert: Option<String>,
    /// Whether a forwarded certificate may be the administrator's. Default off.
    pub admin: bool,
}

/// The section, and the identities of proxies as they are written.
pub(crate) struct Draft {
    pub(crate) tls: Result<Tls, Refused>,
    pub(crate) proxies: Vec<Text>,
}

pub(crate) fn read(root: &Section<'_>) -> Draft {
    let section = root.section("tls");
    let (key, cert) = (section.filled("key"), section.filled("cert"));
    let (password, ca) = (section.secret("password"), section.filled_string("ca").map(PathBuf::from));
    let auth = section.text("auth");
    let proxy = section.section("proxy");
    let proxies = proxy.texts("identities");
    let header = proxy.section("header").filled_string("cert");
    let admin = proxy.switch("admin").is_some_and(|admin| admin.value);
    let renew = section.block("renew");
    let (renew_ca, renew_key) = (renew.filled_string("ca"), renew.filled_string("key"));

    let file = |file: Option<Text>, key: &str, missing: &str| match file {
        Some(path) => Ok(PathBuf::from(path.as_str())),
        None => {
            let error = section.error(key, format!("kesconf: invalid tls config: {missing}"));
            let hint = format!("write 'tls.{key}: <path of a PEM file>'; `kes identity new` makes such files");
            Err(section.refuse(error.hint(hint)))
        }
    };
    let key = file(key, "key", "no private key");
    let cert = file(cert, "cert", "no certificate");
    let auth = client_auth(&section, auth);
    let identities = proxies.iter().filter_map(|text| proxy_identity(root, text)).collect();
    let header = proxy_header(&proxy, header, !proxies.is_empty());
    let renew = match (renew_ca, renew_key) {
        (Some(ca), Some(key)) => Ok(Some(Renew { ca: ca.into(), key: key.into() })),
        (None, None) => Ok(None),
        (ca, _) => {
            let missing = if ca.is_none() { "ca" } else { "key" };
            let error = renew.error(missing, format!("kesconf: invalid tls config: 'renew' without '{missing}'"));
            let hint = "name the authority's certificate and its private key, or leave out 'tls.renew'";
            Err(renew.refuse(error.hint(hint)))
        }
    };
    let tls = || {
        Ok(Tls {
            key: key?,
            cert: cert?,
            password,
            auth: auth?,
            ca,
            proxy: Proxy { identities, header_cert: header?, admin },
            renew: renew?,
        })
    };
    Draft { tls: tls(), proxies }
}

fn client_auth(section: &Section<'_>, text: Option<Text>) -> Result<ClientAuth, Refused> {
    let Some(text) = text else { return Ok(ClientAuth::Off) };
    match text.as_str().to_lowercase().as_str() {
        "" | "off" => Ok(ClientAuth::Off),
        "on" => Ok(ClientAuth::On),
        _ => {
            // Compat: the old text shows a struct of variable and value.
            let shown = format!("{{{} {}}}", text.variable.as_deref().unwrap_or_default(), text.as_str());
            let error = text.error(format!("kesconf: invalid tls config: invalid auth '{shown}'"));
            Err(section.refuse(error.hint("write on or off")))
        }
    }
}

/// The header's name, which must be a token (RFC 9110 5.6.2) where there are proxies.
fn proxy_header(section: &Section<'_>, header: Option<String>, used: bool) -> Result<Option<String>, Refused> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match header {
        Some(name) if used && !name.chars().all(token) => {
            let text = format!("kesconf: invalid tls proxy: '{name}' is not the name of a header");
            let error = section.section("header").error("cert", text);
            Err(section.refuse(error.hint("the usual name is X-Tls-Client-Cert")))
        }
        header => Ok(header),
    }
}

/// Nobody has an identity that is no hash, so such a proxy only gets a warning.
fn proxy_identity(root: &Section<'_>, text: &Text) -> Option<Identity> {
    let identity = text.as_str().parse().ok().filter(Identity::is_hash);
    if identity.is_none() {
        let message = format!("the proxy identity '{}' matches nobody", text.as_str());
        root.context().warn(text.place.clone(), message, Some(HASH.to_owned()));
    }
    identity
}

/// What to write where an identity is expected that somebody can have.
pub(crate) const HASH: &str =
    "an identity is 64 lower-case hex digits; `kes identity of <certificate or API key>` prints it";

/// Step 6 of config.md 3.
pub(crate) fn check_proxies(root: &Section<'_>, proxies: &[Text], admin: &Admin) {
    for proxy in proxies.iter().filter(|proxy| proxy.as_str() == admin.as_str()) {
        let text = format!("kesconf: invalid tls proxy: identity '{}' is already admin", proxy.as_str());
        root.refuse(proxy.error(text).hint("give the proxy a key pair of its own"));
    }
}

/// `version`, of which there is one. Step 1 of config.md 3.
pub(crate) fn check_version(root: &Section<'_>) -> Result<(), Refused> {
    const HINT: &str = "write 'version: v1', or leave it out";
    let Some(node) = root.raw("version") else { return Ok(()) };
    let text = match node.as_scalar().map(|scalar| scalar.text.as_str()) {
        Some("" | "v1") => return Ok(()),
        Some(version) => format!("edge: invalid server config version '{version}'"),
        None => format!("kesconf: invalid config version at line '{}'", node.line),
    };
    Err(root.refuse(root.error("version", text).hint(HINT)))
}
