//! The server's certificate and what it asks of its clients', read from the files that the configuration names.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use kes_config::keystore::{Backend, ClientTls, Store};
use kes_config::{ClientAuth, Config, Secret, Tls};
use kes_identity::pem::{self, Error};
use kes_identity::{Certificate, Verification, system_roots, trust};
use zeroize::Zeroizing;

/// What the server shows of itself, and whom it believes.
pub(crate) struct TlsFiles {
    pub(crate) certificate: Certificate,
    pub(crate) verification: Verification,
}

/// Makes a refusal of what the key of the configuration file says, from a text and a hint: [`Config::refuse`].
pub(crate) type Refuse<'a> = &'a dyn Fn(&str, String, &str) -> kes_config::Error;

/// Reads the certificate, its key and the roots, in this order. Every refusal names the key of the file it is about.
pub(crate) fn read(config: &Config) -> anyhow::Result<TlsFiles> {
    let refuse: Refuse<'_> = &|key, text, hint| config.refuse(key, text, hint);
    let first = |errors: Vec<kes_config::Error>| match errors.into_iter().next() {
        Some(error) => anyhow!("{error}"),
        None => anyhow!("failed to read TLS certificate"),
    };
    let certificate = certificate(&config.tls, refuse).map_err(first)?;
    let authorities = match &config.tls.ca {
        Some(path) => pem::ca_path(path).map_err(|error| anyhow!("{}", refuse_ca(refuse, &error)))?,
        None => Vec::new(),
    };
    let verification = match config.tls.auth {
        ClientAuth::Off => Verification::Any,
        ClientAuth::On => {
            let mut roots = system_roots();
            trust(&mut roots, &authorities).map_err(|error| {
                let text = format!("failed to read TLS CA certificates: {error}");
                anyhow!("{}", refuse("tls.ca", text, "name certificates of authorities"))
            })?;
            Verification::Roots(Arc::new(roots))
        }
    };
    Ok(TlsFiles { certificate, verification })
}

/// How the server shows itself to its store and to what seals it, and whom it trusts there, with the blocks' keys.
pub(crate) fn of_store(store: &Store) -> Vec<(&'static str, &ClientTls)> {
    let backend = match store.backend() {
        Backend::Vault(vault) => Some(("keystore.vault.tls", &vault.tls)),
        Backend::Azure(azure) => Some(("keystore.azure.keyvault.tls", &azure.tls)),
        Backend::Fortanix(fortanix) => Some(("keystore.fortanix.sdkms.tls", &fortanix.tls)),
        Backend::Gemalto(gemalto) => Some(("keystore.gemalto.keysecure.tls", &gemalto.tls)),
        Backend::Entrust(entrust) => Some(("keystore.entrust.keycontrol.tls", &entrust.tls)),
        Backend::Generic(generic) => Some(("keystore.generic.tls", &generic.tls)),
        Backend::Kes(kes) => Some(("keystore.kes.tls", &kes.tls)),
        _ => None,
    };
    let azure = store.seal().and_then(|seal| seal.azure.as_ref()).map(|azure| ("keystore.seal.azure.tls", &azure.tls));
    let vault = store.seal().and_then(|seal| seal.vault.as_ref()).map(|vault| ("keystore.seal.vault.tls", &vault.tls));
    backend.into_iter().chain(azure).chain(vault).collect()
}

/// The server's certificate with its key, or all that is wrong with the files, in the order of the old server.
pub(crate) fn certificate(tls: &Tls, refuse: Refuse<'_>) -> Result<Certificate, Vec<kes_config::Error>> {
    let refused = |key: &'static str| move |error: Error| refuse_file(refuse, key, &error);
    let chain = pem::read(&tls.cert).and_then(|text| pem::certificates(&text)).map_err(refused("tls.cert"));
    let key = pem::read(&tls.key)
        .map(Zeroizing::new)
        .and_then(|text| pem::private_key(&text, tls.password.as_ref().map(Secret::expose)));
    let key = key.map_err(|error| match error {
        Error::PasswordRequired | Error::WrongPassword => refused("tls.password")(error),
        error => refused("tls.key")(error),
    });
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    let certificate = Certificate::new(chain, key).map_err(|error| vec![refused("tls.key")(error)])?;
    certificate.require_names().map_err(|error| {
        let hint = "make it with `kes identity new --dns NAME --ip ADDRESS …`, or with a subjectAltName by other means";
        vec![refuse("tls.cert", format!("invalid TLS certificate: {error}"), hint)]
    })?;
    Ok(certificate)
}

fn refuse_file(refuse: Refuse<'_>, key: &str, error: &Error) -> kes_config::Error {
    refuse(key, format!("failed to read TLS certificate: {error}"), &advice(key, error))
}

/// What to do about a certificate or key file.
fn advice(key: &str, error: &Error) -> String {
    match error {
        Error::File { path, kind, .. } => file_advice(path, *kind),
        Error::ForeignBlock(label) if key == "tls.cert" => {
            format!("remove the block '{label}': the file holds certificates alone, the server's own first")
        }
        Error::ForeignBlock(label) if label == "EC PARAMETERS" => {
            "remove the block 'EC PARAMETERS': `openssl ec -in FILE -out FILE` writes the key without it".to_owned()
        }
        Error::ForeignBlock(label) => format!("remove the block '{label}': the file holds a private key"),
        Error::Empty | Error::NotPem | Error::MalformedCertificate | Error::NoPrivateKey | Error::MalformedKey => {
            let what =
                if key == "tls.cert" { "-----BEGIN CERTIFICATE-----" } else { "-----BEGIN … PRIVATE KEY-----" };
            format!("name a PEM file: its blocks begin with '{what}'")
        }
        Error::PasswordRequired => {
            "write the password here, or a reference to it such as ${KES_TLS_PASSWORD}".to_owned()
        }
        Error::WrongPassword => "write the password of the file that 'tls.key' names".to_owned(),
        Error::UnknownEncryption => {
            "encrypt it anew: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE`".to_owned()
        }
        Error::Mismatch | Error::KindMismatch => {
            "'tls.cert' must begin with the certificate that was made for this key".to_owned()
        }
        Error::UnsupportedKey => "make a new one: `kes identity new` writes Ed25519".to_owned(),
        _ => String::new(),
    }
}

/// What to do about a file or folder of roots. `error`'s text names the file only where the old server's does.
pub(crate) fn refuse_ca(refuse: Refuse<'_>, error: &Error) -> kes_config::Error {
    const PURE: &str = "must hold certificates in PEM and nothing else";
    let hint = match error {
        Error::File { path, kind, .. } => file_advice(path, *kind),
        Error::InFolder { path, .. } | Error::NoAuthority(path) => format!("{} {PURE}", path.display()),
        _ => format!("the file {PURE}"),
    };
    refuse("tls.ca", format!("failed to read TLS CA certificates: {error}"), &hint)
}

fn file_advice(path: &Path, kind: std::io::ErrorKind) -> String {
    match kind {
        std::io::ErrorKind::NotFound if path.is_relative() => {
            let folder = std::env::current_dir().unwrap_or_default();
            format!("relative paths begin where the server was started: {}", folder.display())
        }
        std::io::ErrorKind::PermissionDenied => "the user that runs the server must be able to read it".to_owned(),
        _ => "name a readable file".to_owned(),
    }
}
