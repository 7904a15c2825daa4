//! Certificates and private keys as text files.
//!
//! The reader takes what the old server took: text before the first block, blank lines after the last, CR LF, RFC 1423
//! encryption under any `… PRIVATE KEY` label. It refuses what that refused, with its texts: other blocks (OpenSSL's
//! `EC PARAMETERS` too), trailing text, and certificate files with anything but certificates.

use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::{PrivateKey, SecretText, x509};

mod block;
mod encryption;
mod facts;
mod files;

pub use block::{Block, Blocks, blocks};
pub use encryption::encrypt_private_key;
pub(crate) use facts::usages;
pub use facts::{Facts, facts};
pub use files::{ca_path, read};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Why a file of certificates or keys cannot be used. All are the operator's to mend; the texts are the old server's, which
/// puts `failed to read TLS certificate: ` and the like in front.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be opened, looked up or read.
    #[error("{operation} {}: {reason}", path.display())]
    File {
        /// `open`, `stat` or `read`.
        operation: &'static str,
        /// As the operator wrote it.
        path: PathBuf,
        /// In the words of the operating system.
        reason: String,
        /// To tell "not there" from "may not".
        kind: io::ErrorKind,
    },
    /// The certificate file holds nothing.
    #[error("tls: failed to find any PEM data in certificate input")]
    Empty,
    /// There is text, but no (further) PEM block.
    #[error("https: no valid PEM data")]
    NotPem,
    /// A block of this label has no place in the file.
    #[error("https: unsupported PEM data block")]
    ForeignBlock(String),
    /// The key file holds no private key.
    #[error("https: no PEM-encoded private key found")]
    NoPrivateKey,
    /// The private key is encrypted and there is no password.
    #[error("https: private key is encrypted: password required")]
    PasswordRequired,
    /// The password does not open the private key.
    #[error("x509: decryption password incorrect")]
    WrongPassword,
    /// The private key is encrypted in a way unknown here.
    #[error("x509: unknown encryption mode")]
    UnknownEncryption,
    /// The private key is neither PKCS#8 nor PKCS#1 nor SEC1.
    #[error("tls: failed to parse private key")]
    MalformedKey,
    /// The private key is of a kind or size that the TLS stack cannot use.
    #[error("tls: unsupported private key: use Ed25519, ECDSA P-256 or P-384, or RSA with 2048 to 4096 bits")]
    UnsupportedKey,
    /// A `CERTIFICATE` block holds no X.509 certificate.
    #[error("x509: malformed certificate")]
    MalformedCertificate,
    /// Certificate and private key do not belong together.
    #[error("tls: private key does not match public key")]
    Mismatch,
    /// Nor are they of one kind, such as RSA and ECDSA.
    #[error("tls: private key type does not match public key type")]
    KindMismatch,
    /// A file that is to hold roots holds none.
    #[error("https: failed to add '{}' as CA certificate", .0.display())]
    NoAuthority(PathBuf),
    /// What is wrong with one file of a folder of roots.
    #[error("{error}")]
    InFolder {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<Self>,
    },
    /// A server certificate names no server.
    #[error("certificate does not contain any DNS or IP address as SAN")]
    NoNames,
    /// The system's random number generator failed.
    #[error("system random number generator failed")]
    Random,
}

/// The certificates of a file that holds `CERTIFICATE` blocks only, in their order.
///
/// # Errors
/// [`Error::Empty`], [`Error::NotPem`], [`Error::ForeignBlock`], [`Error::MalformedCertificate`].
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut found = Vec::new();
    for block in blocks(text) {
        let block = block?;
        if !block.is_certificate() {
            return Err(Error::ForeignBlock(block.label().to_owned()));
        }
        x509::parse(block.contents()).map_err(|_| Error::MalformedCertificate)?;
        found.push(CertificateDer::from(block.contents().to_vec()));
    }
    if found.is_empty() { Err(Error::Empty) } else { Ok(found) }
}

/// The first private key of a file that holds private keys and perhaps certificates.
///
/// Read are PKCS#8, PKCS#1 and SEC1, whatever the label says, plain or encrypted: RFC 1423 with AES-128/192/256-CBC,
/// DES-EDE3-CBC or DES-CBC, and PKCS#8 with PBES2. `password` opens an encrypted key (an empty one counts as none) and is
/// ignored for a plain one.
///
/// # Errors
/// [`Error::NotPem`], [`Error::ForeignBlock`], [`Error::NoPrivateKey`], [`Error::PasswordRequired`],
/// [`Error::WrongPassword`], [`Error::UnknownEncryption`], [`Error::MalformedKey`].
pub fn private_key(text: &[u8], password: Option<&str>) -> Result<PrivateKey, Error> {
    let mut first = None;
    for block in blocks(text) {
        let block = block?;
        if !block.is_certificate() && !block.is_private_key() {
            return Err(Error::ForeignBlock(block.label().to_owned()));
        }
        if first.is_none() && block.is_private_key() {
            first = Some(block);
        }
    }
    let block = first.ok_or(Error::NoPrivateKey)?;
    let password = password.filter(|password| !password.is_empty());
    match encryption::decrypt(&block, password)? {
        // A wrong password passes the padding check once in 256 times.
        Some(opened) => key_of_der(&opened).ok_or(Error::WrongPassword),
        None => key_of_der(block.contents()).ok_or(Error::MalformedKey),
    }
}

/// One PEM block: 64 characters a line, final newline.
pub fn encode(label: &str, der: &[u8]) -> String {
    let mut text = String::new();
    write_block(&mut text, label, "", der);
    text
}

/// A private key as PEM, not encrypted, under the label of its form.
pub fn encode_private_key(key: &PrivateKey) -> SecretText {
    let label = match key.expose() {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let mut text = secret_buffer(key.expose().secret_der().len());
    write_block(&mut text, label, "", key.expose().secret_der());
    SecretText::new(text)
}

/// Large enough for a block of so many bytes: a buffer that grows leaves copies behind.
fn secret_buffer(bytes: usize) -> Zeroizing<String> {
    Zeroizing::new(String::with_capacity(bytes * 2 + 256))
}

fn write_block(text: &mut String, label: &str, headers: &str, bytes: &[u8]) {
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    text.push_str(headers);
    for line in bytes.chunks(48) {
        BASE64.encode_string(line, text);
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
}

/// Tells the three forms apart by the second element: PKCS#8 has an algorithm there, PKCS#1 the modulus, SEC1 the key.
fn key_of_der(der: &[u8]) -> Option<PrivateKey> {
    const INTEGER: u8 = 2;
    const OCTET_STRING: u8 = 4;
    const SEQUENCE: u8 = 0x30;
    let (tag, inside, rest) = element(der)?;
    if tag != SEQUENCE || !rest.is_empty() {
        return None;
    }
    let (INTEGER, _version, inside) = element(inside)? else { return None };
    Some(PrivateKey::new(match element(inside)?.0 {
        SEQUENCE => PrivateKeyDer::Pkcs8(der.to_vec().into()),
        INTEGER => PrivateKeyDer::Pkcs1(der.to_vec().into()),
        OCTET_STRING => PrivateKeyDer::Sec1(der.to_vec().into()),
        _ => return None,
    }))
}

/// Tag, content and rest of the DER element at the start.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
