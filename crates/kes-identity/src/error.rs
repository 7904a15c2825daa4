//! What can go wrong with identities, API keys and the making of certificates.

/// Why an identity, an API key or a certificate could not be had.
///
/// The API key texts are those of the old command line, which scripts and SDKs compare.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text breaks the name rule (1–80 bytes of `0-9A-Za-z_-`, no `-` first or last, not `_` alone). Caller's fault.
    #[error("identity '{0}' is empty, too long or contains invalid characters")]
    InvalidIdentity(String),
    /// The API key is not base64; the number is the offset after the prefix. Caller's fault.
    #[error("illegal base64 data at input byte {0}")]
    InvalidBase64(usize),
    /// The API key does not hold 33 bytes. Caller's fault.
    #[error("kes: invalid API key: invalid length")]
    InvalidLength,
    /// The first byte of the API key is not 0, which stands for Ed25519. Caller's fault.
    #[error("kes: invalid API key: unsupported type")]
    UnsupportedType,
    /// The text does not begin with `kes:v1:`, where that is asked for. Caller's fault.
    #[error("not an API key: it does not begin with 'kes:v1:'")]
    NoPrefix,
    /// The private key is not Ed25519 in PKCS#8, so it has no API key. Caller's fault.
    #[error("unsupported private key: only ed25519 private keys are supported")]
    NotEd25519,
    /// The bytes are not an X.509 certificate in DER. Caller's or peer's fault.
    #[error("x509: malformed certificate")]
    MalformedCertificate,
    /// A subject or a DNS name has characters that a certificate cannot hold (DNS names are ASCII). Caller's fault.
    #[error("name '{0}' cannot be written into a certificate")]
    InvalidName(String),
    /// A date lies outside the years 1–9999 that a certificate can hold. Caller's fault.
    #[error("validity of the certificate is outside the years 1 to 9999")]
    InvalidDates,
    /// The system's random number generator failed. Nobody's fault; nothing was made.
    #[error("system random number generator failed")]
    Random,
    /// A private key that is neither ECDSA P-256 nor Ed25519 in PKCS#8 cannot be taken up to sign with. Caller's fault.
    #[error("unsupported private key: only ECDSA P-256 and ed25519 in PKCS#8 are supported here")]
    UnsupportedKey,
    /// The certificate is not that of an authority, so what it signs would be trusted by nobody. Caller's fault.
    #[error("the certificate is not that of a certificate authority")]
    NotAnAuthority,
    /// Signing failed inside the TLS stack. Our fault.
    #[error("certificate could not be signed")]
    Signing,
}
